// SPDX-License-Identifier: Apache-2.0
// One request and its answer, between the connection that it came by and what answers it: a handler in this
// process, or a worker elsewhere. Connections (connections/) extend Exchange; models (models/) pass it on;
// handlers (handlers/) open and answer it. Bytes of texts are Latin-1 characters, one each.
import type { RequestMetadata } from './metadata.ts';

/** Name, value, name, value …, in the order of the message, as Node's rawHeaders. */
export type FieldList = readonly string[];

export interface RequestHead {
  method: string;
  /** Path and query as the client sent them; "/…", or "*". */
  url: string;
  /** Of the client's request: "1.1", "1.0", "2.0"; "1.1" where nobody tells. */
  httpVersion: string;
  fields: FieldList;
  /** null: there is one whose length nobody knows. 0: there is none. */
  bodyBytes: number | null;
  metadata: RequestMetadata;
}

/** What opens an exchange. Calls come from open() on, never inside a call of the exchange, and none after
 * onAbort or the end of the answer. */
export interface ExchangeListener {
  /** Only between resumeBody() and pauseBody(). Bytes that nobody writes to again: they may be kept. */
  onBody(bytes: Buffer): void;
  /** Once, after the last byte, also when there was none; not before the first resumeBody(). */
  onBodyEnd(): void;
  /** Nobody wants the answer any more: the client left, or the deadline has passed. */
  onAbort(reason: Error): void;
  /** write() said false; now there is room again. */
  onDrain(): void;
}

/**
 *   waiting    open() was not called yet
 *   open       no head of an answer yet
 *   answering  the head is given
 *   over       answered, broken off or aborted: all further calls do nothing
 */
export type ExchangeState = 'waiting' | 'open' | 'answering' | 'over';

/** Why a request is answered by us, not by the handler. */
export interface Refusal {
  /** 4xx, 5xx. */
  status: number;
  /** One sentence for the client: nothing about the inside of the program. */
  reason: string;
  /** One line for the log; without it nothing is logged. */
  log?: string;
  /** Whole seconds, for Retry-After. */
  retryAfterSeconds?: number;
}

export abstract class Exchange {
  readonly head: RequestHead;
  /** Set by who runs it, before the servlet: calls what a handler does before it first waits, and may end it
   * in the middle. Servlets call handlers by it, inside of all that they enter themselves: async scopes that
   * are never left end the process. */
  alarm: (<T>(call: () => T) => T | undefined) | null = null;
  #state: ExchangeState = 'waiting';
  #listener: ExchangeListener | null = null;
  #isBodiless = false;
  #onOver: (() => void) | null = null;
  #refusal: Refusal | null = null;

  protected constructor(head: RequestHead) {
    this.head = head;
  }

  get state(): ExchangeState {
    return this.#state;
  }

  /** The head of an answer is given, or it is too late for one. */
  get hasBegun(): boolean {
    return this.#state === 'answering' || this.#state === 'over';
  }

