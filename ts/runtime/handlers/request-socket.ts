// SPDX-License-Identifier: Apache-2.0
// What stands in for the socket of a request and its answer (node-messages.ts): it carries both over the
// exchange, and says of itself what applications ask sockets for. One per request; it closes with it.
import { AsyncResource } from 'node:async_hooks';
import { X509Certificate } from 'node:crypto';
import { EventEmitter } from 'node:events';
import type { Exchange, ExchangeListener } from '../exchange.ts';
import { refuseFailed } from './exchange-failure.ts';
import type { NodeRequest, NodeResponse } from './node-messages.ts';

/** Bytes, each way, beyond which one side stops the other. */
const HIGH_WATER_MARK = 64 << 10;

type Listener = (request: NodeRequest, response: NodeResponse) => unknown;

export type WriteCallback = (error?: Error | null) => void;

/** http's end() writes to it; nobody reads it. */
const WRITABLE_STATE = { corked: 0 };

export class RequestSocket extends EventEmitter implements ExchangeListener {
  // ---- read and set by node:http

  _httpMessage: NodeResponse | null = null;
  _writableState = WRITABLE_STATE;
  readable = true;
  writable = true;
  destroyed = false;
  closed = false;
  writableCorked = 0;
  bytesRead = 0;
  bytesWritten = 0;

  // ---- ours

  readonly exchange: Exchange;
  request!: NodeRequest;
  response!: NodeResponse;
  /** Async context of the handler: what it entered holds for its events, and for no other request. */
  readonly #scope = new AsyncResource('UsherRequest');
  #isBodyFlowing = false;
  #status = 0;
  #reason = '';
  #fields: string[] | null = null;
  /** Given by the handler, not to the exchange yet: http corks writes until the next tick. */
  #held: Buffer[] = [];
  #heldBytes = 0;
  /** A text that is the end of the answer, and nothing else is held. */
  #lastText: string | null = null;
  /** Given to the exchange, which has no more room. */
  #blockedBytes = 0;
  #isBlocked = false;
  #callbacks: WriteCallback[] | null = null;
  #isEnding = false;
  #hasEnded = false;
  #wantsDrain = false;

  constructor(exchange: Exchange) {
    super();
    this.exchange = exchange;
  }

  /** Runs the handler. */
  run(listener: Listener): void {
    try {
      const result = this.#scope.runInAsyncScope(this.#listen, this, listener) as
        | PromiseLike<unknown>
        | null
        | undefined;
      if (typeof result === 'object' && result !== null && typeof result.then === 'function') {
        result.then(undefined, (error: unknown) => this.fail(error));
      }
    } catch (error) {
      this.fail(error);
    }
  }

