// SPDX-License-Identifier: Apache-2.0
// How many requests come and how long one takes, from totals that are looked at now and then. What is
// long ago counts less and less.
import { type BusyTime, begin, follow } from './busy-time.ts';
import type { ClassFacts } from './policy.ts';

export interface LoadEstimate {
  readonly busy: BusyTime;
  readonly arrivals: number;
  /** Of the last `spanMs`, faded: requests that came. */
  readonly came: number;
  readonly spanMs: number;
  /** Of a longer time: requests that ended, the time spent on requests. */
  readonly ended: number;
  readonly busyMs: number;
}

export interface Load {
  /** Requests a ms. */
  arrivalRate: number;
  /** Of one request; null while none has ended. */
  serviceMs: number | null;
}

/** How fast the past fades: service times change with the program, arrivals with the hour. */
const ARRIVALS_FADE_MS = 20_000;
const SERVICE_FADE_MS = 300_000;
/** An arrival rate from less time than this would make a crowd of two requests. */
const SPAN_MIN_MS = 1_000;

export function beginEstimate(facts: ClassFacts, nowMs: number): LoadEstimate {
  return {
    busy: begin(facts, nowMs),
    arrivals: facts.arrivals,
    came: 0,
    spanMs: 0,
    ended: 0,
    busyMs: 0,
  };
}

export function estimate(before: LoadEstimate, facts: ClassFacts, nowMs: number): LoadEstimate {
  const passedMs = Math.max(0, nowMs - before.busy.atMs);
  const work = follow(before.busy, facts, nowMs);
  const keepsArrivals = Math.exp(-passedMs / ARRIVALS_FADE_MS);
  const keepsService = Math.exp(-passedMs / SERVICE_FADE_MS);
  return {
    busy: work.now,
    arrivals: facts.arrivals,
    came: before.came * keepsArrivals + Math.max(0, facts.arrivals - before.arrivals),
    spanMs: before.spanMs * keepsArrivals + passedMs,
    ended: before.ended * keepsService + work.completed,
    busyMs: before.busyMs * keepsService + work.busyMs,
  };
}

/** Of few requests the service time is taken for longer than it was: their number says how much
 * it may vary. */
export function loadOf(known: LoadEstimate): Load {
  const arrivalRate = known.came / Math.max(known.spanMs, SPAN_MIN_MS);
  if (known.ended < 0.5) return { arrivalRate, serviceMs: null };
  const doubt = 1 + 1 / Math.sqrt(Math.max(1, known.ended));
  return { arrivalRate, serviceMs: (known.busyMs / known.ended) * doubt };
}
