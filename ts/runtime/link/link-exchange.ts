// SPDX-License-Identifier: Apache-2.0
// The worker's end of a request: what handlers answer is sent to the master.
import { ProtocolError } from '../../protocols/protocol-error.ts';
import { Exchange, type FieldList, type RequestHead } from '../exchange.ts';
import type { AnswerHead } from './head-texts.ts';
import type { MasterMessage, WorkerLink } from './messages.ts';
import { Grants, SendWindow } from './send-window.ts';

const NAME = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const FORBIDDEN = /[^\t\x20-\x7e\x80-\xff]/;

/** The master's connection refuses such as well, but there it is too late for an exception. */
function checkHead(status: number, reason: string, fields: FieldList): void {
  if (!Number.isInteger(status) || status < 200 || status > 999) {
    throw new ProtocolError(`status ${status}; allowed are 200 to 999`, 500);
  }
  if (FORBIDDEN.test(reason)) throw new ProtocolError('a reason with a control character', 500);
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1];
    if (!NAME.test(name)) throw new ProtocolError(`"${name}" is not the name of a field`, 500);
    if (typeof value !== 'string' || FORBIDDEN.test(value)) {
      throw new ProtocolError(`field ${name}: a value with a character that is not allowed`, 500);
    }
  }
}

export class LinkExchange extends Exchange {
  readonly #id: number;
  readonly #link: WorkerLink;
  /** Nothing more is sent or expected. */
  readonly #onDone: () => void;
  #isDone = false;

  #body: Buffer[] = [];
  #isBodyWhole: boolean;
  #isEndTold = false;
  #isFlowing = false;
  #isDelivering = false;
  readonly #grants: Grants;

  /** Given, and not sent yet: it goes with what comes next. */
  #heldHead: AnswerHead | null = null;
  readonly #window: SendWindow;
  #isDrainOwed = false;
  #isEnding = false;

  constructor(head: RequestHead, id: number, link: WorkerLink, onDone: () => void) {
    super(head);
    this.#id = id;
    this.#link = link;
    this.#onDone = onDone;
    this.#isBodyWhole = head.bodyBytes === 0;
    this.#window = new SendWindow((bytes) => link.send({ type: 'body', id, bytes }));
    this.#grants = new Grants((bytes) => link.send({ type: 'grant', id, bytes }));
  }

  /** What the master says of this exchange. */
  take(message: MasterMessage): void {
    switch (message.type) {
      case 'body':
        this.#body.push(message.bytes);
        this.#deliver();
        return;
      case 'body-end':
        this.#isBodyWhole = true;
        this.#deliver();
        return;
      case 'grant':
        this.#onGrant(message.bytes);
        return;
      case 'abort':
        this.cutOff(new Error(message.reason));
        return;
      default:
        throw new Error(`a message "${message.type}" is none of an exchange`);
    }
  }

  /** Nobody wants the answer. What the handler's onAbort throws is thrown, when all is tidy. */
  cutOff(reason: Error): void {
    if (this.#isDone) return;
    this.#window.clear();
    try {
      this.abort(reason);
    } finally {
      this.#link.send({ type: 'over', id: this.#id });
      this.#done();
    }
  }

  override pauseBody(): void {
    this.#isFlowing = false;
  }

  override resumeBody(): void {
    if (this.#isFlowing) return;
    this.#isFlowing = true;
    if (this.#body.length > 0 || this.#isBodyWhole) process.nextTick(() => this.#deliver());
  }

  override report(line: string): void {
    this.#link.send({ type: 'report', id: this.#id, line });
  }

  protected override sendHead(status: number, reason: string, fields: FieldList): void {
    checkHead(status, reason, fields);
    this.#heldHead = { status, reason, fields };
  }

  protected override sendBody(bytes: Buffer): boolean {
    this.#sendHeld();
    this.#window.push(bytes);
    this.#isDrainOwed ||= this.#window.isFull;
    return !this.#window.isFull;
  }

  protected override sendNow(): void {
    this.#sendHeld();
    this.#link.send({ type: 'flush', id: this.#id });
  }

  protected override sendEnd(last: Buffer | null): void {
    if (this.#window.isEmpty && (last === null || last.length <= this.#window.room)) {
      const id = this.#id;
      const head = this.#heldHead;
      this.#link.send(
        head === null ? { type: 'end', id, last } : { type: 'answer', id, ...head, last },
      );
      this.#done();
      return;
    }
    this.#sendHeld();
    this.#isEnding = true;
    if (last !== null) this.#window.push(last);
    this.#endWhenSent();
  }

  protected override sendBreak(): void {
    this.#window.clear();
    this.#link.send({ type: 'break', id: this.#id });
    this.#done();
  }

  #sendHeld(): void {
    const head = this.#heldHead;
    if (head === null) return;
    this.#heldHead = null;
    this.#link.send({ type: 'head', id: this.#id, ...head });
  }

  #onGrant(bytes: number): void {
    this.#window.grant(bytes);
    if (this.#isEnding) {
      this.#endWhenSent();
    } else if (this.#isDrainOwed && !this.#window.isFull) {
      this.#isDrainOwed = false;
      this.listener?.onDrain();
    }
  }

  #endWhenSent(): void {
    if (!this.#window.isEmpty) return;
    this.#link.send({ type: 'end', id: this.#id, last: null });
    this.#done();
  }

  #done(): void {
    this.#isDone = true;
    this.#body = [];
    this.#onDone();
  }

  #deliver(): void {
    if (this.#isDelivering) return; // a listener that pauses and resumes inside of onBody
    this.#isDelivering = true;
    try {
      for (;;) {
        const { listener } = this;
        if (listener === null || !this.#isFlowing) return;
        const bytes = this.#body.shift();
        if (bytes === undefined) break;
        this.#grants.add(bytes.length);
        listener.onBody(bytes);
      }
      if (!this.#isBodyWhole || this.#isEndTold) return;
      this.#isEndTold = true;
      this.listener?.onBodyEnd();
    } finally {
      this.#isDelivering = false;
    }
  }
}
