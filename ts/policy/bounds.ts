// SPDX-License-Identifier: Apache-2.0
// What no policy may step over, whatever it makes of the load.
import type { ClassFacts } from './policy.ts';

/** Instances that take requests, or will. */
export function existingOf(facts: ClassFacts): number {
  return facts.ready + facts.starting;
}

/** Instances that the requests at instances and those that wait would fill. */
export function demandOf(facts: ClassFacts): number {
  return Math.ceil((facts.inFlight + facts.waiting) / facts.concurrency);
}

/** `wanted` within the class's bounds, and not so low that all classes of the pool together fall
 * below theirs. Room in the pool is made by the manager: a wish above it is no fault. */
export function withinBounds(wanted: number, facts: ClassFacts): number {
  const { pool, min, max } = facts;
  const existing = existingOf(facts);
  const all = Math.max(existing, pool?.instances ?? 0);
  const floor = Math.max(min, existing - Math.max(0, all - (pool?.min ?? 0)));
  return Math.min(max, Math.max(floor, Math.floor(wanted)));
}
