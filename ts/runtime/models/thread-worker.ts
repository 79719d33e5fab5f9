// SPDX-License-Identifier: Apache-2.0
// A worker thread: the same program file again, with the link as a port in its workerData.
import { createRequire } from 'node:module';
import { resolve } from 'node:path';
import {
  MessageChannel,
  type MessagePort,
  type TransferListItem,
  Worker,
} from 'node:worker_threads';
import { threadMasterLink } from '../link/thread-link.ts';
import type { Program } from './process-worker.ts';
import { tsxBootstrap } from './tsx-threads.ts';
import { deadWorker, type WorkerHandle } from './worker-handle.ts';

/** workerData.usherRuntimeWorker. */
export interface ThreadData {
  port: MessagePort;
  /** By name: shared-memory.ts. */
  shared: ReadonlyMap<string, SharedArrayBuffer>;
}

/** A thread is replaced at maxMemoryMb; it is ended, and not all of the process, at so many times that. */
const HARD_LIMIT = 2;

/** @param maxMemoryMb 0 = no limit */
export function startThread(
  { file, args, execArgv }: Program,
  maxMemoryMb: number,
  shared: ReadonlyMap<string, SharedArrayBuffer>,
): WorkerHandle {
  const { port1, port2 } = new MessageChannel();
  const data: ThreadData = { port: port2, shared };
  const path = resolvedFile(file);
  const bootstrap = tsxBootstrap(path, execArgv);
  let worker: Worker;
  try {
    worker = new Worker(bootstrap ?? path, {
      eval: bootstrap !== null,
      argv: [...args],
      execArgv: [...execArgv],
      workerData: { usherRuntimeWorker: data },
      transferList: [port2 as TransferListItem],
      ...(maxMemoryMb > 0 && {
        resourceLimits: { maxOldGenerationSizeMb: maxMemoryMb * HARD_LIMIT },
      }),
    });
  } catch (error) {
    port1.close();
    return deadWorker('thread', `could not be started: ${(error as Error).message}`);
  }
  const { threadId } = worker;
  return {
    name: `thread ${threadId}`,
    link: threadMasterLink(port1),
    exited: exitOf(worker, port1),
    kill: () => void worker.terminate(),
  };
}

/** `node program` runs program.js; a Worker needs its whole name. */
function resolvedFile(file: string): string {
  const path = resolve(file);
  try {
    return createRequire(path).resolve(path);
  } catch {
    return path; // its absence is told when it is started
  }
}

/** When all that it sent was read. */
async function exitOf(worker: Worker, port: MessagePort): Promise<string> {
  const closed = new Promise<void>((resolve) => port.once('close', () => resolve()));
  const how = await new Promise<string>((resolve) => {
    let failure: string | null = null;
    worker.on('error', (error: unknown) => {
      failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
    });
    worker.once('exit', (status) => {
      resolve(failure === null ? `ended with status ${status}` : `ended by an error: ${failure}`);
    });
  });
  await closed;
  return how;
}
