// SPDX-License-Identifier: Apache-2.0
// How long something took, by buckets: for times that the manager measures itself.

/** Seconds, rising; what is longer than the last one is in a bucket of its own. */
const BOUNDS_S = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30];

export class TimeHistogram {
  readonly boundsS: readonly number[] = BOUNDS_S;
  readonly counts: number[] = new Array(BOUNDS_S.length + 1).fill(0);
  sumS = 0;

  observe(ms: number): void {
    const s = ms / 1000;
    const at = BOUNDS_S.findIndex((bound) => s <= bound);
    const bucket = at < 0 ? BOUNDS_S.length : at;
    this.counts[bucket] = (this.counts[bucket] ?? 0) + 1;
    this.sumS += s;
  }
}
