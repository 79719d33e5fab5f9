// SPDX-License-Identifier: Apache-2.0
// A class that nothing is known of, and a policy driven step by step.
import type { ClassFacts, Policy } from '../policy.ts';

export const idle: ClassFacts = {
  min: 0,
  max: 10,
  concurrency: 1,
  ready: 0,
  starting: 0,
  inFlight: 0,
  waiting: 0,
  arrivals: 0,
  completed: 0,
  servingMs: 0,
  startMs: 0,
  classic: {
    updateIntervalMs: 300_000,
    killIntervalMs: 300_000,
    gain: 0.5,
    singleThreshold: 0,
    multiThreshold: 50,
    processSlack: 5,
  },
  pool: null,
  coldForMs: 0,
  idleForMs: 0,
  idleStopMs: 300_000,
  startDelayMs: 3_000,
};

/** Remembers for the policy. */
export function driven<Memory>(policy: Policy<Memory>, common: Partial<ClassFacts> = {}) {
  let memory = policy.initial(0, 0);
  return (facts: Partial<ClassFacts>, nowMs: number): number => {
    const decision = policy.decide({ ...idle, ...common, ...facts }, memory, nowMs);
    memory = decision.memory;
    return decision.wanted;
  };
}
