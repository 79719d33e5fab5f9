// SPDX-License-Identifier: Apache-2.0
// How many instances a class should have: the interface every policy implements. Pure functions of
// (what is known of the class, now) → wanted instances; no clock, no I/O.

export type PolicyName = 'adaptive' | 'classic';

/** What a policy knows of one class. Times in ms. */
export interface ClassFacts {
  /** Instances always kept, and the most allowed. */
  min: number;
  max: number;
  /** Requests one instance takes at once. */
  concurrency: number;
  /** Instances that take requests, and those that will; also one that died and is started again
   * after a delay. */
  ready: number;
  starting: number;
  /** Requests at instances now, and waiting in the web servers. */
  inFlight: number;
  waiting: number;
  /** Totals that only grow: requests that came, that ended at an instance, and the time these spent
   * there. */
  arrivals: number;
  completed: number;
  servingMs: number;
  /** From start to ready, the shortest of the last few; 0 = none has become ready. */
  startMs: number;
  /** How long the class has had no ready instance while something waits for it; 0 = it is not so. */
  coldForMs: number;
  /** Since the last request came or ended. */
  idleForMs: number;
  /** 0 = idleness alone ends nothing. */
  idleStopMs: number;
  /** Pace of further starts of a cold class. */
  startDelayMs: number;
  classic: ClassicSettings;
  /** All dynamic classes together; null for a class that counts for itself. */
  pool: PoolFacts | null;
}

/** -updateInterval … -processSlack: the options of the classic policy. */
export interface ClassicSettings {
  updateIntervalMs: number;
  killIntervalMs: number;
  /** 0 … 1. */
  gain: number;
  /** Percent. */
  singleThreshold: number;
  multiThreshold: number;
  processSlack: number;
}

export interface PoolFacts {
  /** Instances that take requests or will, of all dynamic classes. */
  instances: number;
  min: number;
  max: number;
}

export interface Decision<Memory> {
  /** Instances the class should have, min ≤ wanted ≤ max. */
  wanted: number;
  memory: Memory;
}

/** @typeParam Memory What the policy remembers between two decisions on a class. Opaque to others. */
export interface Policy<Memory = unknown> {
  readonly name: PolicyName;
  /** Of a class first seen with so many instances (those a former manager left). */
  initial(instances: number, nowMs: number): Memory;
  decide(facts: ClassFacts, memory: Memory, nowMs: number): Decision<Memory>;
}
