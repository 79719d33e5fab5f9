// SPDX-License-Identifier: Apache-2.0
// What a web server sends, as the engine reads it: the answer to the challenge, then one request with its
// body, or one signal.
import { ANSWER_BYTES, isAnswer } from './challenge.ts';
import { REQUEST, SIGNAL, SIGNALS } from './codes.ts';
import { type Ajp12Limits, RequestReader, refusal } from './request-reader.ts';
import type { Ajp12ServerEvents } from './types.ts';

export interface Ajp12ServerOptions {
  /** What encodeChallenge sent on this connection, and all bytes of the secret file; null = whoever can
   * connect is trusted. */
  authentication: { challenge: Buffer; key: Buffer } | null;
  limits?: Ajp12Limits;
}

const defaults: Ajp12Limits = { requestBytes: 65536, fields: 100 };

/** Each waits for what it is named after; done: nothing may come. */
type State = 'answer' | 'mark' | 'signal' | 'request' | 'body' | 'done';

export class Ajp12ServerDecoder {
  readonly #events: Ajp12ServerEvents;
  readonly #authentication: Ajp12ServerOptions['authentication'];
  readonly #reader: RequestReader;
  #state: State;
  /** What came of a string, or of the answer, whose rest has not. */
  #held = Buffer.alloc(0);
  #heldBytes = 0;
  #bodyLeft = 0;
  #failure: { error: unknown } | null = null;

  constructor(events: Ajp12ServerEvents, options: Ajp12ServerOptions) {
    this.#events = events;
    this.#authentication = options.authentication;
    this.#reader = new RequestReader(options.limits ?? defaults);
    this.#state = options.authentication === null ? 'mark' : 'answer';
  }

  /** All has come that can: what comes later is an error. Before, an end of the stream cut something off. */
  get isDone(): boolean {
    return this.#state === 'done' && this.#failure === null;
  }

  /** Any piece of the stream. Throws ProtocolError, and the same error for ever after one; one with
   * status 0 is not answered. */
  push(chunk: Buffer): void {
    if (this.#failure) throw this.#failure.error;
    try {
      this.#push(chunk);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  #push(chunk: Buffer): void {
    let at = 0;
    if (this.#heldBytes > 0) {
      const before = this.#heldBytes;
      this.#hold(chunk, 0);
      const end = this.#heldBytes;
      this.#heldBytes = 0;
      const taken = this.#head(this.#held, 0, end);
      if (this.#isHead) {
        this.#held.copyWithin(0, taken, end);
        this.#heldBytes = end - taken;
        return;
      }
      at = taken - before;
    } else if (this.#isHead) {
      at = this.#head(chunk, 0, chunk.length);
      if (this.#isHead) {
        this.#hold(chunk, at);
        return;
      }
    }
    if (at < chunk.length) this.#body(at === 0 ? chunk : chunk.subarray(at));
  }

  get #isHead(): boolean {
    return this.#state !== 'body' && this.#state !== 'done';
  }

  /** Takes what is whole of [at, end) up to the body, and returns where it stopped. */
  #head(bytes: Buffer, at: number, end: number): number {
    let next = at;
    while (this.#isHead && next < end) {
      const taken = this.#step(bytes, next, end);
      if (taken === next) break;
      next = taken;
    }
    return next;
  }

  #step(bytes: Buffer, at: number, end: number): number {
    switch (this.#state) {
      case 'answer':
        return this.#answer(bytes, at, end);
      case 'mark':
        return this.#mark(bytes[at] as number, at);
      case 'signal':
        return this.#signal(bytes[at] as number, at);
      default:
        return this.#request(bytes, at, end);
    }
  }

  #answer(bytes: Buffer, at: number, end: number): number {
    if (end - at < ANSWER_BYTES || !this.#authentication) return at;
    const { challenge, key } = this.#authentication;
    const next = at + ANSWER_BYTES;
    if (!isAnswer(bytes.subarray(at, next), challenge, key)) {
      throw refusal(
        'a wrong answer to the challenge; web server and engine must have the same secret file',
        0,
      );
    }
    this.#state = 'mark';
    return next;
  }

  #mark(mark: number, at: number): number {
    if (mark !== REQUEST && mark !== SIGNAL) {
      throw refusal(`a connection begins with mark ${mark}, known are 1 and 254`, 0);
    }
    this.#state = mark === REQUEST ? 'request' : 'signal';
    return at + 1;
  }

  #signal(code: number, at: number): number {
    const signal = SIGNALS.get(code);
    if (!signal) throw refusal(`signal ${code}, known are 0, 1 and 15`, 0);
    this.#state = 'done';
    this.#events.onSignal(signal, this.#authentication !== null);
    return at + 1;
  }

  #request(bytes: Buffer, at: number, end: number): number {
    const read = this.#reader.read(bytes, at, end);
    if (read.isDone) {
      const { request, bodyBytes } = this.#reader.finish();
      this.#bodyLeft = bodyBytes;
      this.#state = bodyBytes > 0 ? 'body' : 'done';
      this.#events.onRequest(request, bodyBytes);
      if (bodyBytes === 0) this.#events.onBodyEnd();
    }
    return read.at;
  }

  #body(bytes: Buffer): void {
    const left = this.#bodyLeft;
    if (left > 0) {
      const part = bytes.length > left ? bytes.subarray(0, left) : bytes;
      this.#bodyLeft -= part.length;
      if (this.#bodyLeft === 0) this.#state = 'done';
      this.#events.onBody(part);
      if (this.#bodyLeft === 0) this.#events.onBodyEnd();
    }
    if (bytes.length > left) throw refusal('bytes after the end of the request', 400);
  }

  /** The buffer doubles, so that small pieces cost no more than large ones. */
  #hold(chunk: Buffer, from: number): void {
    const bytes = this.#heldBytes + chunk.length - from;
    if (bytes > this.#held.length) {
      const grown = Buffer.allocUnsafe(Math.max(bytes, 2 * this.#held.length, 512));
      this.#held.copy(grown, 0, 0, this.#heldBytes);
      this.#held = grown;
    }
    chunk.copy(this.#held, this.#heldBytes, from);
    this.#heldBytes = bytes;
  }
}
