// SPDX-License-Identifier: Apache-2.0
// How many instances a class should have: the interface every policy implements. Pure functions of
// (what is known of the class, now) → wanted instances; no clock, no I/O.

/** What a policy knows of one class. Times in ms. */
export interface ClassFacts {
  /** Instances always kept, and the most allowed. */
  min: number;
  max: number;
  /** Requests one instance takes at once. */
  concurrency: number;
  /** Instances that take requests, and those that will. */
  ready: number;
  starting: number;
  /** Requests at instances now, and waiting in the web servers. */
  inFlight: number;
  waiting: number;
  /** How long the class has had no ready instance while something waits for it; 0 = it is not so. */
  coldForMs: number;
  /** Since the last request came or ended. */
  idleForMs: number;
  idleStopMs: number;
  /** Pace of further starts of a cold class. */
  startDelayMs: number;
}

/** What a policy remembers between two decisions on a class. Opaque to others. */
export interface PolicyMemory {
  readonly peak: number;
  readonly peakAtMs: number;
}

export interface Decision {
  /** Instances the class should have, min ≤ wanted ≤ max. */
  wanted: number;
  memory: PolicyMemory;
}

export interface Policy {
  readonly name: string;
  readonly initial: PolicyMemory;
  decide(facts: ClassFacts, memory: PolicyMemory, nowMs: number): Decision;
}
