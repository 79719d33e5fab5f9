// SPDX-License-Identifier: Apache-2.0
// How many requests have waited for at least some time, from nothing but how many came and how many
// wait: when more wait than came since a moment, the rest were there before it.
import type { ClassFacts } from './policy.ts';

/** How many requests had come at a moment; oldest first. */
export type ArrivalMarks = readonly { readonly atMs: number; readonly arrivals: number }[];

/** Marks for each span: the answer is late by at most an eighth of it. */
const MARKS = 8;

/** @param spanMs The waiting time that will be asked for. */
export function markArrivals(
  marks: ArrivalMarks,
  facts: ClassFacts,
  nowMs: number,
  spanMs: number,
): ArrivalMarks {
  if (facts.waiting === 0) return marks.length === 0 ? marks : [];
  const last = marks.at(-1);
  if (last && nowMs - last.atMs < spanMs / MARKS) return marks;
  const firstNeeded = marks.findLastIndex((mark) => nowMs - mark.atMs >= spanMs);
  const kept = firstNeeded > 0 ? marks.slice(firstNeeded) : marks;
  return [...kept, { atMs: nowMs, arrivals: facts.arrivals }];
}

/** Requests that have certainly waited for `spanMs` or longer. */
export function waitingFor(
  marks: ArrivalMarks,
  facts: ClassFacts,
  nowMs: number,
  spanMs: number,
): number {
  const mark = marks.findLast((one) => nowMs - one.atMs >= spanMs);
  if (!mark) return 0;
  return Math.max(0, facts.waiting - Math.max(0, facts.arrivals - mark.arrivals));
}
