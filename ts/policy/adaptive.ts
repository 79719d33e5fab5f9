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
  /** A line that the load as it is known makes more often than this is no surprise. */
  surprisesAnHour: number;
  /** A line that clears within this part of a start's time is not worth a start. */
  patienceStarts: number;
}

interface Memory {
  readonly load: LoadEstimate | null;
  /** What the rate of requests needed, and what lines did. */
  readonly ratePeak: RecentPeak;
  readonly linePeak: RecentPeak;
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
  targetMs: 3,
  targetShare: 0.03,
  holdMs: 10_000,
  holdStarts: 100,
  holdFactorMax: 8,
  surprisesAnHour: 1,
  patienceStarts: 0.5,
};

/** Starting at once: as many as are ready (a class may double), or this many. */
const STARTING_AT_ONCE = 32;
const STEP_MS = 1_000;
const HOUR_MS = 3_600_000;
/** A step gives up one instance, or this part of those too many. */
const STEP_PART = 8;
/** A class that is ready for the first time looks for this part of a start's time how long requests
 * take; not at all where that is less than SEES_MIN_MS. */
const SEES_WITHIN_STARTS = 0.05;
const SEES_MIN_MS = 5;
/** Flaps are forgotten after so many times of holding. */
const FORGIVEN_HOLDS = 8;
/** What a line called for is held for this part of that. */
const LINE_HOLD = 0.1;
/** Holding is at most so many times -idle-stop; where that is 0, HOLD_MAX_MS. */
const HOLD_IDLE_STOPS = 3;
const HOLD_MAX_MS = 900_000;

export const adaptive = adaptiveWith(defaults);

export function adaptiveWith(settings: AdaptiveSettings): Policy<Memory> {
  return {
    name: 'adaptive',
    initial: (instances, nowMs) => ({
      load: null,
      ratePeak: beginPeak(instances, nowMs),
      linePeak: beginPeak(0, nowMs),
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
  const demand = demandOf(facts);
  // Most classes are cold most of the time, and asked about ten times a second.
  if (demand + existingOf(facts) === 0) return { wanted: withinBounds(0, facts), memory };
  const load = memory.load ? estimate(memory.load, facts, nowMs) : beginEstimate(facts, nowMs);
  const known = { ...memory, load };
  if (demand === 0 && facts.idleStopMs > 0 && facts.idleForMs >= facts.idleStopMs) {
    return { wanted: withinBounds(0, facts), memory: settle(known, 0, nowMs) };
  }
  if (facts.ready === 0 && demand > 0) {
    const wanted = withinBounds(whileCold(facts, demand), facts);
    return { wanted, memory: settle(known, wanted, nowMs) };
  }
  const existing = existingOf(facts);
  const line = lineNeeds(settings, facts, load);
  const rate = Math.max(rateNeeds(settings, facts, loadOf(load)), Math.min(existing, 1));
  const need = Math.max(line, rate);
  const next = follow(settings, known, facts, { line, rate }, nowMs);
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

/** Instances that a line calls for which is no matter of chance: enough for the requests that come,
 * and to clear in time what of the line a new instance would still find. */
function lineNeeds(settings: AdaptiveSettings, facts: ClassFacts, estimate: LoadEstimate): number {
  const { inFlight, waiting, concurrency, startMs } = facts;
  const { serviceMs, arrivalRate, latestRate } = loadOf(estimate);
  const requests = inFlight + waiting;
  if (waiting === 0) return 0;
  if (serviceMs === null) {
    return mayWaitAndSee(facts, estimate) ? 0 : Math.ceil(requests / concurrency);
  }
  if (serviceMs === 0) return 0; // no line lasts
  const places = existingOf(facts) * concurrency;
  const surpriseRate = settings.surprisesAnHour / HOUR_MS;
  if (waiting <= ordinaryLine(arrivalRate, serviceMs, places, surpriseRate)) return 0;
  const left = requests + startMs * (latestRate - places / serviceMs);
  if (left <= 0) return 0;
  const patienceMs = Math.max(targetOf(settings, serviceMs), startMs * settings.patienceStarts);
  const clearing = left / (1 + patienceMs / serviceMs);
  const needed = Math.min(latestRate * serviceMs + clearing, requests + latestRate * startMs);
  return Math.ceil(needed / concurrency);
}

/** Nothing has ended yet, but may be about to: where starts take long, that is worth knowing. */
function mayWaitAndSee(facts: ClassFacts, { busy }: LoadEstimate): boolean {
  const seenMs = facts.startMs * SEES_WITHIN_STARTS;
  return seenMs > SEES_MIN_MS && facts.inFlight > 0 && busy.agesMs < seenMs * facts.inFlight;
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
  const ratePeak = beginPeak(level, nowMs);
  return { ...memory, level, ratePeak, linePeak: beginPeak(0, nowMs), steppedAtMs: nowMs };
}

/** Up at once; down when nothing needed more for the time of holding, and then step by step. */
function follow(
  settings: AdaptiveSettings,
  memory: Memory,
  facts: ClassFacts,
  { line, rate }: { line: number; rate: number },
  nowMs: number,
): Memory {
  const need = Math.max(line, rate);
  const flaps = punish(memory.flaps, settings, facts, need, nowMs);
  const { rateMs, lineMs } = holdsOf(settings, facts, flaps);
  const ratePeak = addToPeak(memory.ratePeak, rate, nowMs, rateMs);
  const linePeak = addToPeak(memory.linePeak, line, nowMs, lineMs);
  const next = { ...memory, flaps, ratePeak, linePeak };
  if (need >= memory.level) return { ...next, level: need, steppedAtMs: nowMs };
  const surplus = memory.level - Math.max(peakOf(ratePeak), peakOf(linePeak));
  if (surplus <= 0 || nowMs - memory.steppedAtMs < STEP_MS) return next;
  const level = memory.level - Math.max(1, Math.floor(surplus / STEP_PART));
  const shrinks = level < existingOf(facts);
  const noted = shrinks ? { ...flaps, shrunkAtMs: nowMs } : flaps;
  return { ...next, level, steppedAtMs: nowMs, flaps: noted };
}

/** What a line called for goes sooner than what the rate of requests needs: it was for once. */
function holdsOf(settings: AdaptiveSettings, facts: ClassFacts, flaps: Flaps) {
  const { holdMs, holdStarts } = settings;
  const longest = facts.idleStopMs > 0 ? HOLD_IDLE_STOPS * facts.idleStopMs : HOLD_MAX_MS;
  const after = (starts: number) =>
    Math.min(longest, Math.max(holdMs, starts * facts.startMs)) * flaps.factor;
  return { rateMs: after(holdStarts), lineMs: after(holdStarts * LINE_HOLD) };
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
  const { rateMs: holdMs } = holdsOf(settings, facts, flaps);
  if (need > existingOf(facts) && nowMs - flaps.shrunkAtMs < holdMs) {
    const factor = Math.min(settings.holdFactorMax, flaps.factor * 2);
    return { factor, changedAtMs: nowMs, shrunkAtMs: Number.NEGATIVE_INFINITY };
  }
  if (flaps.factor > 1 && nowMs - flaps.changedAtMs > FORGIVEN_HOLDS * holdMs) {
    return { ...flaps, factor: flaps.factor / 2, changedAtMs: nowMs };
  }
  return flaps;
}
