// SPDX-License-Identifier: Apache-2.0
// A backend's answer on its way to the web server. What comes in one piece from the backend goes in one
// write; a piece in which something is wrong does not go at all.
import type { Field } from '../../protocols/ajp13/types.ts';
import type { Exchange } from '../connections.ts';
import type { AnswerEvents } from './connection.ts';
import { Failure } from './failure.ts';
import { oneLine } from './messages.ts';
import type { PathMapping } from './request-path.ts';
import { responseHead } from './response-head.ts';

export interface AnswerOwner {
  /** Something came. */
  onHeard(): void;
  /** false: it may not be asked for now. */
  onGetBody(wanted: number): boolean;
  onBackendError(text: string): void;
  /** The web server is slow: nothing more until it has room. */
  onFull(): void;
  /** All of it has come, and nothing of this last piece is written yet. */
  onEnding(status: number, reuse: boolean): void;
  /** All of it has been written, and the request has ended. */
  onWhole(status: number): void;
  /** The connection ended before any of it came. */
  onLost(failure: Failure): void;
  /** It cannot become whole. */
  onFault(failure: Failure): void;
}

export interface AnswerOptions {
  mapping: PathMapping;
  /** Fields of ours, each with its line end. */
  extra: string;
  /**
   * What there is to be said of it is known at its end, and has to come before it: web servers stop
   * reading when an answer is whole.
   */
  isSuspect(status: number): boolean;
}

const HELD_BYTES_MAX = 16 << 10;

export class Answer implements AnswerEvents {
  readonly #web: Exchange;
  readonly #owner: AnswerOwner;
  readonly #options: AnswerOptions;
  #status = 0;
  /** Not yet written. */
  #head = '';
  readonly #pieces: Buffer[] = [];
  #pieceBytes = 0;
  #hasBegun = false;
  #hasNoBody = false;
  /** Of a promised length; -1: none was promised. */
  #bodyLeft = -1;
  #hasEnded = false;
  #reuse = false;
  /** Found while a piece was decoded. */
  #fault: Failure | null = null;

  constructor(web: Exchange, owner: AnswerOwner, options: AnswerOptions) {
    this.#web = web;
    this.#owner = owner;
    this.#options = options;
  }

  /** A part of it was written: another answer is not possible. */
  get hasBegun(): boolean {
    return this.#hasBegun;
  }

  onHead(status: number, reason: string, fields: Field[]): void {
    this.#status = status;
    const { params } = this.#web.head;
    const { mapping, extra } = this.#options;
    const method = params.get('REQUEST_METHOD') ?? '';
    const authority = params.get('HTTP_HOST') ?? '';
    const head = responseHead(status, reason, fields, method, extra, mapping, authority);
    if (head instanceof Failure) {
      this.#fault = head;
      return;
    }
    this.#head = head.text;
    this.#bodyLeft = head.bodyBytes;
    this.#hasNoBody = head.hasNoBody;
  }

  onBody(bytes: Buffer): void {
    if (this.#hasNoBody || bytes.length === 0) return;
    if (this.#bodyLeft >= 0) {
      this.#bodyLeft -= bytes.length;
      if (this.#bodyLeft < 0) {
        this.#bodyLeft = 0;
        this.#fault ??= new Failure(502, 'its answer is longer than its Content-Length');
      }
    }
    this.#pieces.push(bytes);
    this.#pieceBytes += bytes.length;
  }

  onGetBody(wanted: number): void {
    if (this.#owner.onGetBody(wanted)) return;
    this.#fault ??= new Failure(502, 'it asked for a part of the body before it had got the last');
  }

  onBackendError(text: string): void {
    this.#owner.onBackendError(text);
  }

  onEnd(reuse: boolean): void {
    this.#hasEnded = true;
    this.#reuse = reuse;
    if (this.#bodyLeft > 0) {
      const missing = `${this.#bodyLeft} bytes of its Content-Length are missing`;
      this.#fault ??= new Failure(502, `its answer is cut off: ${missing}`);
    }
  }

  onPushed(): void {
    if (this.#fault !== null) {
      this.#owner.onFault(this.#fault);
      return;
    }
    this.#owner.onHeard();
    if (this.#hasEnded) this.#owner.onEnding(this.#status, this.#reuse);
    else if (this.#isHeld()) {
      this.#keep();
      return;
    }
    if (this.#hasEnded) {
      this.#write(true);
      this.#owner.onWhole(this.#status);
    } else if (!this.#write(false)) {
      this.#owner.onFull();
    }
  }

  onBroken(error: Error, isUnheard: boolean): void {
    const when = this.#hasBegun ? 'in the middle of its answer' : 'before its answer';
    const failure = new Failure(502, `${oneLine(error)}, ${when}`);
    if (isUnheard) this.#owner.onLost(failure);
    else this.#owner.onFault(failure);
  }

  #isHeld(): boolean {
    if (this.#hasBegun || this.#pieceBytes > HELD_BYTES_MAX) return false;
    return this.#options.isSuspect(this.#status);
  }

  /** The pieces are views of what is read over next. */
  #keep(): void {
    if (this.#pieces.length > 0) this.#pieces.splice(0, Infinity, Buffer.concat(this.#pieces));
  }

  /** false: the web server has no room for more. The pieces are views of what is read over next. */
  #write(isLast: boolean): boolean {
    const head = this.#head;
    const bytes = this.#pieceBytes;
    if (!isLast && head === '' && bytes === 0) return true;
    this.#hasBegun = true;
    const hasRoom = this.#web.gather(head, this.#pieces, bytes, isLast);
    this.#head = '';
    this.#pieces.length = 0;
    this.#pieceBytes = 0;
    return hasRoom;
  }
}
