// SPDX-License-Identifier: Apache-2.0
// The master's end of a request that a worker answers: passes on between its exchange and the link.
import { ProtocolError } from '../../protocols/protocol-error.ts';
import type { Exchange, ExchangeListener, Refusal } from '../exchange.ts';
import type { MasterLink, WorkerMessage } from './messages.ts';
import { Grants, SendWindow } from './send-window.ts';

export interface LinkRequestEvents {
  /** The worker is asked to let it go: it should answer soon. */
  onAbortSent(): void;
  /** The worker has no more to do with it. */
  onDone(): void;
}

export class LinkRequest implements ExchangeListener {
  readonly exchange: Exchange;
  readonly id: number;
  readonly #link: MasterLink;
  readonly #events: LinkRequestEvents;
  readonly #window: SendWindow;
  readonly #grants: Grants;
  #isBodyWhole = false;
  #isBodyEndSent = false;
  #isAborted = false;

  constructor(exchange: Exchange, id: number, link: MasterLink, events: LinkRequestEvents) {
    this.exchange = exchange;
    this.id = id;
    this.#link = link;
    this.#events = events;
    this.#window = new SendWindow((bytes) => link.send({ type: 'body', id, bytes }));
    this.#grants = new Grants((bytes) => link.send({ type: 'grant', id, bytes }));
  }

  start(): void {
    const { head } = this.exchange;
    this.#link.send({ type: 'request', id: this.id, head });
    this.exchange.open(this);
    // Nobody needs to be told of the end of no body.
    if (head.bodyBytes === 0) this.#isBodyEndSent = true;
    this.exchange.resumeBody();
  }

  /** What the worker says of it. @throws Error for what does not fit */
  take(message: WorkerMessage): void {
    switch (message.type) {
      case 'head':
        this.#begin(message.status, message.reason, message.fields);
        return;
      case 'answer':
        this.#finish(() => {
          this.#begin(message.status, message.reason, message.fields);
          this.exchange.end(message.last ?? undefined);
        });
        return;
      case 'body':
        if (!this.exchange.write(message.bytes)) this.#grants.hold();
        this.#grants.add(message.bytes.length);
        return;
      case 'flush':
        this.exchange.flush();
        return;
      case 'end':
        this.#finish(() => this.exchange.end(message.last ?? undefined));
        return;
      case 'break':
      case 'over':
        this.#finish(() => this.exchange.breakOff());
        return;
      case 'grant':
        this.#onGrant(message.bytes);
        return;
      case 'report':
        this.exchange.report(message.line);
        return;
      default:
        throw new Error(`a message "${message.type}" is none of an exchange`);
    }
  }

  /** The worker is gone. */
  lose(refusal: Refusal): void {
    this.#isAborted = true;
    this.#window.clear();
    this.exchange.refuse(refusal);
  }

  /** The exchange is over; the worker is told, unless that came from it. */
  onOver(): void {
    if (this.#isAborted) return;
    // onAbort follows in this turn, and knows why, unless the connection has broken it off.
    process.nextTick(() => this.onAbort(new Error('the answer is not wanted any more')));
  }

  onBody(bytes: Buffer): void {
    this.#window.push(bytes);
    if (this.#window.isFull) this.exchange.pauseBody();
  }

  onBodyEnd(): void {
    this.#isBodyWhole = true;
    this.#endBody();
  }

  onAbort(reason: Error): void {
    if (this.#isAborted) return;
    this.#isAborted = true;
    this.#window.clear();
    this.#link.send({ type: 'abort', id: this.id, reason: reason.message });
    this.#events.onAbortSent();
  }

  onDrain(): void {
    this.#grants.release();
  }

  #begin(status: number, reason: string, fields: readonly string[]): void {
    try {
      this.exchange.begin(status, reason, fields);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.exchange.giveUp({
        status: 500,
        reason: 'The program gave an answer that cannot be sent.',
        log: error.message,
      });
    }
  }

  #onGrant(bytes: number): void {
    if (this.#isAborted || this.exchange.state === 'over') return;
    this.#window.grant(bytes);
    if (!this.#window.isFull) this.exchange.resumeBody();
    this.#endBody();
  }

  #endBody(): void {
    if (!this.#isBodyWhole || this.#isBodyEndSent || !this.#window.isEmpty) return;
    this.#isBodyEndSent = true;
    this.#link.send({ type: 'body-end', id: this.id });
  }

  #finish(answer: () => void): void {
    this.#isAborted = true; // whatever comes: the worker needs not be told
    try {
      answer();
    } finally {
      this.#events.onDone();
    }
  }
}
