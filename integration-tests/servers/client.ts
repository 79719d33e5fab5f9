// SPDX-License-Identifier: Apache-2.0
// HTTP clients as the tests need them: one request a connection by default, answers taken whole or
// only counted, and raw sockets for what a well-behaved client would not do.

import http from 'node:http';
import http2 from 'node:http2';
import net from 'node:net';
import { crc32 } from 'node:zlib';
import { within } from './eventually.ts';

/** Escapes what may not stand in a request line; '%' is left alone. */
export function escaped(path: string): string {
  return path.replace(/[^!-~]+/g, encodeURIComponent);
}

/** No request of these tests takes longer, unless it is never answered. */
const answerWithinMs = 120_000;

export interface RequestOptions {
  method?: string;
  /** In order, as sent; the same name may come again. */
  headers?: [name: string, value: string][];
  body?: Buffer | string;
  /** Sends the body in pieces, without Content-Length. */
  isChunked?: boolean;
  agent?: http.Agent;
  /** Hears of our port when the connection stands. */
  onConnected?: (localPort: number) => void;
}

export class Answer {
  readonly status: number;
  readonly reason: string;
  /** In order, as received. */
  readonly headers: [name: string, value: string][];
  readonly body: Buffer;
  /** False when the connection ended before the answer did. */
  readonly isComplete: boolean;

  constructor(response: http.IncomingMessage, body: Buffer) {
    const raw = response.rawHeaders;
    this.status = response.statusCode ?? 0;
    this.reason = response.statusMessage ?? '';
    this.headers = raw.flatMap((name, i) => (i % 2 === 0 ? [[name, raw[i + 1] ?? '']] : []));
    this.body = body;
    this.isComplete = response.complete;
  }

  get text(): string {
    return this.body.toString();
  }

  /** All values of a header. */
  header(name: string): string[] {
    return this.headers.filter(([n]) => n.toLowerCase() === name.toLowerCase()).map(([, v]) => v);
  }

  /** The answer read as lines NAME=value. */
  get fields(): Record<string, string> {
    return fieldsOf(this.text);
  }
}

