// SPDX-License-Identifier: Apache-2.0
// Which processes are Usher's own, of the Usher with this runtime directory.

import { eventually } from './eventually.ts';
import { commandLine, parentOf, processesWith } from './processes.ts';

export interface UsherProcesses {
  /** The one in charge: it has a manager. */
  launcher: number | undefined;
  manager: number | undefined;
  /** What waits for the launcher's death, to take its place. */
  standby: number | undefined;
  /** All of them, also those that are about to be one or the other. */
  all: number[];
}

export function usherProcesses(runtimeDir: string): UsherProcesses {
  const all = processesWith('--runtime-dir', runtimeDir);
  const programOf = (pid: number): string =>
    /^\S*?(usher-launcher|usher-standby) |^\S+ \S*\/(usherd) /
      .exec(commandLine(pid))
      ?.slice(1)
      .join('') ?? '';
  const of = (name: string): number[] => all.filter((pid) => programOf(pid) === name);
  const launchers = of('usher-launcher');
  const manager = of('usherd').find((pid) => launchers.includes(parentOf(pid)));
  const launcher = manager === undefined ? undefined : parentOf(manager);
  const standby = of('usher-standby').find((pid) => parentOf(pid) === launcher);
  return { launcher, manager, standby, all };
}

/** Waits until there is one. */
export function standbyOf(runtimeDir: string, withinMs = 60_000): Promise<number> {
  return eventually(
    'a standby waits for the death of the launcher',
    () => usherProcesses(runtimeDir).standby,
    withinMs,
  );
}
