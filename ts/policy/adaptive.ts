// SPDX-License-Identifier: Apache-2.0
// The default policy: as many instances as keep the predicted wait short, more at once when a line
// forms that they would not clear in time, fewer slowly. docs/policies.md has the formulas.
import { demandOf, existingOf, withinBounds } from './bounds.ts';
import { ordinaryLine, placesFor } from './erlang.ts';
import { beginEstimate, estimate, type Load, type LoadEstimate, loadOf } from './load-estimate.ts';
import type { ClassFacts, Decision, Policy } from './policy.ts';
import { addToPeak, beginPeak, peakOf, type RecentPeak } from './recent-peak.ts';

export interface AdaptiveSettings {
  /** The mean wait to stay below, of short requests; and of long ones as a share of their time. */
  targetMs: number;
  targetShare: number;
  /** How long an instance stays after it was last needed: at least so long, and so many times what
   * a start takes. */
  holdMs: number;
  holdStarts: number;
  /** How many times as long where instances were given up too early; a power of two. */
  holdFactorMax: number;
  /** A line that is longer for no more than this part of the time is no surprise. */
  surprise: number;
  /** A line that clears within this part of a start's time is not worth a start. */
  patienceStarts: number;
}

interface Memory {
  readonly load: LoadEstimate | null;
  readonly peak: RecentPeak;
  /** Instances the class keeps while they exist: follows need up at once, down in steps. */
  readonly level: number;
  readonly steppedAtMs: number;
  readonly flaps: Flaps;
}

/** Instances given up and missed soon after make the next ones stay longer. */
interface Flaps {
  /** How many times as long, a power of two. */
  readonly factor: number;
  readonly changedAtMs: number;
  readonly shrunkAtMs: number;
}

export const defaults: AdaptiveSettings = {
  targetMs: 10,
  targetShare: 0.1,
  holdMs: 10_000,
  holdStarts: 100,
  holdFactorMax: 8,
  surprise: 0.001,
  patienceStarts: 0.5,
};

/** Starting at once: as many as are ready (a class may double), or this many. */
const STARTING_AT_ONCE = 32;
const STEP_MS = 1_000;
/** A step gives up one instance, or this part of those too many. */
const STEP_PART = 8;
/** Flaps are forgotten after so many times of holding. */
const FORGIVEN_HOLDS = 8;
/** The longest holding where -idle-stop sets no limit. */
const HOLD_MAX_MS = 300_000;

export const adaptive = adaptiveWith(defaults);

export function adaptiveWith(settings: AdaptiveSettings): Policy<Memory> {
  return {
    name: 'adaptive',
    initial: (instances, nowMs) => ({
      load: null,
      peak: beginPeak(instances, nowMs),
      level: instances,
      steppedAtMs: nowMs,
      flaps: { factor: 1, changedAtMs: nowMs, shrunkAtMs: Number.NEGATIVE_INFINITY },
    }),
    decide: (facts, memory, nowMs) => decide(settings, facts, memory, nowMs),
  };
}

function decide(
  settings: AdaptiveSettings,
  facts: ClassFacts,
  memory: Memory,
  nowMs: number,
): Decision<Memory> {
  const load = memory.load ? estimate(memory.load, facts, nowMs) : beginEstimate(facts, nowMs);
  const known = { ...memory, load };
  const demand = demandOf(facts);
  if (demand === 0 && facts.idleStopMs > 0 && facts.idleForMs >= facts.idleStopMs) {
    return { wanted: withinBounds(0, facts), memory: settle(known, 0, nowMs) };
  }
  if (facts.ready === 0 && demand > 0) {
    const wanted = withinBounds(whileCold(facts, demand), facts);
    return { wanted, memory: settle(known, wanted, nowMs) };
  }
  const existing = existingOf(facts);
  const line = lineNeeds(settings, facts, loadOf(load));
  const need = Math.max(line, rateNeeds(settings, facts, loadOf(load)), Math.min(existing, 1));
  const next = follow(settings, known, facts, need, nowMs);
  // What requests need now is never given up.
  const kept = Math.min(existing, Math.max(demand, next.level));
  return { wanted: withinBounds(Math.max(kept, atOnce(facts, need)), facts), memory: next };
}

/** One instance at first, another after each -startDelay: the first may just be slow to boot, or it
 * may hang. */
function whileCold(facts: ClassFacts, demand: number): number {
  const paced = 1 + Math.floor(facts.coldForMs / facts.startDelayMs);
  return Math.min(demand, Math.max(paced, facts.starting));
}

