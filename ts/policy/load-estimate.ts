// SPDX-License-Identifier: Apache-2.0
// How many requests come and how long one takes, from totals that are looked at now and then. What is
// long ago counts less and less.
import { type BusyTime, begin, follow } from './busy-time.ts';
import type { ClassFacts } from './policy.ts';

export interface LoadEstimate {
  readonly busy: BusyTime;
  readonly arrivals: number;
  readonly recent: Arrivals;
  readonly latest: Arrivals;
  /** Of a longer time: requests that ended, the time spent on requests. */
  readonly ended: number;
  readonly busyMs: number;
}

/** Requests that came in some time; both fade together. */
export interface Arrivals {
  readonly came: number;
  readonly spanMs: number;
}

export interface Load {
  /** Requests a ms; and of the last few seconds only, which noise makes higher or lower. */
  arrivalRate: number;
  latestRate: number;
  /** Of one request; null while none has ended. */
  serviceMs: number | null;
}

/** How fast the past fades: service times change with the program, arrivals with the hour. */
const RECENT_FADE_MS = 20_000;
const LATEST_FADE_MS = 4_000;
const SERVICE_FADE_MS = 300_000;
/** An arrival rate from less time than this would make a crowd of two requests. */
const SPAN_MIN_MS = 1_000;

export function beginEstimate(facts: ClassFacts, nowMs: number): LoadEstimate {
  return {
    busy: begin(facts, nowMs),
    arrivals: facts.arrivals,
    recent: { came: 0, spanMs: 0 },
    latest: { came: 0, spanMs: 0 },
    ended: 0,
    busyMs: 0,
  };
}

export function estimate(before: LoadEstimate, facts: ClassFacts, nowMs: number): LoadEstimate {
  const passedMs = Math.max(0, nowMs - before.busy.atMs);
  const work = follow(before.busy, facts, nowMs);
  const keepsService = Math.exp(-passedMs / SERVICE_FADE_MS);
  const came = Math.max(0, facts.arrivals - before.arrivals);
  return {
    busy: work.now,
    arrivals: facts.arrivals,
    recent: addArrivals(before.recent, came, passedMs, RECENT_FADE_MS),
    latest: addArrivals(before.latest, came, passedMs, LATEST_FADE_MS),
    ended: before.ended * keepsService + work.completed,
    busyMs: before.busyMs * keepsService + work.busyMs,
  };
}

/** Of few requests the service time is taken for longer than it was: their number says how much
 * it may vary. */
export function loadOf(known: LoadEstimate): Load {
  const rates = { arrivalRate: rateOf(known.recent), latestRate: rateOf(known.latest) };
  if (known.ended < 0.5) return { ...rates, serviceMs: null };
  const doubt = 1 + 1 / Math.sqrt(Math.max(1, known.ended));
  return { ...rates, serviceMs: (known.busyMs / known.ended) * doubt };
}

function addArrivals(before: Arrivals, came: number, passedMs: number, fadeMs: number): Arrivals {
  const keeps = Math.exp(-passedMs / fadeMs);
  return { came: before.came * keeps + came, spanMs: before.spanMs * keeps + passedMs };
}

function rateOf({ came, spanMs }: Arrivals): number {
  return came / Math.max(spanMs, SPAN_MIN_MS);
}
