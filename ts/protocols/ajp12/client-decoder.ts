// SPDX-License-Identifier: Apache-2.0
// What an engine sends, as the web server reads it: a challenge where both sides are configured so, then
// an answer like a CGI program's up to the end of the connection, or one byte for a ping.
import { CgiHeadDecoder } from '../cgi/head-decoder.ts';
import type { CgiHead } from '../cgi/types.ts';
import { ProtocolError } from '../protocol-error.ts';
import { answerTo, findChallenge } from './challenge.ts';
import type { Ajp12ClientEvents, Field } from './types.ts';

/** Each waits for what it is named after; quiet: nothing was sent yet; done: nothing may come. */
type State = 'challenge' | 'quiet' | 'pong' | 'head' | 'body' | 'done';

export class Ajp12ClientDecoder {
  readonly #events: Ajp12ClientEvents;
  readonly #key: Buffer | null;
  readonly #head = new CgiHeadDecoder();
  #state: State;
  /** Of the request that was announced. */
  #method = '';
  /** What is due once the challenge has come. */
  #next: 'quiet' | 'pong' | 'head' = 'quiet';
  #isFirst = true;
  #held = Buffer.alloc(0);
  /** Bytes of the body that were promised; null = it ends with the connection. */
  #left: number | null = null;
  /** The answer has no body, whatever comes. */
  #isBodiless = false;
  #failure: { error: unknown } | null = null;

  /** `key`: all bytes of the secret file, where the engine sends a challenge; null = it sends none. */
  constructor(events: Ajp12ClientEvents, key: Buffer | null) {
    this.#events = events;
    this.#key = key;
    this.#state = key === null ? 'quiet' : 'challenge';
  }

  /** All that was promised has come, though the connection may not have ended. */
  get isWhole(): boolean {
    const isWhole = this.#state === 'body' && (this.#isBodiless || this.#left === 0);
    return isWhole && this.#failure === null;
  }

  /** Before a request is sent. */
  begin(method: string): void {
    this.#method = method;
    this.#expect('head');
  }

  /** Before a ping is sent. */
  ping(): void {
    this.#expect('pong');
  }

  /** Any piece of the stream. Throws ProtocolError, and the same error for ever after one. */
  push(chunk: Buffer): void {
    this.#failing(() => {
      let rest = chunk;
      if (this.#state === 'challenge') rest = this.#challenge(chunk);
      if (rest.length === 0) return;
      if (this.#isFirst && this.#key === null) this.#checkNoChallenge(rest);
      this.#isFirst = false;
      if (this.#state === 'head') this.#readHead(rest);
      else if (this.#state === 'body') this.#body(rest);
      else if (this.#state === 'pong') this.#pong();
      else if (this.#state === 'quiet') throw fault('an answer before there was a request');
      else throw fault('bytes after the end of the answer');
    });
  }

  /** The engine closed the connection. Throws ProtocolError when something of the answer is missing. */
  end(): void {
    this.#failing(() => {
      const state = this.#state;
      this.#state = 'done';
      if (state === 'head') this.#head.end();
      if (state === 'challenge' || state === 'pong')
        throw fault(`the connection ends before ${state}`);
      if (this.#left !== null && this.#left > 0) {
        throw fault(`the answer ends ${this.#left} bytes before its Content-Length`);
      }
      if (state === 'body') this.#events.onEnd();
    });
  }

  #expect(next: 'pong' | 'head'): void {
    if (this.#next !== 'quiet') throw new Error('AJP 1.2: a connection has one request or signal');
    this.#next = next;
    if (this.#state === 'quiet') this.#state = next;
  }

  /** An answer does not begin with a NUL, and a pong has one byte. */
  #checkNoChallenge(bytes: Buffer): void {
    if (bytes[0] !== 0 || (this.#state === 'pong' && bytes.length === 1)) return;
    throw fault('the engine sends a challenge, and there is no secret file to answer it');
  }

  #failing(read: () => void): void {
    if (this.#failure) throw this.#failure.error;
    try {
      read();
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** Returns what came after the challenge. */
  #challenge(chunk: Buffer): Buffer {
    const held = this.#held.length;
    const bytes = held === 0 ? chunk : Buffer.concat([this.#held, chunk]);
    const found = findChallenge(bytes);
    const key = this.#key;
    if (found === null || key === null) {
      this.#held = Buffer.from(bytes);
      return chunk.subarray(chunk.length);
    }
    this.#state = this.#next;
    this.#events.onChallenge(answerTo(bytes.subarray(found.start, found.end), key));
    return chunk.subarray(found.end - held);
  }

  #readHead(chunk: Buffer): void {
    const result = this.#head.push(chunk);
    if (result === null) return;
    const { status, reason, fields } = answerOf(result.head);
    const isError = ([name]: Field) => name.toLowerCase() === 'servlet-error';
    const servletError = fields.find(isError)?.[1] ?? '';
    this.#isBodiless = this.#method === 'HEAD' || [204, 205, 304].includes(status);
    const length = fields.find(([name]) => name.toLowerCase() === 'content-length')?.[1];
    if (length !== undefined && !this.#isBodiless) this.#left = Number(length);
    this.#state = 'body';
    this.#events.onHead(
      status,
      reason,
      fields.filter((field) => !isError(field)),
      servletError,
    );
    if (result.body.length > 0) this.#body(result.body);
  }

  #body(bytes: Buffer): void {
    if (this.#isBodiless) return;
    const left = this.#left ?? bytes.length;
    const part = bytes.length > left ? bytes.subarray(0, left) : bytes;
    if (this.#left !== null) this.#left -= part.length;
    if (part.length > 0) this.#events.onBody(part);
    if (bytes.length > left) throw fault('more of a body than its Content-Length');
  }

  /** Which byte it is differs from engine to engine. */
  #pong(): void {
    this.#state = 'done';
    this.#events.onPong();
  }
}

function answerOf(head: CgiHead): { status: number; reason: string; fields: readonly Field[] } {
  if (head.kind === 'local-redirect') {
    // The web server of an engine has no way back into itself.
    return { ...FOUND, fields: [['Location', head.location]] };
  }
  const { status, fields } = head;
  const isRedirect = status === 200 && fields.some(([name]) => name.toLowerCase() === 'location');
  return isRedirect ? { ...FOUND, fields } : head;
}

/** JServ's servlets say only where to go. */
const FOUND = { status: 302, reason: 'Found' };

function fault(message: string): ProtocolError {
  return new ProtocolError(`AJP 1.2: ${message}`);
}
