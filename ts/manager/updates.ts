// SPDX-License-Identifier: Apache-2.0
// Where a class stands with its newest revision: is a new program there, may new instances be tried,
// who waits to hear how it went.
import { backOffMs } from '../policy/restart.ts';
import type { Revision } from './revision.ts';

/** What somebody waits for: that no old instance is left, that any instance is ready, or as many as an
 * administrator wants. */
export type Awaited = 'updated' | 'ready' | 'scaled';

interface Waiter {
  what: Awaited;
  resolve(): void;
  reject(error: Error): void;
}

/** An update or a retry that did not work; the message says why. */
export class UpdateError extends Error {
  override name = 'UpdateError';
}

export class Updates {
  #isRunning = false;
  #failures = 0;
  #notBeforeMs = 0;
  #seenProgram = '';
  #waiters: Waiter[] = [];

  /** Is the program's file another than the revision's? Only when two looks agree: it may be half
   * written. A file that is missing for a moment changes nothing, nor does one that is seen for the
   * first time. */
  hasChanged(program: string, revision: Revision): boolean {
    const isStable = program === this.#seenProgram;
    this.#seenProgram = program;
    return program !== '' && revision.program !== '' && program !== revision.program && isStable;
  }

  /** Resolves at reached(what), rejects with an UpdateError at fail(). */
  wait(what: Awaited): Promise<void> {
    return new Promise((resolve, reject) => this.#waiters.push({ what, resolve, reject }));
  }

  /** Somebody waits for an instance: as good as a request. */
  get awaitsReady(): boolean {
    return this.#waiters.some(({ what }) => what === 'ready');
  }

  begin(): void {
    this.#isRunning = true;
  }

  /** May a new instance be tried, after those that failed? */
  mayStart(nowMs: number): boolean {
    return nowMs >= this.#notBeforeMs;
  }

  /** A new instance became ready, or everything is to be tried at once. */
  succeeded(): void {
    this.#failures = 0;
    this.#notBeforeMs = 0;
  }

  /** A new instance could not start. @returns How long the next one waits, ms. */
  failed(nowMs: number): number {
    this.#failures += 1;
    const delayMs = backOffMs(this.#failures);
    this.#notBeforeMs = nowMs + delayMs;
    return delayMs;
  }

  reached(what: Awaited): void {
    const waiters = this.#waiters;
    this.#waiters = waiters.filter((one) => one.what !== what);
    for (const one of waiters) if (one.what === what) one.resolve();
  }

  /** No old instance is left. @returns Whether an update was running. */
  done(): boolean {
    const wasRunning = this.#isRunning;
    this.#isRunning = false;
    this.reached('updated');
    return wasRunning;
  }

  fail(text: string): void {
    for (const { reject } of this.#waiters.splice(0)) reject(new UpdateError(text));
  }
}
