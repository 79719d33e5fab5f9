// SPDX-License-Identifier: Apache-2.0
// How long the manager may leave it at what rings or is counted. Waking up for a look at nothing costs
// half a millisecond of processor time, a look in C (native/channel/manager.c) a hundredth of it.

/** The launcher is told once a second that the manager lives; and who else lives is looked at. */
const LONGEST_MS = 900;

/** What may want to be looked at by a certain time. */
export interface Due {
  /** 0 = at the next pass; Infinity = not for the sake of time. */
  readonly dueMs: number;
}

export function restMs(all: Iterable<Due>, nowMs: number): number {
  let untilMs = nowMs + LONGEST_MS;
  for (const { dueMs } of all) {
    if (dueMs <= nowMs) return 0;
    if (dueMs < untilMs) untilMs = dueMs;
  }
  return Math.ceil(untilMs - nowMs);
}
