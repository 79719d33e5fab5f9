// SPDX-License-Identifier: Apache-2.0
// The head of a request from its CGI variables: FastCGI parameters, or the environment of a process.
import { bodyModeOfParams } from '../../protocols/ajp13/body-mode.ts';
import { Params, type ParamsOrder } from '../../protocols/fastcgi/params.ts';
import { ProtocolError } from '../../protocols/protocol-error.ts';
import type { RequestHead } from '../exchange.ts';
import type { RequestMetadata } from '../metadata.ts';
import { encodePath, pathOfAbsolute } from './url-path.ts';
import { VariablesMetadata } from './variables-metadata.ts';

/** HTTP_ACCEPT_LANGUAGE → Accept-Language, of names that were seen; null: not a header. */
const names = new Map<string, string | null>();
const NAMES_MAX = 1000;
/** Words that are not written with one capital. */
const WORDS = new Map([
  ...['te', 'dnt', 'ch', 'ua', 'gpc'].map((word) => [word, word.toUpperCase()] as const),
  ['etag', 'ETag'],
  ['websocket', 'WebSocket'],
]);

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
/** Requests whose body is a surprise. */
const BODILESS = /^(?:GET|HEAD|OPTIONS|TRACE|DELETE|CONNECT)$/;

export interface CgiRequest {
  head: RequestHead;
  /** It cannot be served: what its variables say of its body contradicts itself. */
  error: ProtocolError | null;
}

export function cgiRequest(
  protocol: 'cgi' | 'fastcgi',
  role: RequestMetadata['role'],
  variables: ReadonlyMap<string, string>,
): CgiRequest {
  const method = variables.get('REQUEST_METHOD') || 'GET';
  const httpVersion = versionOf(variables.get('SERVER_PROTOCOL'));
  const metadata = new VariablesMetadata(protocol, role, variables);
  let bodyBytes: number | null = 0;
  let error: ProtocolError | null = null;
  if (role === 'responder') {
    try {
      bodyBytes = bodyBytesOf(variables, method, httpVersion);
    } catch (caught) {
      if (!(caught instanceof ProtocolError)) throw caught;
      error = caught;
    }
  }
  const isChunked = bodyBytes === null;
  const fields = fieldsOf(variables, isChunked);
  return {
    head: { method, url: urlOf(variables), httpVersion, fields, bodyBytes, metadata },
    error,
  };
}

/** Path and query as the client has sent them, as far as the variables tell. */
export function urlOf(variables: ReadonlyMap<string, string>): string {
  const uri = variables.get('REQUEST_URI');
  if (uri !== undefined && uri !== '') {
    if (uri.startsWith('/') || uri === '*') return uri;
    return pathOfAbsolute(uri);
  }
  const path = (variables.get('SCRIPT_NAME') ?? '') + (variables.get('PATH_INFO') ?? '');
  const query = variables.get('QUERY_STRING');
  const encoded = encodePath(path.startsWith('/') ? path : `/${path}`);
  return query ? `${encoded}?${query}` : encoded;
}

function versionOf(protocol: string | undefined): string {
  if (protocol === undefined || protocol === 'HTTP/1.1') return '1.1';
  const version = /^HTTP\/(\d)(?:\.(\d))?$/.exec(protocol);
  return version === null ? '1.1' : `${version[1]}.${version[2] ?? '0'}`;
}

function bodyBytesOf(
  variables: ReadonlyMap<string, string>,
  method: string,
  httpVersion: string,
): number | null {
  const mode = bodyModeOfParams(variables);
  if (mode.kind === 'length') return mode.bytes;
  if (mode.kind === 'chunked') return null;
  // From HTTP/2 on a body needs neither a length nor a coding.
  const isTold = httpVersion < '2' || BODILESS.test(method) || variables.get('CONTENT_LENGTH');
  return isTold ? 0 : null;
}

/** Proxy is a header like others here, as nothing of this becomes the environment of a process. */
function fieldsOf(variables: ReadonlyMap<string, string>, isChunked: boolean): string[] {
  const fields: string[] = [];
  const add = (name: string, value: string): void => {
    // Of a body whose length is known the coding is gone.
    if (isChunked || name !== 'Transfer-Encoding') fields.push(name, value);
  };
  if (variables instanceof Params) eachOfParams(variables, add);
  else eachField(variables, add);
  const type = variables.get('CONTENT_TYPE') || variables.get('HTTP_CONTENT_TYPE');
  if (type) fields.push('Content-Type', type);
  const length = variables.get('CONTENT_LENGTH') || variables.get('HTTP_CONTENT_LENGTH');
  if (length) fields.push('Content-Length', length);
  return fields;
}

type Add = (name: string, value: string) => void;

function eachField(variables: ReadonlyMap<string, string>, add: Add): void {
  for (const [variable, value] of variables) {
    const name = nameOf(variable);
    if (name !== null) add(name, value);
  }
}

/** Names of fields and the places of their values, which are the same as often as the order is. */
const known = new WeakMap<ParamsOrder, readonly (readonly [name: string, place: number])[]>();

function eachOfParams(params: Params, add: Add): void {
  const { order } = params;
  let fields = known.get(order);
  if (fields === undefined) {
    fields = [...order.places].flatMap(([param, place]) => {
      const name = nameOf(param);
      return name === null ? [] : [[name, place] as const];
    });
    known.set(order, fields);
  }
  for (const [name, place] of fields) add(name, params.valueAt(place));
}

/** null: not a header. */
function nameOf(param: string): string | null {
  if (!param.startsWith('HTTP_')) return null;
  const name = names.get(param);
  return name === undefined ? learn(param) : name;
}

function learn(param: string): string | null {
  const name = fieldName(param);
  if (names.size < NAMES_MAX) names.set(param, name);
  return name;
}

function fieldName(param: string): string | null {
  const name = param
    .slice('HTTP_'.length)
    .toLowerCase()
    .split('_')
    .map((word) => WORDS.get(word) ?? word.charAt(0).toUpperCase() + word.slice(1))
    .join('-');
  // These two have variables of their own, by the web server's word.
  return TOKEN.test(name) && name !== 'Content-Type' && name !== 'Content-Length' ? name : null;
}