  /** Called once, when the exchange is over; by who runs it. At once when it is over already. */
  set onOver(call: () => void) {
    if (this.#state === 'over') call();
    else this.#onOver = call;
  }

  /** Once. The body does not flow before resumeBody(). */
  open(listener: ExchangeListener): void {
    if (this.#state === 'over') return;
    if (this.#state !== 'waiting') throw new Error('an exchange is opened once');
    this.#state = 'open';
    this.#listener = listener;
  }

  /**
   * The head of the answer, which goes out with what comes next: a body, its end, or flush(). Fields that
   * speak of a connection (Connection, Transfer-Encoding …) are left out. Bodies of answers to HEAD and of
   * 204 and 304 are dropped.
   * @param status 200 to 999
   * @param reason '' = the usual one
   * @throws ProtocolError with status 500 for bytes that may not be sent; nothing was sent then
   */
  begin(status: number, reason: string, fields: FieldList): void {
    if (this.#state === 'over') return;
    if (this.#state === 'answering') throw new Error('the head of an answer is given once');
    this.#isBodiless = status === 204 || status === 304 || this.head.method === 'HEAD';
    this.sendHead(status, reason, fields);
    this.#state = 'answering';
  }

  /** After begin(). The bytes are kept until they are sent, and not copied. false: no more until onDrain,
   * or memory grows. */
  write(bytes: Buffer): boolean {
    if (this.#state === 'over') return true;
    if (this.#state !== 'answering') throw new Error('an answer begins with its head');
    return this.#isBodiless || bytes.length === 0 ? true : this.sendBody(bytes);
  }

  /** What was given so far shall go out now. */
  flush(): void {
    if (this.#state === 'answering') this.sendNow();
  }

  /** The answer is whole; `last` goes out before, a text as UTF-8. The body of the request need not have
   * been read. */
  end(last?: Buffer | string): void {
    if (this.#state === 'over') return;
    if (this.#state !== 'answering') throw new Error('an answer begins with its head');
    this.#close();
    if (last === undefined || last.length === 0 || this.#isBodiless) this.sendEnd(null);
    else if (typeof last === 'string') this.sendTextEnd(last);
    else this.sendEnd(last);
    this.#tellOver();
  }

  /** The answer cannot become whole: the peer gets to know that, as far as the protocol can say it. */
  breakOff(): void {
    if (this.#state === 'over') return;
    this.#close();
    this.sendBreak();
    this.#tellOver();
  }

  /** An answer of ours where none has begun; else breakOff(). */
  refuse(refusal: Refusal): void {
    if (this.#state === 'over') return;
    if (refusal.log !== undefined) this.report(refusal.log);
    if (this.#state === 'answering') {
      this.breakOff();
      return;
    }
    const text = Buffer.from(`${refusal.status} ${refusal.reason}\n`);
    const fields = [
      'Content-Type',
      'text/plain; charset=utf-8',
      'Content-Length',
      `${text.length}`,
    ];
    if (refusal.retryAfterSeconds !== undefined) {
      fields.push('Retry-After', `${refusal.retryAfterSeconds}`);
    }
    this.#refusal = refusal;
    this.begin(refusal.status, '', fields);
    this.end(text);
  }

  /** refuse(), and onAbort for who opened it: for deadlines, and for workers that have died. */
  giveUp(refusal: Refusal): void {
    const listener = this.#listener;
    this.refuse(refusal);
    listener?.onAbort(new Error(refusal.log ?? refusal.reason));
  }

  /** onAbort for who opened it, and the exchange is over: the client has left. For connections. */
  abort(reason: Error): void {
    if (this.#state === 'over') return;
    const listener = this.#listener;
    this.#close();
    this.#tellOver();
    listener?.onAbort(reason);
  }

  /** Stops and goes on with the body; from open() on. */
  abstract pauseBody(): void;
  abstract resumeBody(): void;
  /** A line for the log: the web server's where the protocol has a way to it, else our stderr. */
  abstract report(line: string): void;

  // ---- of connections

  /** @throws ProtocolError with status 500 when it cannot be sent; nothing was sent then */
  protected abstract sendHead(status: number, reason: string, fields: FieldList): void;
  protected abstract sendBody(bytes: Buffer): boolean;
  protected abstract sendNow(): void;
  protected abstract sendEnd(last: Buffer | null): void;
  protected abstract sendBreak(): void;

  /** sendEnd() of a text, not empty, which goes as UTF-8. */
  protected sendTextEnd(text: string): void {
    this.sendEnd(Buffer.from(text));
  }

  /** For the events of a listener; null when the exchange is not open or over. */
  protected get listener(): ExchangeListener | null {
    return this.#listener;
  }

  /** What the answer is that is given now; null: the handler's. */
  protected get refusal(): Refusal | null {
    return this.#refusal;
  }

  #close(): void {
    this.#state = 'over';
    this.#listener = null;
  }

  #tellOver(): void {
    const call = this.#onOver;
    this.#onOver = null;
    call?.();
  }
}

/** Answers an exchange: a handler as connections and models see it. Never throws. */
export type Servlet = (exchange: Exchange) => void;
