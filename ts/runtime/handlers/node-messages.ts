// SPDX-License-Identifier: Apache-2.0
// Request and answer as node:http makes them: genuine http.IncomingMessage and http.ServerResponse, since
// frameworks replace their prototypes by objects that end in those of node:http. Only where node:http would
// write a message to its socket, own properties of ours take its place: all else (what may be called when,
// errors, events) is Node's own code. lib/_http_outgoing.js is what to compare with.
import {
  IncomingMessage,
  ServerResponse,
  STATUS_CODES,
  validateHeaderName,
  validateHeaderValue,
} from 'node:http';
import type { Socket } from 'node:net';
import type { RequestHead } from '../exchange.ts';
import type { RequestMetadata } from '../metadata.ts';
import { METADATA } from './request-metadata.ts';
import type { RequestSocket, WriteCallback } from './request-socket.ts';

/** With what node:http does not document, and keeps since Node 0.10. */
export interface NodeRequest extends IncomingMessage {
  _consuming: boolean;
  _dumped: boolean;
  _readableState: { resumeScheduled: boolean };
  _dump(): void;
  _addHeaderLines(headers: readonly string[], length: number): void;
  [METADATA]: RequestMetadata;
}

type Value = number | string | readonly string[];

export interface NodeResponse extends Omit<ServerResponse, 'socket'> {
  socket: RequestSocket | null;
  finished: boolean;
  destroyed: boolean;
  _closed: boolean;
  _header: string | null;
  _headerSent: boolean;
  _hasBody: boolean;
  _contentLength: number | null;
  _removedContLen: boolean;
  _storeHeader(firstLine: string, headers: unknown): void;
  _send(
    data: string | Uint8Array,
    encoding?: BufferEncoding | null,
    callback?: WriteCallback | null,
  ): boolean;
  _writeRaw(data: string, encoding?: unknown, callback?: unknown): boolean;
  drained(): void;
}

export function makeRequest(head: RequestHead, socket: RequestSocket): NodeRequest {
  const request = new IncomingMessage(socket as unknown as Socket) as NodeRequest;
  const { fields, httpVersion } = head;
  request._addHeaderLines(fields, fields.length);
  request.httpVersion = httpVersion;
  request.httpVersionMajor = httpVersion.charCodeAt(0) - 48;
  request.httpVersionMinor = httpVersion.charCodeAt(2) - 48;
  request.method = head.method;
  request.url = head.url;
  (request as { upgrade?: boolean }).upgrade = false;
  request[METADATA] = head.metadata;
  return request;
}

/** What it takes of a request to make an answer: no version, since chunks are not our business. */
const PLAIN = { method: 'GET', httpVersionMajor: 1, httpVersionMinor: 1 } as IncomingMessage;
const HEAD = { method: 'HEAD', httpVersionMajor: 1, httpVersionMinor: 1 } as IncomingMessage;

export function makeResponse(request: NodeRequest, socket: RequestSocket): NodeResponse {
  const response = new ServerResponse(
    request.method === 'HEAD' ? HEAD : PLAIN,
  ) as unknown as NodeResponse;
  (response as { req: IncomingMessage }).req = request;
  response._storeHeader = storeHeader;
  response._send = send;
  response._writeRaw = writeRaw;
  response.end = end as unknown as NodeResponse['end'];
  response.drained = drained;
  response.socket = socket;
  socket._httpMessage = response;
  response.on('finish', onFinish);
  return response;
}

const serverEnd = ServerResponse.prototype.end as (
  this: NodeResponse,
  chunk?: unknown,
  encoding?: unknown,
  callback?: unknown,
) => NodeResponse;

function end(
  this: NodeResponse,
  chunk?: unknown,
  encoding?: unknown,
  callback?: unknown,
): NodeResponse {
  const { socket } = this;
  if (socket === null) return serverEnd.call(this, chunk, encoding, callback);
  socket.beginEnd();
  try {
    return serverEnd.call(this, chunk, encoding, callback);
  } finally {
    socket.endEnd();
  }
}

function onFinish(this: NodeResponse): void {
  this.socket?.finish();
}

/** What says whether write() returned false; null: this Node has no such thing. Found in the first answer,
 * as a snapshot cannot hold one. */
let needDrain: symbol | null | undefined;

function drained(this: NodeResponse): void {
  needDrain ??=
    Object.getOwnPropertySymbols(this).find((symbol) => symbol.description === 'kNeedDrain') ??
    null;
  if (needDrain !== null) (this as unknown as Record<symbol, boolean>)[needDrain] = false;
  this.emit('drain');
}

