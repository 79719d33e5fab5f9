// SPDX-License-Identifier: Apache-2.0
// The Request of a request. Field values are bytes, one Latin-1 character each, as fetch has them.
import type { UnderlyingSource } from 'node:stream/web';
import type { Exchange, RequestHead } from '../exchange.ts';
import { remember } from './request-metadata.ts';

/** Bytes of a body beyond which the client is stopped. */
const HIGH_WATER_MARK = 64 << 10;

/** Methods that no Request can have. */
const FORBIDDEN = new Set(['CONNECT', 'TRACE', 'TRACK']);

/** What may stand between "//" and the path, with no user before it. */
const AUTHORITY = /^[^\s/?#@\\]+$/;

export class BadRequest extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** @throws BadRequest */
export function makeRequest(
  head: RequestHead,
  body: ReadableStream | null,
  signal: AbortSignal,
): Request {
  if (FORBIDDEN.has(head.method.toUpperCase())) {
    throw new BadRequest(501, `The method ${head.method} is not supported.`);
  }
  const headers: [string, string][] = [];
  for (let i = 0; i < head.fields.length; i += 2) {
    headers.push([head.fields[i] as string, head.fields[i + 1] as string]);
  }
  const init: RequestInit = { method: head.method, headers, signal };
  if (body !== null) {
    init.body = body;
    init.duplex = 'half';
  }
  const url = urlOf(head);
  let request: Request;
  try {
    request = new Request(url, init);
  } catch (error) {
    throw new BadRequest(400, `No Request can be made of it: ${(error as Error).message}`);
  }
  remember(request, head.metadata);
  return request;
}

/** Absolute, by Host where there is one; the path of "*" is "/*". */
function urlOf(head: RequestHead): string {
  const { isSecure } = head.metadata;
  const authority = hostOf(head.fields) ?? serverOf(head);
  if (!AUTHORITY.test(authority)) throw new BadRequest(400, 'The Host field is no host.');
  const url = head.url.replaceAll(/[\x80-\xff]/g, encode);
  const path = url.startsWith('/') ? url : `/${url}`;
  return `${isSecure ? 'https' : 'http'}://${authority}${path}`;
}

/** A byte that no URL should have, before URL takes it for a character. */
function encode(byte: string): string {
  return `%${byte.charCodeAt(0).toString(16).toUpperCase()}`;
}

function hostOf(fields: readonly string[]): string | null {
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    if (name.length === 4 && name.toLowerCase() === 'host') return fields[i + 1] || null;
  }
  return null;
}

function serverOf(head: RequestHead): string {
  const { serverName, serverPort, isSecure } = head.metadata;
  const name = serverName === '' ? 'localhost' : serverName;
  const host = name.includes(':') && !name.startsWith('[') ? `[${name}]` : name;
  const isUsual = serverPort === 0 || serverPort === (isSecure ? 443 : 80);
  return isUsual ? host : `${host}:${serverPort}`;
}

/** Body of a request as the source of a stream. */
export class RequestBody implements UnderlyingSource<Uint8Array> {
  readonly #exchange: Exchange;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #isFlowing = false;
  #isOver = false;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
  }

  /** null: there is none, or none that a Request could have. */
  stream(): ReadableStream<Uint8Array> | null {
    const { bodyBytes, method } = this.#exchange.head;
    if (bodyBytes === 0 || method === 'GET' || method === 'HEAD') return null;
    return new ReadableStream(this, STRATEGY);
  }

  // ---- of the stream

  start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#controller = controller;
  }

  pull(): void {
    if (this.#isFlowing || this.#isOver) return;
    this.#isFlowing = true;
    this.#exchange.resumeBody();
  }

  cancel(): void {
    this.#isOver = true;
    this.#pause();
  }

  // ---- of the exchange

  add(bytes: Buffer): void {
    if (this.#isOver) return;
    this.#controller.enqueue(bytes);
    if ((this.#controller.desiredSize ?? 0) <= 0) this.#pause();
  }

  end(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#controller.close();
  }

  /** Nothing more comes: who still reads gets the error. */
  break(error: Error): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#controller.error(error);
  }

  #pause(): void {
    if (!this.#isFlowing) return;
    this.#isFlowing = false;
    this.#exchange.pauseBody();
  }
}

const STRATEGY: QueuingStrategy<Uint8Array> = {
  highWaterMark: HIGH_WATER_MARK,
  size: (chunk) => chunk.byteLength,
};
