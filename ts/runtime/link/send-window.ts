// SPDX-License-Identifier: Apache-2.0
// Flow control of one direction of one exchange: the sender's and the receiver's part.
import { WINDOW_BYTES } from './messages.ts';

/** Keeps back what the other side has no room for yet. */
export class SendWindow {
  readonly #send: (bytes: Buffer) => void;
  #room = WINDOW_BYTES;
  #kept: Buffer[] = [];

  constructor(send: (bytes: Buffer) => void) {
    this.#send = send;
  }

  get isEmpty(): boolean {
    return this.#kept.length === 0;
  }

  /** More would be kept back. */
  get isFull(): boolean {
    return this.#room === 0;
  }

  get room(): number {
    return this.#room;
  }

  push(bytes: Buffer): void {
    this.#kept.push(bytes);
    this.#sendMore();
  }

  grant(bytes: number): void {
    this.#room = Math.min(WINDOW_BYTES, this.#room + bytes);
    this.#sendMore();
  }

  clear(): void {
    this.#kept = [];
  }

  #sendMore(): void {
    while (this.#room > 0) {
      const bytes = this.#kept.shift();
      if (bytes === undefined) return;
      const piece = bytes.length > this.#room ? bytes.subarray(0, this.#room) : bytes;
      if (piece !== bytes) this.#kept.unshift(bytes.subarray(piece.length));
      this.#room -= piece.length;
      this.#send(piece);
    }
  }
}

/** Grants what was passed on, some at a time. */
export class Grants {
  readonly #grant: (bytes: number) => void;
  #pending = 0;
  #isHeld = false;

  constructor(grant: (bytes: number) => void) {
    this.#grant = grant;
  }

  add(bytes: number): void {
    this.#pending += bytes;
    if (!this.#isHeld && this.#pending >= WINDOW_BYTES / 4) this.#flush();
  }

  /** Where the bytes go is full: no more, until release(). */
  hold(): void {
    this.#isHeld = true;
  }

  release(): void {
    this.#isHeld = false;
    this.#flush();
  }

  #flush(): void {
    const bytes = this.#pending;
    this.#pending = 0;
    if (bytes > 0) this.#grant(bytes);
  }
}
