// SPDX-License-Identifier: Apache-2.0
// Requests that come by HTTP, without a web server in between: for development. The protocol is Node's.
import {
  createServer,
  type IncomingMessage,
  type OutgoingHttpHeader,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { TLSSocket } from 'node:tls';
import { Exchange, type FieldList, type RequestHead } from '../exchange.ts';
import type { RequestMetadata } from '../metadata.ts';
import { reasonOf, sentList } from './answer-fields.ts';
import type { ConnectionOwner } from './connection-owner.ts';
import { decodedPath, pathOfAbsolute } from './url-path.ts';

export interface HttpServer {
  server: Server;
  /** Idle connections end now, others after their answer. */
  close(): void;
}

export function httpServer(owner: ConnectionOwner): HttpServer {
  const server = createServer({ noDelay: true });
  let isClosing = false;
  const serve = (request: IncomingMessage, response: ServerResponse, isContinueDue: boolean) => {
    if (isClosing) response.shouldKeepAlive = false;
    const exchange = new HttpExchange(request, response, owner, isContinueDue, () => isClosing);
    response.on('finish', () => {
      if (isClosing) setImmediate(() => server.closeIdleConnections());
    });
    owner.run(exchange);
  };
  server.on('request', (request, response) => serve(request, response, false));
  // Else Node would ask for the body before anybody wants it.
  server.on('checkContinue', (request, response) => serve(request, response, true));
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    owner.log(`HTTP: ${error.message}`);
    const status = error.code === 'HPE_HEADER_OVERFLOW' ? 431 : 400;
    socket.end(`HTTP/1.1 ${status} ${reasonOf(status, '')}\r\nConnection: close\r\n\r\n`);
  });
  return {
    server,
    close: () => {
      isClosing = true;
      server.closeIdleConnections();
    },
  };
}

class HttpExchange extends Exchange {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #owner: ConnectionOwner;
  readonly #isClosing: () => boolean;
  #isContinueDue: boolean;
  #isReading = false;
  /** What the answer's Content-Length still promises; null: nothing. */
  #left: number | null = null;

  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    owner: ConnectionOwner,
    isContinueDue: boolean,
    isClosing: () => boolean,
  ) {
    super(headOf(request));
    this.#request = request;
    this.#response = response;
    this.#owner = owner;
    this.#isContinueDue = isContinueDue;
    this.#isClosing = isClosing;
    response.on('drain', () => this.listener?.onDrain());
    response.on('close', () => this.abort(new Error('the client has left')));
    request.on('error', () => undefined); // the response's 'close' follows
    response.on('error', () => undefined);
  }

  override report(line: string): void {
    this.#owner.log(line);
  }

  override pauseBody(): void {
    this.#request.pause();
  }

  override resumeBody(): void {
    if (this.state === 'over') return;
    if (this.#isContinueDue && !this.#response.headersSent) this.#response.writeContinue();
    this.#isContinueDue = false;
    if (!this.#isReading) {
      this.#isReading = true;
      this.#request.on('data', (bytes: Buffer) => this.listener?.onBody(bytes));
      this.#request.on('end', () => this.listener?.onBodyEnd());
    }
    this.#request.resume();
  }

  protected override sendHead(status: number, reason: string, fields: FieldList): void {
    const list = sentList(status, reason, fields);
    this.#left = contentLengthOf(list);
    if (this.#isClosing() || this.#isContinueDue) this.#response.shouldKeepAlive = false;
    this.#response.writeHead(status, reasonOf(status, reason), list as OutgoingHttpHeader[]);
  }

  protected override sendBody(bytes: Buffer): boolean {
    const promised = this.#promised(bytes);
    return promised.length === 0 || this.#response.write(promised);
  }

  protected override sendNow(): void {
    this.#response.flushHeaders();
  }

  protected override sendEnd(last: Buffer | null): void {
    const promised = last === null ? null : this.#promised(last);
    const isBodiless = this.head.method === 'HEAD' || this.#response.statusCode === 304;
    if (this.#left !== null && this.#left > 0 && !isBodiless) {
      this.#owner.log(`HTTP: the answer is ${this.#left} bytes shorter than its Content-Length`);
      if (promised !== null) this.#response.write(promised);
      this.#cut();
      return;
    }
    if (promised === null) this.#response.end();
    else this.#response.end(promised);
    // What nobody reads any more must not be in the way of the next request.
    this.#request.resume();
  }

  protected override sendBreak(): void {
    this.#cut();
  }

  /** What was written goes out, and then the connection ends in the middle of the answer. */
  #cut(): void {
    const { socket } = this.#request;
    if (socket.writable) socket.end(() => socket.destroy());
    else socket.destroy();
  }

  /** Bytes beyond the Content-Length would be read as the next answer: they stay here. */
  #promised(bytes: Buffer): Buffer {
    const left = this.#left;
    if (left === null) return bytes;
    if (bytes.length > left) {
      this.#owner.log('HTTP: the answer is longer than its Content-Length: the rest is left out');
      this.#left = 0;
      return bytes.subarray(0, left);
    }
    this.#left = left - bytes.length;
    return bytes;
  }
}

function headOf(request: IncomingMessage): RequestHead {
  const url = request.url ?? '/';
  const length = request.headers['content-length'];
  const isChunked = request.headers['transfer-encoding'] !== undefined;
  return {
    method: request.method ?? 'GET',
    url: url.startsWith('/') || url === '*' ? url : pathOfAbsolute(url),
    httpVersion: request.httpVersion,
    fields: request.rawHeaders,
    bodyBytes: isChunked ? null : length === undefined ? 0 : Number(length),
    metadata: new HttpMetadata(request),
  };
}

function contentLengthOf(list: readonly string[]): number | null {
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i] as string;
    if (name.length === 14 && name.toLowerCase() === 'content-length') {
      const value = list[i + 1] as string;
      return /^\d+$/.test(value) ? Number(value) : null;
    }
  }
  return null;
}

const nothing: ReadonlyMap<string, string> = new Map();

class HttpMetadata implements RequestMetadata {
  readonly #request: IncomingMessage;
  readonly protocol = 'http';
  readonly role = 'responder';
  readonly remoteUser = null;
  readonly authType = null;
  readonly remoteHost = null;
  readonly serverSoftware = null;
  readonly scriptName = '';
  readonly pathTranslated = null;
  readonly scriptFilename = null;
  readonly documentRoot = null;
  readonly route = null;
  readonly zone = null;
  readonly servlet = null;
  readonly tls = null;
  readonly variables = nothing;

  constructor(request: IncomingMessage) {
    this.#request = request;
  }

  get remoteAddress(): string {
    return this.#request.socket.remoteAddress ?? '';
  }

  get remotePort(): number | null {
    return this.#request.socket.remotePort ?? null;
  }

  get localAddress(): string | null {
    return this.#request.socket.localAddress ?? null;
  }

  get serverName(): string {
    return /^(?:\[[^\]]*\]|[^:]*)/.exec(this.#request.headers.host ?? '')?.[0] ?? '';
  }

  get serverPort(): number {
    return this.#request.socket.localPort ?? 0;
  }

  get isSecure(): boolean {
    return (this.#request.socket as TLSSocket).encrypted === true;
  }

  get pathInfo(): string {
    return decodedPath(this.#request.url ?? '');
  }
}
