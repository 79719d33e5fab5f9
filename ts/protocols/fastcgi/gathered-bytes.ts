// SPDX-License-Identifier: Apache-2.0
// Pieces of a stream that are read as one: a view while they lie in one chunk, else a copy.

/** What is kept for the next request. */
const KEPT_BYTES = 65536;

export class GatheredBytes {
  #view: Buffer | null = null;
  #copy = Buffer.alloc(0);
  #copied = 0;

  get length(): number {
    return this.#view === null ? this.#copied : this.#view.length;
  }

  /** The first piece is a view until own(). */
  add(chunk: Buffer, start: number, end: number): void {
    if (start === end) return;
    if (this.#view === null && this.#copied === 0) {
      this.#view = chunk.subarray(start, end);
      return;
    }
    this.own();
    this.#append(chunk, start, end);
  }

  /** The chunk that the pieces lie in may change from now on. */
  own(): void {
    const view = this.#view;
    if (view === null) return;
    this.#view = null;
    this.#append(view, 0, view.length);
  }

  /** All bytes, and none are left; they are as they are until the next add(). */
  take(): Buffer {
    const bytes = this.#view ?? this.#copy.subarray(0, this.#copied);
    this.clear();
    return bytes;
  }

  clear(): void {
    this.#view = null;
    this.#copied = 0;
    if (this.#copy.length > KEPT_BYTES) this.#copy = Buffer.alloc(0);
  }

  #append(chunk: Buffer, start: number, end: number): void {
    const needed = this.#copied + end - start;
    if (needed > this.#copy.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed, 2 * this.#copy.length, 512));
      this.#copy.copy(larger, 0, 0, this.#copied);
      this.#copy = larger;
    }
    chunk.copy(this.#copy, this.#copied, start, end);
    this.#copied = needed;
  }
}
