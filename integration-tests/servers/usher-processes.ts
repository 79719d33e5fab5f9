// SPDX-License-Identifier: Apache-2.0
// Which processes are Usher's own, of the Usher with this runtime directory.

import { eventually } from './eventually.ts';
import { commandLine, parentOf, processesWith } from './processes.ts';

export interface UsherProcesses {
  /** The one in charge: it has a manager. */
  launcher: number | undefined;
  manager: number | undefined;
  /** Children of the launcher that run its program too: one waits for the launcher's death. */
  standbys: number[];
  /** All of them, also those that are about to be one or the other. */
  all: number[];
}

export function usherProcesses(runtimeDir: string): UsherProcesses {
  const all = processesWith('--runtime-dir', runtimeDir);
  const programOf = (pid: number): string =>
    /usher-launcher|usherd/.exec(commandLine(pid))?.[0] ?? '';
  const launchers = all.filter((pid) => programOf(pid) === 'usher-launcher');
  const manager = all.find(
    (pid) => programOf(pid) !== 'usher-launcher' && launchers.includes(parentOf(pid)),
  );
  const launcher = manager === undefined ? undefined : parentOf(manager);
  const standbys = launchers.filter((pid) => parentOf(pid) === launcher);
  return { launcher, manager, standbys, all };
}

/** The process that waits for the launcher's death; others of one look are there for a moment only. */
export function standbyOf(runtimeDir: string, withinMs = 60_000): Promise<number> {
  let before: number[] = [];
  return eventually(
    'a standby waits for the death of the launcher',
    () => {
      const { standbys } = usherProcesses(runtimeDir);
      const lasting = standbys.find((pid) => before.includes(pid));
      before = standbys;
      return lasting;
    },
    withinMs,
  );
}
