// SPDX-License-Identifier: Apache-2.0
// A request's body between web server and backend. The backend says when it takes more: for a body of
// known length one part goes unasked, then one each time that it asks, and none otherwise, or AJP 1.3
// would take it for the next request.
import type { BodyMode } from '../../protocols/ajp13/types.ts';

/** What is held; beyond this the web server is not read. */
export const HELD_BYTES_MAX = 256 << 10;

/** How a body goes over the wire. */
export interface BodyCoding {
  /** Of one part. */
  readonly bytesMax: number;
  /** What goes before a part of so many bytes. */
  head(bytes: number): Buffer | null;
  /** What answers the backend that asks for more when there is none. */
  readonly end: readonly Buffer[];
}

export class RequestBody {
  readonly #coding: BodyCoding;
  readonly #pieces: Buffer[] = [];
  /** How many of them, the first ones, nobody else writes to. */
  #owned = 0;
  #heldBytes = 0;
  #received = 0;
  #sent = 0;
  /** -1: not known. */
  #length = -1;
  #isEnded = false;
  /** Of the part that is due; 0: none is. */
  #wanted = 0;

  constructor(coding: BodyCoding) {
    this.#coding = coding;
  }

  /** Before anything is sent. */
  begin(mode: BodyMode): void {
    this.#length = mode.kind === 'length' ? mode.bytes : mode.kind === 'none' ? 0 : -1;
  }

  /** The request's head goes out now. */
  announce(): void {
    this.#wanted = this.#length > 0 ? this.#coding.bytesMax : 0;
  }

  get isFull(): boolean {
    return this.#heldBytes > HELD_BYTES_MAX;
  }

  /** Received in all. */
  get bytes(): number {
    return this.#received;
  }

  /** The backend waits for a part of ours, and not we for its answer. */
  get isOwed(): boolean {
    return this.#wanted > 0;
  }

  /** What is wrong with what was received, compared with the length that was announced. */
  get fault(): string | null {
    if (this.#length < 0) return null;
    if (this.#received > this.#length) return `a body of more than ${this.#length} bytes`;
    if (this.#isEnded && this.#received < this.#length) {
      return `the body ended after ${this.#received} of ${this.#length} bytes`;
    }
    return null;
  }

  /** @param bytes Lent until own(). */
  add(bytes: Buffer): void {
    this.#pieces.push(bytes);
    this.#heldBytes += bytes.length;
    this.#received += bytes.length;
  }

  end(): void {
    this.#isEnded = true;
  }

  /** What was not taken is kept. */
  own(): void {
    const pieces = this.#pieces;
    for (let i = this.#owned; i < pieces.length; i++) pieces[i] = Buffer.from(pieces[i] as Buffer);
    this.#owned = pieces.length;
  }

  /** The backend takes more. false: the part asked for before is still due, which AJP 1.3 forbids. */
  ask(wanted: number): boolean {
    if (this.#wanted > 0) return false;
    this.#wanted = Math.min(wanted, this.#coding.bytesMax);
    return true;
  }

  /** The part that is due, when there is something for it: views, to be written before anything is added. */
  next(): readonly Buffer[] {
    if (this.#wanted === 0) return [];
    if (this.#heldBytes > 0) {
      const bytes = Math.min(this.#wanted, this.#heldBytes);
      this.#wanted = 0;
      this.#sent += bytes;
      const head = this.#coding.head(bytes);
      const part = head === null ? [] : [head];
      this.#take(bytes, part);
      return part;
    }
    if (!this.#isEnded && this.#sent !== this.#length) return [];
    this.#wanted = 0;
    return this.#coding.end;
  }

  #take(bytes: number, taken: Buffer[]): void {
    this.#heldBytes -= bytes;
    const pieces = this.#pieces;
    let left = bytes;
    let whole = 0;
    while (left > 0) {
      const piece = pieces[whole] as Buffer;
      if (piece.length > left) {
        taken.push(piece.subarray(0, left));
        pieces[whole] = piece.subarray(left);
        break;
      }
      taken.push(piece);
      left -= piece.length;
      whole++;
    }
    pieces.splice(0, whole);
    this.#owned = Math.max(0, this.#owned - whole);
  }
}
