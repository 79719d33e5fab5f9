// SPDX-License-Identifier: Apache-2.0
// When the next worker may be started, after some that were of no use.

const FIRST_MS = 1000;
const MAX_MS = 30_000;

export class StartFailures {
  /** The last one, as a sentence; null = the last start was a good one. */
  reason: string | null = null;
  #rounds = 0;
  #retryAtMs = -Infinity;

  /** Several that fail together are one failure. */
  add(nowMs: number, reason: string): void {
    this.reason = reason;
    if (nowMs < this.#retryAtMs) return;
    const delayMs = Math.min(MAX_MS, FIRST_MS * 2 ** Math.min(16, this.#rounds));
    this.#rounds++;
    this.#retryAtMs = nowMs + delayMs;
  }

  waitMs(nowMs: number): number {
    return Math.max(0, this.#retryAtMs - nowMs);
  }

  /** A worker was ready: others may be started. */
  pause(): void {
    this.reason = null;
    this.#retryAtMs = -Infinity;
  }

  /** A worker has served. */
  forget(): void {
    this.pause();
    this.#rounds = 0;
  }
}
