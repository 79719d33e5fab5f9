// SPDX-License-Identifier: Apache-2.0
// Metadata of a request for one of several servlets: where that is, and all else as the web server has it.
// Connections compute what is asked for, so nothing is copied.
import type { RequestMetadata, TlsMetadata } from '../metadata.ts';

export class PlacedMetadata implements RequestMetadata {
  readonly scriptName: string;
  readonly pathInfo: string;
  readonly servlet: string | null;
  readonly #given: RequestMetadata;

  constructor(
    given: RequestMetadata,
    scriptName: string,
    pathInfo: string,
    servlet: string | null = given.servlet,
  ) {
    this.#given = given;
    this.scriptName = scriptName;
    this.pathInfo = pathInfo;
    this.servlet = servlet;
  }

  get protocol(): RequestMetadata['protocol'] {
    return this.#given.protocol;
  }

  get role(): RequestMetadata['role'] {
    return this.#given.role;
  }

  get remoteUser(): string | null {
    return this.#given.remoteUser;
  }

  get authType(): string | null {
    return this.#given.authType;
  }

  get remoteAddress(): string {
    return this.#given.remoteAddress;
  }

  get remotePort(): number | null {
    return this.#given.remotePort;
  }

  get remoteHost(): string | null {
    return this.#given.remoteHost;
  }

  get localAddress(): string | null {
    return this.#given.localAddress;
  }

  get serverName(): string {
    return this.#given.serverName;
  }

  get serverPort(): number {
    return this.#given.serverPort;
  }

  get serverSoftware(): string | null {
    return this.#given.serverSoftware;
  }

  get isSecure(): boolean {
    return this.#given.isSecure;
  }

  get tls(): TlsMetadata | null {
    return this.#given.tls;
  }

  get pathTranslated(): string | null {
    return this.#given.pathTranslated;
  }

  get scriptFilename(): string | null {
    return this.#given.scriptFilename;
  }

  get documentRoot(): string | null {
    return this.#given.documentRoot;
  }

  get route(): string | null {
    return this.#given.route;
  }

  get zone(): string | null {
    return this.#given.zone;
  }

  get variables(): ReadonlyMap<string, string> {
    return this.#given.variables;
  }
}
