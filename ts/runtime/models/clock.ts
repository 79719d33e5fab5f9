// SPDX-License-Identifier: Apache-2.0
// Time as models see it; tests have one of their own.

export interface Clock {
  /** ms, from any moment on; never back. */
  now(): number;
  /** @returns how to take it back; harmless after the call. */
  after(ms: number, call: () => void): () => void;
}

/** setTimeout has 31 bits. */
const TIMER_MS_MAX = 2 ** 31 - 1;

export const realClock: Clock = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, Math.min(ms, TIMER_MS_MAX));
    return () => clearTimeout(timer);
  },
};
