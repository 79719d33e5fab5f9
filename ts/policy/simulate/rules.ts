// SPDX-License-Identifier: Apache-2.0
// What a rule for the number of instances sees of the simulated class, and what it may do.
import type { Request } from './scenario.ts';

export interface SimulatedInstance {
  readonly startedMs: number;
  isReady: boolean;
  /** Requests in it; while it is not ready, requests that wait in its socket. */
  inFlight: number;
  /** Since when it serves nothing; of use while inFlight is 0. */
  idleSinceMs: number;
}

export interface ClassView {
  /** Oldest first. */
  readonly instances: readonly SimulatedInstance[];
  /** Of the instances. */
  readonly ready: number;
  readonly waiting: number;
  /** Those that wait, first come first. */
  line(): readonly Request[];
  readonly concurrency: number;
  readonly max: number;
  readonly inFlight: number;
  readonly arrivals: number;
  readonly completed: number;
  readonly servingMs: number;
  /** Of the last instance that became ready; 0 = none has. */
  readonly startMs: number;
}

export interface Action {
  start: number;
  /** Idle ones only. */
  stop: readonly SimulatedInstance[];
}

export interface Rules {
  readonly name: string;
  /** Called at every pass: at least every 100 ms, and soon after a request had to wait or an instance
   * became ready. */
  act(view: ClassView, nowMs: number): Action;
}

export function isIdle(instance: SimulatedInstance): boolean {
  return instance.isReady && instance.inFlight === 0;
}
