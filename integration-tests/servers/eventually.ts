// SPDX-License-Identifier: Apache-2.0
// Waiting for what another process will do: a generous deadline, and what was seen last.

import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';

/** What a test allows for something that takes well under a second on an idle machine. */
export const patienceMs = 60_000;

/**
 * Calls `look` until it gives something true-like, and gives that back. Throws with `what` and the
 * last answer or error when `withinMs` have passed.
 */
export async function eventually<T>(
  what: string,
  look: () => T | Promise<T>,
  withinMs = patienceMs,
): Promise<Exclude<T, false | null | undefined>> {
  const deadline = performance.now() + withinMs;
  let seen: unknown;
  for (let pauseMs = 10; ; pauseMs = Math.min(pauseMs * 1.5, 250)) {
    try {
      const value = await look();
      if (value) return value as Exclude<T, false | null | undefined>;
      seen = value;
    } catch (error) {
      seen = error;
    }
    if (performance.now() > deadline) break;
    await sleep(pauseMs);
  }
  const last = seen instanceof Error ? seen.message : inspect(seen);
  throw new Error(`not within ${withinMs} ms: ${what}; last seen: ${last}`, {
    cause: seen instanceof Error ? seen : undefined,
  });
}

/** Gives back what the promise gives; throws with `what` when it takes longer than `withinMs`. */
export async function within<T>(
  what: string,
  promise: Promise<T>,
  withinMs = patienceMs,
): Promise<T> {
  const stop = new AbortController();
  const late = sleep(withinMs, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`not within ${withinMs} ms: ${what}`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    stop.abort();
    late.catch(() => {});
  }
}