  #listen(listener: Listener): unknown {
    const { request, response } = this;
    const { alarm, head } = this.exchange;
    const result =
      alarm === null ? listener(request, response) : alarm(() => listener(request, response));
    if (head.bodyBytes === 0) this.#endRequest();
    return result;
  }

  fail(error: unknown): void {
    refuseFailed(this.exchange, error);
    if (!this.#hasEnded) this.destroy();
  }

  // ---- the request

  /** Of IncomingMessage._read(). */
  resume(): this {
    if (!this.#isBodyFlowing && !this.destroyed && !this.request.complete) {
      this.#isBodyFlowing = true;
      this.exchange.resumeBody();
    }
    return this;
  }

  pause(): this {
    if (this.#isBodyFlowing) {
      this.#isBodyFlowing = false;
      this.exchange.pauseBody();
    }
    return this;
  }

  onBody(bytes: Buffer): void {
    this.bytesRead += bytes.length;
    if (this.request._dumped) return;
    try {
      if (!this.#scope.runInAsyncScope(this.request.push, this.request, bytes)) this.pause();
    } catch (error) {
      this.fail(error);
    }
  }

  onBodyEnd(): void {
    try {
      this.#scope.runInAsyncScope(this.#endRequest, this);
    } catch (error) {
      this.fail(error);
    }
  }

  #endRequest(): void {
    const { request } = this;
    if (request.complete || request.destroyed) return;
    request.complete = true;
    this.#isBodyFlowing = false;
    request.push(null);
  }

  // ---- the answer

  /** Kept until the first bytes go out, or the end: a handler that fails before can be answered for. */
  setHead(status: number, reason: string, fields: string[]): void {
    this.#status = status;
    this.#reason = reason;
    this.#fields = fields;
  }

  /** @param encoding of a text; none: UTF-8
   *  @returns false: no more until 'drain' */
  send(
    chunk: string | Uint8Array,
    encoding: BufferEncoding | null | undefined,
    callback: WriteCallback | null | undefined,
  ): boolean {
    if (this.destroyed) return false;
    if (callback != null) {
      if (this.#callbacks === null) this.#callbacks = [callback];
      else this.#callbacks.push(callback);
    }
    if (chunk.length > 0) this.#hold(chunk, encoding);
    else if (!this.#isEnding) {
      this.#flush();
      this.exchange.flush();
    }
    if (this.#isEnding) return true;
    if (this.writableCorked === 0 || this.#heldBytes >= HIGH_WATER_MARK) this.#flush();
    if (!this.#isBlocked && this.#heldBytes < HIGH_WATER_MARK) return true;
    this.#wantsDrain = true;
    return false;
  }

  /** Around http's end(): what is sent meanwhile waits for endEnd(). */
  beginEnd(): void {
    this.#isEnding = true;
  }

  endEnd(): void {
    this.#isEnding = false;
    if (this.destroyed || this.#hasEnded || !this.response.finished) return;
    this.#hasEnded = true;
    this.writableCorked = 0;
    try {
      this.#begin();
      const last = this.#lastText ?? this.#takeHeld();
      this.#lastText = null;
      this.#heldBytes = 0;
      this.#blockedBytes = 0;
      this.exchange.end(last);
    } catch (error) {
      this.fail(error);
    }
    this.#call();
  }

  /** The answer is whole, and 'finish' told. */
  finish(): void {
    const { request, response } = this;
    if (!request._consuming && !request._readableState.resumeScheduled) {
      this.#endRequest();
      request._dump();
    } else if (!request.complete) {
      request.destroy(aborted('the body of a request ends with the answer to it'));
    }
    this._httpMessage = null;
    response.socket = null;
    process.nextTick(closeFinished, this);
  }

  #hold(chunk: string | Uint8Array, encoding: BufferEncoding | null | undefined): void {
    if (typeof chunk === 'string' && this.#isEnding && this.#heldBytes === 0 && isUtf8(encoding)) {
      this.#lastText = chunk;
      this.#heldBytes = Buffer.byteLength(chunk);
      this.bytesWritten += this.#heldBytes;
      return;
    }
    const text = this.#lastText;
    if (text !== null) {
      this.#lastText = null;
      this.#held.push(Buffer.from(text));
    }
    let bytes: Buffer;
    if (typeof chunk === 'string') bytes = Buffer.from(chunk, encoding ?? 'utf8');
    else if (Buffer.isBuffer(chunk)) bytes = chunk;
    else bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    this.#held.push(bytes);
    this.#heldBytes += bytes.length;
    this.bytesWritten += bytes.length;
  }

  #begin(): void {
    const fields = this.#fields;
    if (fields === null) return;
    this.#fields = null;
    this.exchange.begin(this.#status, this.#reason, fields);
  }

  #flush(): void {
    try {
      this.#begin();
      const bytes = this.#heldBytes;
      const last = this.#takeHeld();
      if (last !== undefined && !this.exchange.write(last)) this.#isBlocked = true;
      if (this.#isBlocked) this.#blockedBytes += bytes;
    } catch (error) {
      this.fail(error);
      return;
    }
    if (!this.#isBlocked) this.#call();
  }

  /** All that is held as one piece, or the last of it, where copying would cost more. */
  #takeHeld(): Buffer | undefined {
    const held = this.#held;
    const bytes = this.#heldBytes;
    if (held.length === 0) return undefined;
    this.#held = [];
    this.#heldBytes = 0;
    if (held.length > 1 && bytes <= HIGH_WATER_MARK) return Buffer.concat(held, bytes);
    const last = held.length - 1;
    for (let i = 0; i < last; i++) {
      if (!this.exchange.write(held[i] as Buffer)) this.#isBlocked = true;
    }
    return held[last];
  }

  /** In the next tick: the callbacks of what went to the exchange, and 'drain'. */
  #call(): void {
    const callbacks = this.#callbacks;
    if (callbacks !== null) {
      this.#callbacks = null;
      for (const callback of callbacks) process.nextTick(callback);
    }
    if (this.#wantsDrain) {
      this.#wantsDrain = false;
      process.nextTick(emitDrain, this);
    }
  }

  onDrain(): void {
    this.#isBlocked = false;
    this.#blockedBytes = 0;
    this.#scope.runInAsyncScope(this.#call, this);
  }

  // ---- the end

  onAbort(reason: Error): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.readable = false;
    this.writable = false;
    try {
      this.#scope.runInAsyncScope(closeAborted, undefined, this, aborted('aborted', reason));
    } catch (error) {
      this.fail(error);
    }
  }

  /** By the handler, through its request or answer. */
  destroy(error?: Error | null): this {
    if (this.destroyed) return this;
    this.destroyed = true;
    this.readable = false;
    this.writable = false;
    this.exchange.breakOff();
    // As sockets: the error in the next tick, 'close' by the event loop.
    if (error != null) process.nextTick(emitError, this, error);
    setImmediate(closeDestroyed, this, error);
    return this;
  }

  destroySoon(): this {
    return this.destroy();
  }

  // ---- as sockets

  get remoteAddress(): string | undefined {
    return this.exchange.head.metadata.remoteAddress || undefined;
  }

  get remotePort(): number | undefined {
    return this.exchange.head.metadata.remotePort ?? undefined;
  }

  get remoteFamily(): string | undefined {
    return familyOf(this.remoteAddress);
  }

  get localAddress(): string | undefined {
    return this.exchange.head.metadata.localAddress ?? undefined;
  }

  get localPort(): number | undefined {
    return this.exchange.head.metadata.serverPort || undefined;
  }

  get localFamily(): string | undefined {
    return familyOf(this.localAddress);
  }

  address(): object {
    const { localAddress } = this;
    if (localAddress === undefined) return {};
    return { address: localAddress, family: this.localFamily, port: this.localPort };
  }

  get encrypted(): boolean {
    return this.exchange.head.metadata.isSecure;
  }

  /** The web server has found the client's certificate good. */
  get authorized(): boolean {
    return this.exchange.head.metadata.variables.get('SSL_CLIENT_VERIFY') === 'SUCCESS';
  }

  getProtocol(): string | null {
    return this.exchange.head.metadata.tls?.protocol ?? null;
  }

  getCipher(): object {
    const { tls } = this.exchange.head.metadata;
    if (tls === null || tls.cipher === null) return {};
    return { name: tls.cipher, standardName: tls.cipher, version: tls.protocol ?? '' };
  }

  getPeerX509Certificate(): X509Certificate | undefined {
    const pem = this.exchange.head.metadata.tls?.clientCertificate ?? null;
    return pem === null ? undefined : new X509Certificate(pem);
  }

  getPeerCertificate(): object {
    return this.getPeerX509Certificate()?.toLegacyObject() ?? {};
  }

  get readableHighWaterMark(): number {
    return HIGH_WATER_MARK;
  }

  get writableHighWaterMark(): number {
    return HIGH_WATER_MARK;
  }

  get writableLength(): number {
    return this.#heldBytes + this.#blockedBytes;
  }

  get writableEnded(): boolean {
    return !this.writable;
  }

  get readyState(): string {
    return this.destroyed ? 'closed' : 'open';
  }

  get connecting(): boolean {
    return false;
  }

  get pending(): boolean {
    return false;
  }

  cork(): void {
    this.writableCorked++;
  }

  uncork(): void {
    if (this.writableCorked === 0) return;
    this.writableCorked--;
    if (this.writableCorked === 0 && !this.#isEnding && !this.destroyed && this.#heldBytes > 0) {
      this.#flush();
    }
  }

  /** Nothing can be sent beside the answer. */
  write(_chunk: unknown, encoding?: unknown, callback?: unknown): boolean {
    const call = typeof encoding === 'function' ? encoding : callback;
    const error = new Error('req.socket.write: bytes go out by the answer (res.write) only');
    if (typeof call === 'function') process.nextTick(call as WriteCallback, error);
    return false;
  }

  end(): this {
    return this.destroy();
  }

  setTimeout(): this {
    return this;
  }

  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }
}

function isUtf8(encoding: BufferEncoding | null | undefined): boolean {
  return encoding == null || encoding === 'utf8' || encoding === 'utf-8';
}

/** As node:http has it when a client leaves. */
function aborted(message: string, cause?: Error): Error {
  return Object.assign(new Error(message, cause === undefined ? undefined : { cause }), {
    code: 'ECONNRESET',
  });
}

function familyOf(address: string | undefined): string | undefined {
  if (address === undefined) return undefined;
  return address.includes(':') ? 'IPv6' : 'IPv4';
}

function emitDrain(socket: RequestSocket): void {
  const { response } = socket;
  if (socket.destroyed || response.finished) return;
  response.drained();
}

function closeResponse(response: NodeResponse): void {
  if (response._closed) return;
  response.destroyed = true;
  response._closed = true;
  response.emit('close');
}

/** In the order of node:http: request, answer, socket. */
function closeAborted(socket: RequestSocket, error: Error): void {
  // Once the answer is whole, the request is not aborted any more.
  if (socket._httpMessage !== null) socket.request.destroy(error);
  closeResponse(socket.response);
  closeSocket(socket);
}

function emitError(socket: RequestSocket, error: Error): void {
  if (socket.listenerCount('error') > 0) socket.emit('error', error);
}

function closeDestroyed(socket: RequestSocket, error: Error | null | undefined): void {
  closeAborted(socket, aborted('aborted', error ?? undefined));
}

function closeFinished(socket: RequestSocket): void {
  closeResponse(socket.response);
  socket.destroyed = true;
  socket.readable = false;
  socket.writable = false;
  closeSocket(socket);
}

function closeSocket(socket: RequestSocket): void {
  if (socket.closed) return;
  socket.closed = true;
  socket.emit('close', false);
}
