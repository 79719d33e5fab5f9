// SPDX-License-Identifier: Apache-2.0
// The head of a request from AJP 1.2.
import type { Ajp12Request } from '../../protocols/ajp12/types.ts';
import type { RequestHead } from '../exchange.ts';
import type { RequestMetadata, TlsMetadata } from '../metadata.ts';
import { decodedPath, encodePath, pathOfAbsolute, repairPath } from './url-path.ts';
import { isSecure, numberOf, tlsOf } from './variables-metadata.ts';

export function ajp12Head(request: Ajp12Request, bodyBytes: number): RequestHead {
  return {
    method: request.method,
    url: urlOf(request),
    httpVersion: /^HTTP\/(\d\.\d)$/.exec(request.serverProtocol)?.[1] ?? '1.1',
    fields: request.fields.flat(),
    bodyBytes,
    metadata: new Ajp12Metadata(request),
  };
}

/** The query is in a string of its own; some clients have it in the URI as well. */
function urlOf({ requestUri, scriptName, pathInfo, queryString }: Ajp12Request): string {
  const uri = requestUri.split('?', 1)[0] ?? '';
  if (uri === '*') return uri;
  const plain = uri === '' ? encodePath(scriptName + pathInfo) : repairPath(uri);
  const path = pathOfAbsolute(plain);
  return queryString === '' ? path : `${path}?${queryString}`;
}

class Ajp12Metadata implements RequestMetadata {
  readonly #request: Ajp12Request;
  readonly protocol = 'ajp12';
  readonly role = 'responder';
  #variables: Map<string, string> | null = null;

  constructor(request: Ajp12Request) {
    this.#request = request;
  }

  get remoteUser(): string | null {
    return this.#request.remoteUser || null;
  }

  get authType(): string | null {
    return this.#request.authType || null;
  }

  get remoteAddress(): string {
    return this.#request.remoteAddr;
  }

  get remotePort(): number | null {
    return numberOf(this.variables.get('REMOTE_PORT'));
  }

  get remoteHost(): string | null {
    return this.#request.remoteHost || null;
  }

  get localAddress(): string | null {
    return this.variables.get('SERVER_ADDR') || null;
  }

  get serverName(): string {
    return this.#request.serverName;
  }

  get serverPort(): number {
    return this.#request.serverPort;
  }

  get serverSoftware(): string | null {
    return this.#request.serverSoftware || null;
  }

  get isSecure(): boolean {
    return isSecure(this.variables);
  }

  get tls(): TlsMetadata | null {
    return tlsOf(this.variables);
  }

  get scriptName(): string {
    return this.#request.scriptName;
  }

  /** mod_jk leaves it to the engine to take the URI apart. */
  get pathInfo(): string {
    const { scriptName, pathInfo, requestUri } = this.#request;
    return scriptName === '' && pathInfo === '' ? decodedPath(requestUri) : pathInfo;
  }

  get pathTranslated(): string | null {
    return this.#request.pathTranslated || null;
  }

  get scriptFilename(): string | null {
    return this.#request.scriptFilename || null;
  }

  get documentRoot(): string | null {
    return this.#request.documentRoot || null;
  }

  get route(): string | null {
    return this.#request.route || null;
  }

  get zone(): string | null {
    return this.#request.zone || null;
  }

  get servlet(): string | null {
    return this.#request.servlet || null;
  }

  get variables(): ReadonlyMap<string, string> {
    this.#variables ??= new Map(this.#request.environment);
    return this.#variables;
  }
}
