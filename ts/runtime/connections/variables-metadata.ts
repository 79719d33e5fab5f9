// SPDX-License-Identifier: Apache-2.0
// What a web server tells in CGI variables. Each is looked at when somebody asks for it.
import type { ProtocolName, RequestMetadata, TlsMetadata } from '../metadata.ts';

type Variables = ReadonlyMap<string, string>;

export class VariablesMetadata implements RequestMetadata {
  readonly protocol: ProtocolName;
  readonly role: RequestMetadata['role'];
  #variables: Variables | (() => Variables);
  #map: Variables | null = null;

  /** @param variables or what gives them, called once, when somebody asks for one */
  constructor(
    protocol: ProtocolName,
    role: RequestMetadata['role'],
    variables: Variables | (() => Variables),
  ) {
    this.protocol = protocol;
    this.role = role;
    this.#variables = variables;
  }

  /** A Map, for people who look at it. */
  get variables(): Variables {
    const told = this.told;
    this.#map ??= told instanceof Map ? told : new Map(told);
    return this.#map;
  }

  /** The same, as they came. */
  get told(): Variables {
    if (typeof this.#variables === 'function') this.#variables = this.#variables();
    return this.#variables;
  }

  get remoteUser(): string | null {
    return this.#text('REMOTE_USER');
  }

  get authType(): string | null {
    return this.#text('AUTH_TYPE');
  }

  get remoteAddress(): string {
    return this.#text('REMOTE_ADDR') ?? '';
  }

  get remotePort(): number | null {
    return numberOf(this.#text('REMOTE_PORT'));
  }

  get remoteHost(): string | null {
    return this.#text('REMOTE_HOST');
  }

  get localAddress(): string | null {
    return this.#text('SERVER_ADDR');
  }

  get serverName(): string {
    return this.#text('SERVER_NAME') ?? '';
  }

  get serverPort(): number {
    return numberOf(this.#text('SERVER_PORT')) ?? 0;
  }

  get serverSoftware(): string | null {
    return this.#text('SERVER_SOFTWARE');
  }

  get isSecure(): boolean {
    return isSecure(this.told);
  }

  get tls(): TlsMetadata | null {
    return tlsOf(this.told);
  }

  get scriptName(): string {
    return this.#paths()[0];
  }

  get pathInfo(): string {
    return this.#paths()[1];
  }

  get pathTranslated(): string | null {
    return this.#text('PATH_TRANSLATED');
  }

  get scriptFilename(): string | null {
    return this.#text('SCRIPT_FILENAME');
  }

  get documentRoot(): string | null {
    return this.#text('DOCUMENT_ROOT');
  }

  get route(): string | null {
    return this.#text('USHER_ROUTE');
  }

  get zone(): string | null {
    return null;
  }

  get servlet(): string | null {
    return null;
  }

  /** nginx has no PATH_INFO of itself; USHER_PREFIX says then where the program is mounted. */
  #paths(): [scriptName: string, pathInfo: string] {
    const script = this.#text('SCRIPT_NAME') ?? '';
    const info = this.#text('PATH_INFO') ?? '';
    const prefix = this.#text('USHER_PREFIX')?.replace(/\/+$/, '');
    if (info === '' && prefix !== undefined) {
      if (script === prefix || script.startsWith(`${prefix}/`)) {
        return [prefix, script.slice(prefix.length)];
      }
    }
    return [script, info];
  }

  /** Empty is as good as missing: web servers say so of what they do not know. */
  #text(name: string): string | null {
    return this.told.get(name) || null;
  }
}

export function isSecure(variables: ReadonlyMap<string, string>): boolean {
  const https = variables.get('HTTPS')?.toLowerCase();
  return https === 'on' || https === '1' || variables.get('REQUEST_SCHEME') === 'https';
}

/** As mod_ssl names them; nginx when configured so. null: not secure. */
export function tlsOf(variables: ReadonlyMap<string, string>): TlsMetadata | null {
  if (!isSecure(variables)) return null;
  const text = (name: string) => variables.get(name) || null;
  return {
    protocol: text('SSL_PROTOCOL'),
    cipher: text('SSL_CIPHER'),
    sessionId: text('SSL_SESSION_ID'),
    keyBits: numberOf(text('SSL_CIPHER_USEKEYSIZE')),
    clientCertificate: text('SSL_CLIENT_CERT'),
  };
}

export function numberOf(text: string | null | undefined): number | null {
  return text && /^\d{1,9}$/.test(text) ? Number(text) : null;
}
