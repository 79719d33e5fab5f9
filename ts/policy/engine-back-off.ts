// SPDX-License-Identifier: Apache-2.0
// How long a servlet engine that ended stays away: JServ's rule, which its users know. An engine takes
// seconds to start, and much of the machine: one that fails again and again is tried rarely.

/** Alive for longer: what failed before does not count any more. */
export const ENGINE_LIVED_MS = 120_000;

/** @param failures Ends in a row that nobody asked for, this one counted. */
export function engineBackOffMs(failures: number): number {
  if (failures < 5) return 1_000;
  return failures < 10 ? 60_000 : 300_000;
}
