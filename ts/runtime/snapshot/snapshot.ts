// SPDX-License-Identifier: Apache-2.0
// A program and its start-up snapshot (`usher snapshot`): what serve() and the models need of it.
//
// A snapshot is made of a program that has run up to serve(): serve() gives atStart() what it would do, and
// that is done in each process that starts from the snapshot.
import { realpathSync } from 'node:fs';
import { startupSnapshot } from 'node:v8';
import { readRecord, snapshotPaths, whyNotThisNode, whyStale } from './record.ts';

/** Where the bundle's prelude takes what shall run at a start. */
export const startHook = Symbol.for('usher.snapshot.atStart');

/** Sockets, timers, workers, signal handlers cannot be in a snapshot: nothing may be begun now. */
export function isBuildingSnapshot(): boolean {
  return startupSnapshot.isBuildingSnapshot();
}

/** While a snapshot is made: `main` runs in each process that starts from it, with that process's
 * arguments, environment and standard streams. Else at once. */
export function atStart(main: () => void): void {
  if (!isBuildingSnapshot()) {
    main();
    return;
  }
  const hook = (globalThis as Record<symbol, unknown>)[startHook];
  if (typeof hook === 'function') hook(main);
  else startupSnapshot.setDeserializeMainFunction(main);
}

const told = new Set<string>();

/**
 * What stands before the program's path when Node is to start it from its snapshot, beside the options that
 * this process was started with (withoutSnapshot(process.execArgv)). Null: without one, for there is none, or
 * it cannot be used; then the reason is told on stderr, once. Looks at all files of the program each time.
 */
export function snapshotArguments(program: string): string[] | null {
  try {
    const path = realpathSync(program);
    const paths = snapshotPaths(path);
    const record = readRecord(paths.record);
    if (record === null) return null;
    const reason =
      record.program === path
        ? (whyNotThisNode(record) ?? whyStale([record.blob, ...record.files]))
        : `is of ${record.program}`;
    if (reason === null) return ['--snapshot-blob', paths.blob];
    tell(`${paths.blob} is not used: ${reason}`);
  } catch (error) {
    tell(`no snapshot is used: ${(error as Error).message}`);
  }
  return null;
}

/** Options of Node as process.execArgv has them, for a process of the same program. */
export function withoutSnapshot(execArgv: readonly string[]): string[] {
  const rest: string[] = [];
  for (let at = 0; at < execArgv.length; at++) {
    const option = execArgv[at] ?? '';
    if (option === '--snapshot-blob') at++;
    else if (!option.startsWith('--snapshot-blob=')) rest.push(option);
  }
  return rest;
}

function tell(line: string): void {
  if (told.has(line)) return;
  told.add(line);
  process.stderr.write(`usher: ${line}\n`);
}
