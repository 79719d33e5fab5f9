// SPDX-License-Identifier: Apache-2.0
// How long instances have worked on requests, those that still run included: a request of an hour
// counts during that hour, not at its end.
import type { ClassFacts } from './policy.ts';

export interface BusyTime {
  readonly atMs: number;
  readonly inFlight: number;
  readonly completed: number;
  readonly servingMs: number;
  /** Of the requests that run: how long they have been running, as far as it is certain. */
  readonly agesMs: number;
  /** The same for requests that sit in the socket of an instance that is not ready: waiting, which
   * servingMs will count as serving when they end. */
  readonly bootMs: number;
}

export interface Work {
  readonly now: BusyTime;
  /** Time spent on requests since the last look. */
  readonly busyMs: number;
  /** Requests that ended since. */
  readonly completed: number;
}

export function begin(facts: ClassFacts, nowMs: number): BusyTime {
  const { inFlight, completed, servingMs } = facts;
  return { atMs: nowMs, inFlight, completed, servingMs, agesMs: 0, bootMs: 0 };
}

/** At least `inFlight − completed since` of the requests that ran at the last look ran all the time
 * until now. For requests shorter than the time between two looks that is none, and what servingMs
 * says of them is exact anyway. */
export function follow(before: BusyTime, facts: ClassFacts, nowMs: number): Work {
  const completed = Math.max(0, facts.completed - before.completed);
  const servedMs = Math.max(0, facts.servingMs - before.servingMs);
  const stayed = Math.max(0, Math.min(before.inFlight - completed, facts.inFlight));
  const stayedMs = stayed * Math.max(0, nowMs - before.atMs);
  const isCold = facts.ready === 0;
  const bootSpentMs = Math.min(before.bootMs, servedMs);
  const agesSpentMs = Math.min(before.agesMs, servedMs - bootSpentMs);
  const isIdle = facts.inFlight === 0;
  const agesMs = isIdle ? 0 : before.agesMs - agesSpentMs + (isCold ? 0 : stayedMs);
  const bootMs = isIdle ? 0 : before.bootMs - bootSpentMs + (isCold ? stayedMs : 0);
  const busyMs = Math.max(0, servedMs - bootSpentMs + agesMs - before.agesMs);
  const now = { ...begin(facts, nowMs), agesMs, bootMs };
  return { now, busyMs, completed };
}
