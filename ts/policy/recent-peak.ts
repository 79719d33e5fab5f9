// SPDX-License-Identifier: Apache-2.0
// The highest of the numbers seen within some time, from a handful of slots.

export interface RecentPeak {
  /** When the newest slot began. */
  readonly sinceMs: number;
  /** The highest number of each slot, oldest first. */
  readonly slots: readonly number[];
}

const SLOTS = 8;

export function beginPeak(value: number, nowMs: number): RecentPeak {
  return { sinceMs: nowMs, slots: [value] };
}

/** @param windowMs How long a number counts; it may change, and then holds for what comes. */
export function addToPeak(
  peak: RecentPeak,
  value: number,
  nowMs: number,
  windowMs: number,
): RecentPeak {
  const passed = Math.floor((nowMs - peak.sinceMs) / (windowMs / SLOTS));
  const newest = peak.slots.at(-1) ?? 0;
  if (passed <= 0) {
    if (value <= newest) return peak;
    return { sinceMs: peak.sinceMs, slots: [...peak.slots.slice(0, -1), value] };
  }
  const empty = new Array<number>(Math.min(passed, SLOTS) - 1).fill(0);
  return { sinceMs: nowMs, slots: [...peak.slots, ...empty, value].slice(-SLOTS) };
}

export function peakOf(peak: RecentPeak): number {
  return Math.max(...peak.slots);
}
