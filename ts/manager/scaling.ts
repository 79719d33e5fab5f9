// SPDX-License-Identifier: Apache-2.0
// How many instances a class wants: its policy, and what that must be told and remember.
import type { Load } from '../native/native.ts';
import { policies } from '../policy/policies.ts';
import type { Policy, PolicyName, PoolFacts } from '../policy/policy.ts';
import type { ClassConfig } from './class-config.ts';

/** Of so many starts the shortest tells how long the program needs; others waited for a processor. */
const START_TIMES = 5;

/** What the class knows of itself now. */
export interface ScalingFacts {
  /** Instances that take requests, and those that will. */
  ready: number;
  starting: number;
  load: Load;
  /** Somebody wants an instance who does not wait in a server. */
  isAskedFor: boolean;
  idleForMs: number;
  pool: PoolFacts | null;
}

export class Scaling {
  #policy: Policy;
  #memory: unknown;
  #wanted = 0;
  #coldSinceMs: number | null = null;
  /** What the last starts took until they were ready, newest first. */
  #startTimes: number[] = [];

  constructor(name: PolicyName, nowMs: number) {
    this.#policy = policies[name];
    this.#memory = this.#policy.initial(0, nowMs);
  }

  /** By the last decision. */
  get wanted(): number {
    return this.#wanted;
  }

  /** Another policy, or instances that a former manager left: each was needed when it was started, and
   * goes as slowly as if nothing had happened. */
  beginWith(name: PolicyName, instances: number, nowMs: number): void {
    this.#policy = policies[name];
    this.#memory = this.#policy.initial(instances, nowMs);
  }

  noteStart(ms: number): void {
    this.#startTimes = [ms, ...this.#startTimes].slice(0, START_TIMES);
  }

  decide(config: ClassConfig, facts: ScalingFacts, nowMs: number): void {
    const { ready, starting, load, isAskedFor, idleForMs, pool } = facts;
    if (ready > 0 || load.waiting + load.inFlight === 0) this.#coldSinceMs = null;
    else this.#coldSinceMs ??= nowMs;
    const { min, max, concurrency, classic, idleStopMs, startDelayMs } = config;
    const decision = this.#policy.decide(
      {
        ...{ min, max, concurrency, classic, idleStopMs, startDelayMs },
        ...{ ready, starting, idleForMs, pool },
        inFlight: load.inFlight,
        waiting: Math.max(load.waiting, isAskedFor ? 1 : 0),
        arrivals: load.arrivals,
        completed: load.finished + load.failed,
        servingMs: load.servingUs / 1000,
        startMs: this.#startTimes.length > 0 ? Math.min(...this.#startTimes) : 0,
        coldForMs: this.#coldSinceMs === null ? 0 : nowMs - this.#coldSinceMs,
      },
      this.#memory,
      nowMs,
    );
    this.#memory = decision.memory;
    this.#wanted = decision.wanted;
  }
}