/** Instances with which the requests that are there would not wait longer than they should, those
 * left out that are served before a new instance could help. */
function lineNeeds(settings: AdaptiveSettings, facts: ClassFacts, load: Load): number {
  const { inFlight, waiting, concurrency, startMs } = facts;
  const { serviceMs, arrivalRate } = load;
  const requests = inFlight + waiting;
  if (waiting === 0) return 0;
  if (serviceMs === null) return Math.ceil(requests / concurrency);
  const places = existingOf(facts) * concurrency;
  // What rateNeeds has accepted.
  if (waiting <= ordinaryLine(arrivalRate * serviceMs, places, settings.surprise)) return 0;
  const change = startMs * (arrivalRate - places / serviceMs);
  const left = Math.min(requests, Math.max(0, requests + change));
  const patienceMs = Math.max(targetOf(settings, serviceMs), startMs * settings.patienceStarts);
  return Math.ceil(left / (1 + patienceMs / serviceMs) / concurrency);
}

/** Instances with which requests that come as they do now wait no longer than they should. */
function rateNeeds(settings: AdaptiveSettings, facts: ClassFacts, load: Load): number {
  const { serviceMs, arrivalRate } = load;
  if (serviceMs === null || serviceMs === 0 || arrivalRate === 0) return 0;
  const limit = facts.max * facts.concurrency;
  const target = targetOf(settings, serviceMs);
  const places = placesFor(arrivalRate * serviceMs, serviceMs, target, limit);
  return Math.ceil(places / facts.concurrency);
}

function targetOf(settings: AdaptiveSettings, serviceMs: number): number {
  return Math.max(settings.targetMs, serviceMs * settings.targetShare);
}

/** The spawn-rate limit. */
function atOnce(facts: ClassFacts, need: number): number {
  const mayStart = Math.max(STARTING_AT_ONCE, facts.ready) - facts.starting;
  return Math.min(need, existingOf(facts) + Math.max(0, mayStart));
}

/** A cold or an idle class: nothing to hold on to. */
function settle(memory: Memory, level: number, nowMs: number): Memory {
  return { ...memory, level, peak: beginPeak(level, nowMs), steppedAtMs: nowMs };
}

/** Up at once; down when nothing needed more for the time of holding, and then step by step. */
function follow(
  settings: AdaptiveSettings,
  memory: Memory,
  facts: ClassFacts,
  need: number,
  nowMs: number,
): Memory {
  const flaps = punish(memory.flaps, settings, facts, need, nowMs);
  const peak = addToPeak(memory.peak, need, nowMs, holdOf(settings, facts, flaps));
  const next = { ...memory, flaps, peak };
  if (need >= memory.level) return { ...next, level: need, steppedAtMs: nowMs };
  const surplus = memory.level - peakOf(peak);
  if (surplus <= 0 || nowMs - memory.steppedAtMs < STEP_MS) return next;
  const level = memory.level - Math.max(1, Math.floor(surplus / STEP_PART));
  const shrinks = level < existingOf(facts);
  const noted = shrinks ? { ...flaps, shrunkAtMs: nowMs } : flaps;
  return { ...next, level, steppedAtMs: nowMs, flaps: noted };
}

function holdOf(settings: AdaptiveSettings, facts: ClassFacts, flaps: Flaps): number {
  const base = Math.max(settings.holdMs, settings.holdStarts * facts.startMs);
  return Math.min(facts.idleStopMs || HOLD_MAX_MS, base * flaps.factor);
}

/** Growing again so soon that holding twice as long would have saved it is a flap; a long time
 * without one is forgiven. */
function punish(
  flaps: Flaps,
  settings: AdaptiveSettings,
  facts: ClassFacts,
  need: number,
  nowMs: number,
): Flaps {
  const holdMs = holdOf(settings, facts, flaps);
  if (need > existingOf(facts) && nowMs - flaps.shrunkAtMs < holdMs) {
    const factor = Math.min(settings.holdFactorMax, flaps.factor * 2);
    return { factor, changedAtMs: nowMs, shrunkAtMs: Number.NEGATIVE_INFINITY };
  }
  if (flaps.factor > 1 && nowMs - flaps.changedAtMs > FORGIVEN_HOLDS * holdMs) {
    return { ...flaps, factor: flaps.factor / 2, changedAtMs: nowMs };
  }
  return flaps;
}