/** Of write(), end() and flushHeaders(), after the head. */
function send(
  this: NodeResponse,
  data: string | Uint8Array,
  encoding?: BufferEncoding | null,
  callback?: WriteCallback | null,
): boolean {
  return this.socket === null ? false : this.socket.send(data, encoding, callback);
}

/** Of writeContinue(), writeProcessing() and writeEarlyHints(): web servers take no such answers. */
function writeRaw(
  this: NodeResponse,
  _data: string,
  encoding?: unknown,
  callback?: unknown,
): boolean {
  const call = typeof encoding === 'function' ? encoding : callback;
  if (typeof call === 'function') process.nextTick(call as WriteCallback);
  return true;
}

/** Of writeHead(), whose checks are passed. `headers`: what setHeader() made, or what writeHead() was given
 * when there was none of that: an object, or a list as rawHeaders or of pairs. */
function storeHeader(this: NodeResponse, firstLine: string, headers: unknown): void {
  const { socket, statusCode } = this;
  if (statusCode < 200) {
    throw Object.assign(
      new RangeError(`status ${statusCode}: an answer has a status from 200 to 999`),
      { code: 'ERR_HTTP_INVALID_STATUS_CODE' },
    );
  }
  const fields: string[] = [];
  let says = 0;
  if (Array.isArray(headers)) {
    const pairs = Array.isArray(headers[0]) ? headers.flat(1) : headers;
    if (pairs.length % 2 !== 0) {
      throw Object.assign(new TypeError('writeHead: a list of headers has a value for each name'), {
        code: 'ERR_INVALID_ARG_VALUE',
      });
    }
    for (let i = 0; i < pairs.length; i += 2) says |= checkAndAdd(fields, pairs[i], pairs[i + 1]);
  } else if (headers != null) {
    says = addAll(this, fields, headers as Record<string, unknown>);
  }
  if (
    (says & (SAYS_LENGTH | SAYS_ENCODING)) === 0 &&
    this._hasBody &&
    !this._removedContLen &&
    this._contentLength !== null
  ) {
    fields.push('Content-Length', `${this._contentLength}`);
  }
  if (this.strictContentLength && (says & SAYS_LENGTH) !== 0) {
    const at = fields.findIndex((name, i) => i % 2 === 0 && /^content-length$/i.test(name));
    this._contentLength = Number(fields[at + 1]);
  }
  this.chunkedEncoding = false;
  this._header = `${firstLine}\r\n`;
  this._headerSent = true;
  const reason = this.statusMessage;
  socket?.setHead(statusCode, STATUS_CODES[statusCode] === reason ? '' : reason, fields);
}

const SAYS_LENGTH = 1;
const SAYS_ENCODING = 2;

function addAll(
  response: NodeResponse,
  fields: string[],
  headers: Record<string, unknown>,
): number {
  let says = 0;
  let isOwn: boolean | null = null;
  for (const key in headers) {
    // Of setHeader(): name in lower case → [name, value], checked.
    isOwn ??= Object.getPrototypeOf(headers) === null && response.hasHeader(key);
    if (isOwn) {
      const entry = headers[key] as [string, Value];
      says |= add(fields, entry[0], entry[1], key);
    } else if (Object.hasOwn(headers, key)) {
      says |= checkAndAdd(fields, key, headers[key] as Value);
    }
  }
  return says;
}

function checkAndAdd(fields: string[], name: string, value: Value): number {
  validateHeaderName(name);
  if (typeof value === 'object' && Array.isArray(value)) {
    for (const one of value) validateHeaderValue(name, one);
  } else {
    validateHeaderValue(name, value as string);
  }
  return add(fields, name, value, name.toLowerCase());
}

/** @returns what the field says of the length of the body */
function add(fields: string[], name: string, value: Value, key: string): number {
  // It would announce what is not sent.
  if (key === 'trailer') return 0;
  if (typeof value === 'string') fields.push(name, value);
  else if (typeof value !== 'object') fields.push(name, `${value}`);
  else if (key === 'cookie' && value.length > 1) fields.push(name, value.join('; '));
  else for (const one of value) fields.push(name, `${one}`);
  if (key === 'content-length') return SAYS_LENGTH;
  return key === 'transfer-encoding' ? SAYS_ENCODING : 0;
}