export function fieldsOf(text: string): Record<string, string> {
  const lines = text.split('\n').map((line) => line.trimEnd());
  return Object.fromEntries(
    lines
      .filter((line) => line.includes('='))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

/** Byte i is i modulo 251, as the program echo makes them. */
export function pattern(bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  for (let i = 0; i < bytes; i++) buffer[i] = i % 251;
  return buffer;
}

export function checksum(bytes: Buffer | string, initial = 0): number {
  return crc32(bytes, initial);
}

export function hex(checksum: number): string {
  return checksum.toString(16).padStart(8, '0');
}

function open(port: number, path: string, options: RequestOptions): http.ClientRequest {
  const { method = 'GET', headers = [], body, isChunked = false, agent } = options;
  const given = headers.some(([name]) => name.toLowerCase() === 'host')
    ? headers
    : [['Host', `127.0.0.1:${port}`] as [string, string], ...headers];
  const sent = [...given];
  if (body !== undefined && !isChunked) sent.push(['Content-Length', `${Buffer.byteLength(body)}`]);
  if (isChunked) sent.push(['Transfer-Encoding', 'chunked']);
  if (agent === undefined) sent.push(['Connection', 'close']);
  return http.request({
    host: '127.0.0.1',
    port,
    path: escaped(path),
    method,
    headers: sent.flat() as unknown as http.OutgoingHttpHeaders,
    agent: agent ?? false,
    maxHeaderSize: 256 * 1024,
  });
}

function send(request: http.ClientRequest, { body, isChunked = false }: RequestOptions): void {
  if (body === undefined || !isChunked) {
    request.end(body);
    return;
  }
  const bytes = Buffer.from(body);
  let at = 0;
  const more = (): void => {
    while (at < bytes.length) {
      const piece = bytes.subarray(at, at + 50_000);
      at += piece.length;
      if (!request.write(piece)) {
        request.once('drain', more);
        return;
      }
    }
    request.end();
  };
  more();
}

function begin(port: number, path: string, options: RequestOptions): Promise<http.IncomingMessage> {
  return new Promise((resolve, reject) => {
    const request = open(port, path, options);
    let answered = false;
    const { onConnected } = options;
    if (onConnected) {
      request.on('socket', (socket) => {
        if (socket.connecting) socket.once('connect', () => onConnected(socket.localPort ?? 0));
        else onConnected(socket.localPort ?? 0);
      });
    }
    request.on('response', (response) => {
      answered = true;
      resolve(response);
    });
    // An early answer may close the connection while the body is still on its way.
    request.on('error', (error) => {
      if (!answered) reject(error);
    });
    if (options.headers?.some(([name]) => name.toLowerCase() === 'expect')) {
      request.on('continue', () => send(request, options));
      request.flushHeaders();
    } else {
      send(request, options);
    }
  });
}

function ended(response: http.IncomingMessage): Promise<void> {
  return new Promise((resolve) => {
    response.on('error', () => resolve()); // ended early: seen from response.complete
    response.on('close', () => resolve());
  });
}

/** One request and its whole answer. */
export async function request(
  port: number,
  path: string,
  options: RequestOptions = {},
): Promise<Answer> {
  const run = async (): Promise<Answer> => {
    const response = await begin(port, path, options);
    const pieces: Buffer[] = [];
    response.on('data', (piece: Buffer) => pieces.push(piece));
    await ended(response);
    return new Answer(response, Buffer.concat(pieces));
  };
  return within(
    `answer to ${options.method ?? 'GET'} ${path.slice(0, 100)}`,
    run(),
    answerWithinMs,
  );
}

export interface Download {
  status: number;
  bytes: number;
  crc32: number;
  isComplete: boolean;
}

/** One request whose answer is only counted and summed; `onBytes` hears of each piece. */
export async function download(
  port: number,
  path: string,
  onBytes?: (bytes: number) => void,
): Promise<Download> {
  const run = async (): Promise<Download> => {
    const response = await begin(port, path, {});
    const seen = { bytes: 0, crc32: 0 };
    response.on('data', (piece: Buffer) => {
      seen.bytes += piece.length;
      seen.crc32 = crc32(piece, seen.crc32);
      onBytes?.(seen.bytes);
    });
    await ended(response);
    return { ...seen, status: response.statusCode ?? 0, isComplete: response.complete };
  };
  return within(`download of ${path}`, run(), answerWithinMs);
}

/** A connection that says exactly what it is told to, and keeps what it hears. */
export class RawClient {
  readonly socket: net.Socket;
  private heard = '';
  private hasEnded = false;
  private onChange: (() => void) | undefined;

  private constructor(socket: net.Socket) {
    this.socket = socket;
    const changed = (): void => this.onChange?.();
    socket.setEncoding('latin1');
    socket.on('data', (text: string) => {
      this.heard += text;
      changed();
    });
    socket.on('error', changed);
    socket.on('close', () => {
      this.hasEnded = true;
      changed();
    });
  }

  static connect(port: number): Promise<RawClient> {
    return new Promise((resolve, reject) => {
      const socket = net.connect(port, '127.0.0.1');
      socket.once('error', reject);
      socket.once('connect', () => resolve(new RawClient(socket)));
    });
  }

  /** A GET of HTTP/1.1 that is sent and not yet answered. */
  static async get(port: number, path: string): Promise<RawClient> {
    const client = await RawClient.connect(port);
    client.send(`GET ${escaped(path)} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n`);
    return client;
  }

  send(text: string | Buffer): void {
    this.socket.write(text);
  }

  /** All that was heard so far, once it contains `part`. */
  async until(part: string): Promise<string> {
    const run = async (): Promise<string> => {
      while (!this.heard.includes(part)) {
        if (this.hasEnded) throw new Error(`connection ended before ${part}: ${this.heard}`);
        await new Promise<void>((resolve) => {
          this.onChange = resolve;
        });
      }
      return this.heard;
    };
    return within(`${JSON.stringify(part)} from the server`, run());
  }

  /** All that was heard, once the server has closed the connection. */
  async all(): Promise<string> {
    const run = async (): Promise<string> => {
      while (!this.hasEnded) {
        await new Promise<void>((resolve) => {
          this.onChange = resolve;
        });
      }
      return this.heard;
    };
    return within('end of the connection', run(), answerWithinMs);
  }

  /** Leaves without a word. */
  leave(): void {
    this.socket.destroy();
  }
}

export interface Http2Answer {
  status: number;
  headers: http2.IncomingHttpHeaders;
  body: Buffer;
}

/** HTTP/2 without TLS, all paths at once over one connection; a list is a header given repeatedly. */
export async function requestHttp2(
  port: number,
  paths: string[],
  body?: Buffer,
  sent: Record<string, string | string[]> = {},
): Promise<Http2Answer[]> {
  const session = http2.connect(`http://127.0.0.1:${port}`);
  const one = (path: string): Promise<Http2Answer> =>
    new Promise((resolve, reject) => {
      const method = body === undefined ? 'GET' : 'POST';
      const stream = session.request({ ':path': path, ':method': method, ...sent });
      const pieces: Buffer[] = [];
      let headers: http2.IncomingHttpHeaders = {};
      stream.on('response', (received) => {
        headers = received;
      });
      stream.on('data', (piece: Buffer) => pieces.push(piece));
      stream.on('error', reject);
      stream.on('end', () =>
        resolve({ status: Number(headers[':status']), headers, body: Buffer.concat(pieces) }),
      );
      stream.end(body);
    });
  try {
    const failed = new Promise<never>((_, reject) => {
      session.on('error', reject);
    });
    const all = Promise.all(paths.map(one));
    return await within('HTTP/2 answers', Promise.race([all, failed]), answerWithinMs);
  } finally {
    session.destroy();
  }
}
