// SPDX-License-Identifier: Apache-2.0
// The head of a request from AJP 1.3.
import type { BodyMode, ForwardRequest } from '../../protocols/ajp13/types.ts';
import type { RequestHead } from '../exchange.ts';
import type { RequestMetadata, TlsMetadata } from '../metadata.ts';
import { decodedPath } from './url-path.ts';
import { numberOf } from './variables-metadata.ts';

export function ajp13Head(request: ForwardRequest, body: BodyMode): RequestHead {
  const { queryString } = request.attributes;
  const fields: string[] = [];
  let hasCoding = false;
  for (const [name, value] of request.fields) {
    fields.push(name, value);
    if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') hasCoding = true;
  }
  const httpVersion = /^HTTP\/(\d\.\d)$/.exec(request.protocol)?.[1] ?? '1.1';
  return {
    method: request.method,
    url: queryString === undefined ? request.uri : `${request.uri}?${queryString}`,
    httpVersion,
    fields,
    bodyBytes: bodyBytesOf(body, hasCoding, request.method),
    metadata: new Ajp13Metadata(request),
  };
}

/**
 * Where nobody speaks of a body there may be one: gateways and web servers take a coding away. It comes when
 * it is asked for, and asking costs a round trip, which requests that hardly ever have one are spared.
 */
function bodyBytesOf(body: BodyMode, hasCoding: boolean, method: string): number | null {
  if (body.kind === 'length') return body.bytes;
  if (body.kind === 'none') return 0;
  return hasCoding || !/^(?:GET|HEAD|OPTIONS|TRACE|DELETE)$/.test(method) ? null : 0;
}

class Ajp13Metadata implements RequestMetadata {
  readonly #request: ForwardRequest;
  readonly protocol = 'ajp13';
  readonly role = 'responder';
  readonly serverSoftware = null;
  readonly scriptName = '';
  readonly pathTranslated = null;
  readonly scriptFilename = null;
  readonly documentRoot = null;
  readonly zone = null;
  readonly servlet = null;
  #variables: Map<string, string> | null = null;

  constructor(request: ForwardRequest) {
    this.#request = request;
  }

  get remoteUser(): string | null {
    return this.#request.attributes.remoteUser || null;
  }

  get authType(): string | null {
    return this.#request.attributes.authType || null;
  }

  get remoteAddress(): string {
    return this.#request.remoteAddr;
  }

  get remotePort(): number | null {
    return numberOf(this.variables.get('AJP_REMOTE_PORT'));
  }

  get remoteHost(): string | null {
    return this.#request.remoteHost || null;
  }

  get localAddress(): string | null {
    return this.variables.get('AJP_LOCAL_ADDR') || null;
  }

  get serverName(): string {
    return this.#request.serverName;
  }

  get serverPort(): number {
    return this.#request.serverPort;
  }

  get isSecure(): boolean {
    return this.#request.isSsl;
  }

  get tls(): TlsMetadata | null {
    if (!this.#request.isSsl) return null;
    const { sslCipher, sslSession, sslKeySize, sslCert } = this.#request.attributes;
    return {
      protocol: this.variables.get('AJP_SSL_PROTOCOL') || null,
      cipher: sslCipher || null,
      sessionId: sslSession || null,
      keyBits: sslKeySize ?? null,
      clientCertificate: sslCert || null,
    };
  }

  get pathInfo(): string {
    return decodedPath(this.#request.uri);
  }

  get route(): string | null {
    return this.#request.attributes.route || null;
  }

  /** Named attributes by their names, and those that have a code by the names that AJP's descriptions
   * give them. */
  get variables(): ReadonlyMap<string, string> {
    this.#variables ??= variablesOf(this.#request.attributes);
    return this.#variables;
  }
}

function variablesOf(attributes: ForwardRequest['attributes']): Map<string, string> {
  const { others = [], sslKeySize } = attributes;
  const coded = {
    context: attributes.context,
    servlet_path: attributes.servletPath,
    remote_user: attributes.remoteUser,
    auth_type: attributes.authType,
    query_string: attributes.queryString,
    route: attributes.route,
    ssl_cert: attributes.sslCert,
    ssl_cipher: attributes.sslCipher,
    ssl_session: attributes.sslSession,
    ssl_key_size: sslKeySize === undefined ? undefined : String(sslKeySize),
  };
  const variables = new Map<string, string>();
  for (const [name, value] of Object.entries(coded)) {
    if (value !== undefined) variables.set(name, value);
  }
  for (const [name, value] of others) variables.set(name, value);
  return variables;
}
