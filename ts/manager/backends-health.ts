// SPDX-License-Identifier: Apache-2.0
// What is known of one backend, and when to look at it again. Decides from what it is told; no clock,
// no I/O. A backend that is up is looked at only when there is a reason; one that is down is looked at
// with growing pauses until it is back.
import type { Look } from './backends-probe.ts';

export const FIRST_PAUSE_MS = 200;
export const LONGEST_PAUSE_MS = 5_000;
/** A host that does not answer is down after this many looks: one slow answer is no failure. */
const TIMEOUTS_TO_BE_DOWN = 2;
/** Requests are there and none has ended for this long: is anybody there? */
export const STALL_MS = 1_000;
/** One that fails again sooner than this keeps the pause it had. */
const STEADY_MS = 10_000;

/** What the workers have counted at the endpoint. */
export interface Counts {
  unreached: number;
  served: number;
  inFlight: number;
}

export class Health {
  isUp = true;
  /** Of the last look that failed; null since one succeeded. */
  lastError: string | null = null;
  #dueMs: number;
  #lookedMs = Number.NEGATIVE_INFINITY;
  #isLooking = false;
  #pauseMs = FIRST_PAUSE_MS;
  #timeouts = 0;
  #upSinceMs = Number.NEGATIVE_INFINITY;
  #counts: Counts = { unreached: 0, served: 0, inFlight: 0 };
  /** When a request ended there, or there was none. */
  #movedMs: number;
  #stallMs = STALL_MS;

  constructor(nowMs: number) {
    this.#dueMs = nowMs; // taken for up, and looked at
    this.#movedMs = nowMs;
  }

  isDue(nowMs: number): boolean {
    return !this.#isLooking && nowMs >= this.#dueMs;
  }

  /** ms until the next look. */
  dueInMs(nowMs: number): number {
    return this.#isLooking ? 0 : Math.max(0, this.#dueMs - nowMs);
  }

  /** There is a reason to look soon, however long the pause; but not more often than is useful. */
  hurry(nowMs: number): void {
    this.#dueMs = Math.min(this.#dueMs, Math.max(nowMs, this.#lookedMs + FIRST_PAUSE_MS));
  }

  observe(counts: Counts, nowMs: number): void {
    const before = this.#counts;
    this.#counts = counts;
    if (counts.unreached !== before.unreached) this.hurry(nowMs);
    if (counts.inFlight === 0 || counts.served !== before.served) {
      this.#movedMs = nowMs;
      this.#stallMs = STALL_MS;
    } else if (this.isUp && nowMs - this.#movedMs >= this.#stallMs) {
      this.hurry(nowMs);
      this.#stallMs *= 2; // a long request is no reason to look for ever
    }
  }

  begin(nowMs: number): void {
    this.#isLooking = true;
    this.#lookedMs = nowMs;
    this.#dueMs = Number.POSITIVE_INFINITY;
  }

  /** What became of the look that began last. True when the backend is up or down since now. */
  end(look: Look, nowMs: number): boolean {
    this.#isLooking = false;
    if (look.outcome === 'up') return this.#isThere(nowMs);
    this.lastError = look.error;
    this.#timeouts = look.outcome === 'timeout' ? this.#timeouts + 1 : 0;
    const isDown =
      look.outcome === 'down' ||
      (look.outcome === 'timeout' && this.#timeouts >= TIMEOUTS_TO_BE_DOWN);
    if (this.isUp && !isDown) {
      this.#dueMs = nowMs + (look.outcome === 'unknown' ? LONGEST_PAUSE_MS : 0);
      return false;
    }
    return this.#isAway(nowMs);
  }

  #isThere(nowMs: number): boolean {
    this.lastError = null;
    this.#timeouts = 0;
    if (this.isUp) return false;
    this.isUp = true;
    this.#upSinceMs = nowMs;
    this.#movedMs = nowMs;
    return true;
  }

  #isAway(nowMs: number): boolean {
    if (this.isUp && nowMs - this.#upSinceMs >= STEADY_MS) this.#pauseMs = FIRST_PAUSE_MS;
    this.#dueMs = nowMs + this.#pauseMs;
    this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    const changed = this.isUp;
    this.isUp = false;
    return changed;
  }
}
