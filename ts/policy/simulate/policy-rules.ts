// SPDX-License-Identifier: Apache-2.0
// Usher's policies in the simulation: the facts that the manager gives them, and what it makes of
// their answer.
import type { ClassFacts, ClassicSettings, Policy } from '../policy.ts';
import { type Action, type ClassView, isIdle, type Rules } from './rules.ts';

/** -killInterval … with their defaults, and mod_fastcgi's -minProcesses and -maxProcesses. */
export const classicSettings: ClassicSettings = {
  updateIntervalMs: 300_000,
  killIntervalMs: 300_000,
  gain: 0.5,
  singleThreshold: 0,
  multiThreshold: 50,
  processSlack: 5,
};
export const classicPool = { min: 5, max: 50 };

export interface PolicyRulesOptions {
  classic?: ClassicSettings;
  /** The simulated class is the only one of the pool; null = it counts for itself. */
  pool?: { min: number; max: number } | null;
  max?: number;
  idleStopMs?: number;
  startDelayMs?: number;
}

export function policyRules<Memory>(
  policy: Policy<Memory>,
  options: PolicyRulesOptions = {},
): Rules {
  const { classic = classicSettings, pool = null } = options;
  const { idleStopMs = 300_000, startDelayMs = 3_000 } = options;
  let memory: Memory | null = null;
  let coldSinceMs: number | null = null;
  let activeAtMs = 0;
  let moved = -1;

  function factsOf(view: ClassView, nowMs: number): ClassFacts {
    const { ready, inFlight, waiting, arrivals, completed } = view;
    const isBusy = waiting + inFlight > 0;
    if (ready > 0 || !isBusy) coldSinceMs = null;
    else coldSinceMs ??= nowMs;
    if (isBusy || moved !== arrivals + completed) activeAtMs = nowMs;
    moved = arrivals + completed;
    // Written out: it is made millions of times, and spreading is slow.
    return {
      ready,
      inFlight,
      waiting,
      arrivals,
      completed,
      classic,
      idleStopMs,
      startDelayMs,
      min: 0,
      max: options.max ?? view.max,
      concurrency: view.concurrency,
      starting: view.instances.length - ready,
      servingMs: view.servingMs,
      startMs: view.startMs,
      coldForMs: coldSinceMs === null ? 0 : nowMs - coldSinceMs,
      idleForMs: nowMs - activeAtMs,
      pool: pool && { min: pool.min, max: pool.max, instances: view.instances.length },
    };
  }

  return {
    name: policy.name,
    act(view: ClassView, nowMs: number): Action {
      const facts = factsOf(view, nowMs);
      memory ??= policy.initial(0, nowMs);
      const decision = policy.decide(facts, memory, nowMs);
      memory = decision.memory;
      const surplus = view.instances.length - decision.wanted;
      if (surplus <= 0) return { start: -surplus, stop: [] };
      return { start: 0, stop: view.instances.filter(isIdle).reverse().slice(0, surplus) };
    },
  };
}
