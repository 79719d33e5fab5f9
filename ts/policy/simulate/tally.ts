// SPDX-License-Identifier: Apache-2.0
// What a simulation is judged by.
import type { Request } from './scenario.ts';

export interface Result {
  requests: number;
  instancesMean: number;
  instancesMax: number;
  /** From coming to being served, ms. */
  waitMeanMs: number;
  wait95Ms: number;
  wait99Ms: number;
  refused: number;
  /** From start to end, booting included. */
  instanceSeconds: number;
  starts: number;
}

/** Counts from the end of the warm-up on. */
export class Tally {
  #fromMs: number;
  #toMs: number;
  #waits: number[] = [];
  #refused = 0;
  #starts = 0;
  #instances = 0;
  #most = 0;
  #changedMs = 0;
  #instanceMs = 0;

  constructor(fromMs: number, toMs: number) {
    this.#fromMs = fromMs;
    this.#toMs = toMs;
  }

  waited(request: Request, nowMs: number): void {
    if (request.atMs >= this.#fromMs) this.#waits.push(nowMs - request.atMs);
  }

  refused(request: Request): void {
    if (request.atMs >= this.#fromMs) this.#refused += 1;
  }

  started(nowMs: number): void {
    this.#change(nowMs, 1);
    if (nowMs >= this.#fromMs) this.#starts += 1;
  }

  ended(nowMs: number): void {
    this.#change(nowMs, -1);
  }

  result(): Result {
    this.#change(this.#toMs, 0);
    const waits = Float64Array.from(this.#waits).sort();
    const sum = waits.reduce((total, wait) => total + wait, 0);
    return {
      requests: waits.length + this.#refused,
      instancesMean: this.#instanceMs / (this.#toMs - this.#fromMs),
      instancesMax: this.#most,
      waitMeanMs: waits.length === 0 ? 0 : sum / waits.length,
      wait95Ms: quantile(waits, 0.95),
      wait99Ms: quantile(waits, 0.99),
      refused: this.#refused,
      instanceSeconds: this.#instanceMs / 1000,
      starts: this.#starts,
    };
  }

  #change(nowMs: number, by: number): void {
    const countedMs = Math.max(0, nowMs - Math.max(this.#changedMs, this.#fromMs));
    this.#instanceMs += this.#instances * countedMs;
    if (countedMs > 0) this.#most = Math.max(this.#most, this.#instances);
    this.#instances += by;
    this.#changedMs = nowMs;
  }
}

/** The smallest of the sorted values that `part` of them do not exceed. */
function quantile(sorted: Float64Array, part: number): number {
  return sorted[Math.max(0, Math.ceil(sorted.length * part) - 1)] ?? 0;
}
