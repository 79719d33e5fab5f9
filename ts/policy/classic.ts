// SPDX-License-Identifier: Apache-2.0
// mod_fastcgi's rule: one instance at the first request, one more when a request waits longer than
// -startDelay, one less at a time when the smoothed load of -updateInterval is below a threshold.
// The arithmetic is exact; docs/policies.md lists where it differs from version 2.4.7.1.
import { demandOf, existingOf, withinBounds } from './bounds.ts';
import { type BusyTime, begin, follow } from './busy-time.ts';
import type { ClassFacts, ClassicSettings, Decision, Policy } from './policy.ts';
import { type ArrivalMarks, markArrivals, waitingFor } from './waiters.ts';

interface Memory {
  readonly busy: BusyTime | null;
  /** The interval that is being added up: its begin, and the time spent on requests since. */
  readonly sinceMs: number;
  readonly busyMs: number;
  /** Instances' worth of load, smoothed over the intervals before; null = there were none. */
  readonly smoothed: number | null;
  readonly decidedAtMs: number;
  readonly askedAtMs: number;
  readonly marks: ArrivalMarks;
  /** One of so many instances is to go, as soon as one is idle; 0 = none. */
  readonly oneOf: number;
}

/** While the pool is nearly full decisions come this often; mod_fastcgi's clock counts seconds. */
const URGENT_MS = 1_000;

export const classic: Policy<Memory> = {
  name: 'classic',
  initial: (_instances, nowMs) => ({
    busy: null,
    sinceMs: nowMs,
    busyMs: 0,
    smoothed: null,
    decidedAtMs: nowMs,
    askedAtMs: Number.NEGATIVE_INFINITY,
    marks: [],
    oneOf: 0,
  }),
  decide(facts: ClassFacts, memory: Memory, nowMs: number): Decision<Memory> {
    const measured = judge(facts, measure(facts, memory, nowMs), nowMs);
    const existing = existingOf(facts);
    if (asksForMore(facts, measured, nowMs)) {
      const next = { ...measured, askedAtMs: nowMs, oneOf: 0 };
      return { wanted: withinBounds(existing + 1, facts), memory: next };
    }
    const isMarked = measured.oneOf > 0 && existing >= measured.oneOf && facts.waiting === 0;
    const wanted = Math.max(
      isMarked ? existing - 1 : existing,
      Math.min(existing, demandOf(facts)),
    );
    const next = isMarked || measured.oneOf === 0 ? measured : { ...measured, oneOf: 0 };
    return { wanted: withinBounds(wanted, facts), memory: next };
  },
};

/** Exponential smoothing over `intervals` (a fraction where one is cut short) that all had `load`:
 * result = (1 − gain) × old + gain × new, once for each. */
export function smooth(old: number, load: number, gain: number, intervals: number): number {
  const weight = 1 - (1 - Math.min(1, Math.max(0, gain))) ** intervals;
  return old + weight * (load - old);
}

/** Percent of their time that the instances left would be busy if one of `instances` went; of the
 * only one: that it is busy itself. @param load Instances' worth of work. */
export function score(load: number, instances: number): number {
  return (100 * load) / Math.max(1, instances - 1);
}

function measure(facts: ClassFacts, memory: Memory, nowMs: number): Memory {
  const marks = markArrivals(memory.marks, facts, nowMs, facts.startDelayMs);
  const work = memory.busy && follow(memory.busy, facts, nowMs);
  const measured = {
    ...memory,
    marks,
    busy: work?.now ?? begin(facts, nowMs),
    busyMs: memory.busyMs + (work?.busyMs ?? 0),
  };
  if (nowMs - memory.sinceMs < facts.classic.updateIntervalMs) return measured;
  const smoothed = loadOf(measured, facts.classic, nowMs);
  return { ...measured, smoothed, sinceMs: nowMs, busyMs: 0 };
}

/** The smoothed load until now, with the interval that has begun for the part that has passed. */
function loadOf(memory: Memory, settings: ClassicSettings, nowMs: number): number {
  const passedMs = nowMs - memory.sinceMs;
  if (passedMs <= 0) return memory.smoothed ?? 0;
  const load = memory.busyMs / passedMs;
  if (memory.smoothed === null) return load;
  return smooth(memory.smoothed, load, settings.gain, passedMs / settings.updateIntervalMs);
}

/** Every -killInterval, or now when the pool is nearly full: may one go? */
function judge(facts: ClassFacts, memory: Memory, nowMs: number): Memory {
  const sinceMs = nowMs - memory.decidedAtMs;
  const isDue = sinceMs >= facts.classic.killIntervalMs;
  if (!isDue && !(isNearlyFull(facts) && sinceMs >= URGENT_MS)) return memory;
  const { singleThreshold, multiThreshold } = facts.classic;
  const existing = existingOf(facts);
  const threshold = existing === 1 ? singleThreshold : multiThreshold;
  const isLow = score(loadOf(memory, facts.classic, nowMs), existing) < threshold;
  const mayGo = isLow && existing > 0 && facts.starting === 0 && facts.waiting === 0;
  return { ...memory, decidedAtMs: nowMs, oneOf: mayGo ? existing : 0 };
}

/** A class that counts for itself is its own pool; half its limit is slack enough for a small one. */
function isNearlyFull(facts: ClassFacts): boolean {
  const { pool, max } = facts;
  const { processSlack } = facts.classic;
  if (pool) return pool.instances + processSlack >= pool.max;
  return existingOf(facts) + Math.min(processSlack, Math.floor(max / 2)) >= max;
}

/** The first request of a cold class asks at once, one that has waited -startDelay for one more:
 * one at a time. */
function asksForMore(facts: ClassFacts, memory: Memory, nowMs: number): boolean {
  const { starting, startDelayMs } = facts;
  const existing = existingOf(facts);
  if (existing >= demandOf(facts)) return false;
  if (existing === 0) return true;
  if (starting > 0 && nowMs - memory.askedAtMs < startDelayMs) return false;
  if (facts.coldForMs >= startDelayMs) return true;
  return waitingFor(memory.marks, facts, nowMs, startDelayMs) > 0;
}
