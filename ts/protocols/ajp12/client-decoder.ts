// SPDX-License-Identifier: Apache-2.0
// What an engine sends, as the web server reads it: a challenge where both sides are configured so, then
// an answer like a CGI program's up to the end of the connection, or one byte for a ping.
import { CgiHeadDecoder } from '../cgi/head-decoder.ts';
import type { CgiHead } from '../cgi/types.ts';
import { ProtocolError } from '../protocol-error.ts';
import { answerTo, findChallenge } from './challenge.ts';
import type { Ajp12ClientEvents, Field } from './types.ts';

export interface Ajp12ClientOptions {
  /** All bytes of the secret file, where the engine sends a challenge; null = it sends none. */
  key: Buffer | null;
  /** What is sent: a ping, or a request and with what method. */
  expects: 'pong' | { method: string };
}

/** Each waits for what it is named after; done: nothing may come. */
type State = 'challenge' | 'pong' | 'head' | 'body' | 'done';

export class Ajp12ClientDecoder {
  readonly #events: Ajp12ClientEvents;
  readonly #options: Ajp12ClientOptions;
  readonly #head = new CgiHeadDecoder();
  #state: State;
  #held = Buffer.alloc(0);
  /** Bytes of the body that were promised; null = it ends with the connection. */
  #left: number | null = null;
  /** The answer has no body, whatever comes. */
  #isBodiless = false;
  #failure: { error: unknown } | null = null;

  constructor(events: Ajp12ClientEvents, options: Ajp12ClientOptions) {
    this.#events = events;
    this.#options = options;
    this.#state = options.key === null ? this.#first : 'challenge';
  }

  /** Any piece of the stream. Throws ProtocolError, and the same error for ever after one. */
  push(chunk: Buffer): void {
    this.#failing(() => {
      let rest = chunk;
      if (this.#state === 'challenge') rest = this.#challenge(chunk);
      if (rest.length === 0) return;
      if (this.#state === 'head') this.#readHead(rest);
      else if (this.#state === 'body') this.#body(rest);
      else if (this.#state === 'pong') this.#pong();
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

  get #first(): State {
    return this.#options.expects === 'pong' ? 'pong' : 'head';
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
    const { key } = this.#options;
    if (found === null || key === null) {
      this.#held = Buffer.from(bytes);
      return chunk.subarray(chunk.length);
    }
    this.#state = this.#first;
    this.#events.onChallenge(answerTo(bytes.subarray(found.start, found.end), key));
    return chunk.subarray(found.end - held);
  }

  #readHead(chunk: Buffer): void {
    const result = this.#head.push(chunk);
    if (result === null) return;
    const { status, reason, fields } = answerOf(result.head);
    const isError = ([name]: Field) => name.toLowerCase() === 'servlet-error';
    const servletError = fields.find(isError)?.[1] ?? '';
    const { expects } = this.#options;
    const method = expects === 'pong' ? '' : expects.method;
    this.#isBodiless = method === 'HEAD' || [204, 205, 304].includes(status);
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
  if (head.kind !== 'local-redirect') return head;
  // The web server of an engine has no way back into itself.
  return { status: 302, reason: 'Found', fields: [['Location', head.location]] };
}

function fault(message: string): ProtocolError {
  return new ProtocolError(`AJP 1.2: ${message}`);
}
