// SPDX-License-Identifier: Apache-2.0
// Replacing instances without ever having fewer ready ones than are wanted: which step comes next.

export interface RolloutFacts {
  /** Instances the class should have. */
  wanted: number;
  /** Of today's revision. */
  ready: number;
  starting: number;
  /** To be replaced, and still taking requests. */
  oldReady: number;
  oldStarting: number;
}

export interface RolloutStep {
  /** New instances to start now. */
  start: number;
  /** Old instances to drain now. */
  drain: number;
}

/** So many new instances may start beside the old ones: one, or a quarter of a large class. */
export function surgeOf(wanted: number): number {
  return Math.max(1, Math.ceil(wanted / 4));
}

export function rolloutStep(facts: RolloutFacts): RolloutStep {
  const { wanted, ready, starting, oldReady, oldStarting } = facts;
  const fresh = ready + starting;
  const all = fresh + oldReady + oldStarting;
  const start = Math.max(0, Math.min(wanted - fresh, wanted + surgeOf(wanted) - all));
  // An old one goes when there are more ready ones than needed; one that only starts, as soon as a
  // ready one can take what would wait for it.
  const spare = Math.max(0, Math.min(oldReady, ready + oldReady - wanted));
  const pointless = ready + oldReady > 0 || wanted === 0 ? oldStarting : 0;
  return { start, drain: spare + pointless };
}
