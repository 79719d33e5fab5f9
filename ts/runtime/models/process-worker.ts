// SPDX-License-Identifier: Apache-2.0
// A worker process: the same program file again, with the link as its descriptor 3.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { piped } from '../../serving/accepted-socket.ts';
import { processMasterLink } from '../link/process-link.ts';
import { snapshotArguments, withoutSnapshot } from '../snapshot/snapshot.ts';
import { deadWorker, type WorkerHandle } from './worker-handle.ts';

export const WORKER_VARIABLE = 'USHER_RUNTIME_WORKER';
export const LINK_FD = 3;
/** Somebody else may have the link open: a process that a native addon has forked. */
const LINK_END_MS = 1000;

export interface Program {
  file: string;
  args: readonly string[];
  /** Of Node. */
  execArgv: readonly string[];
}

/** @throws Error for a program without a file */
export function thisProgram(): Program {
  const [, file, ...args] = process.argv;
  if (file === undefined) {
    throw new Error('workers run the same program file again: a program of `node -e` has none');
  }
  return { file, args, execArgv: process.execArgv };
}

/** Words of Node's command line: from the program's start-up snapshot, where there is one that fits. */
export function nodeWords({ file, args, execArgv }: Program, usesSnapshot: boolean): string[] {
  const snapshot = usesSnapshot ? snapshotArguments(file) : null;
  return [...withoutSnapshot(execArgv), ...(snapshot ?? []), file, ...args];
}

const SETPRIV = '/usr/bin/setpriv';
let endsWithMaster: boolean | null = null;

/**
 * What stands before Node's command line, so that the kernel kills the worker when its master dies: one that
 * computes for ever would not see that its link has ended. Nothing where util-linux has no such word.
 */
function untilMasterDies(): string[] {
  const words = ['--pdeathsig', 'KILL'];
  endsWithMaster ??= spawnSync(SETPRIV, [...words, '/bin/true'], { stdio: 'ignore' }).status === 0;
  return endsWithMaster ? [SETPRIV, ...words] : [];
}

/**
 * Standard input is nothing (the master's may be the socket that it listens to); output and errors go
 * where the master's go. Descriptors of the master's are not inherited: Node closes them on exec.
 */
export function startProcess(program: Program, usesSnapshot = false): WorkerHandle {
  let child: ChildProcess;
  try {
    const words = [...untilMasterDies(), process.execPath, ...nodeWords(program, usesSnapshot)];
    child = spawn(words[0] as string, words.slice(1), {
      env: { ...process.env, [WORKER_VARIABLE]: '1' },
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
    });
  } catch (error) {
    return deadWorker('process', `could not be started: ${(error as Error).message}`);
  }
  const { pid } = child;
  const pipe = child.stdio?.[LINK_FD] as Duplex | null | undefined;
  if (pid === undefined || !pipe) {
    pipe?.destroy();
    const failure = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(`could not be started: ${error.message}`));
    });
    return { ...deadWorker('process', ''), exited: failure };
  }
  const stream = piped(pipe);
  return {
    name: `process ${pid}`,
    link: processMasterLink(stream),
    exited: exitOf(child, stream),
    kill: () => child.kill('SIGKILL'),
  };
}

/** When all that it sent was read. */
async function exitOf(child: ChildProcess, stream: Duplex): Promise<string> {
  const closed = new Promise<void>((resolve) => stream.once('close', () => resolve()));
  const how = await new Promise<string>((resolve) => {
    child.on('error', () => undefined); // of kill(): it has ended
    child.once('exit', (status, signal) => resolve(inWords(status, signal)));
  });
  const timer = setTimeout(() => stream.destroy(), LINK_END_MS);
  await closed;
  clearTimeout(timer);
  return how;
}

function inWords(status: number | null, signal: NodeJS.Signals | null): string {
  return signal === null ? `ended with status ${status}` : `was killed by ${signal}`;
}
