// SPDX-License-Identifier: Apache-2.0
// Memory that all threads of a program have in common, by name.
import { isMainThread, workerData } from 'node:worker_threads';
import type { ThreadData } from './models/thread-worker.ts';

const asked = new Map<string, SharedArrayBuffer>();
let isRefused = false;

function givenByMaster(): ThreadData['shared'] | null {
  if (isMainThread) return null;
  const data = workerData as { usherRuntimeWorker?: ThreadData } | null;
  return data?.usherRuntimeWorker?.shared ?? null;
}

/**
 * The same buffer in the master and all threads of a thread pool; zeros at first. Programs ask before
 * serve(), at the top of the file that each thread runs.
 * @throws Error in models with worker processes, for another length than before, and in a thread for what its master
 *   has not asked for
 */
export function sharedMemory(name: string, bytes: number): SharedArrayBuffer {
  if (isRefused) throw noSharing(name);
  if (!Number.isSafeInteger(bytes) || bytes < 1) {
    throw new RangeError(`shared memory "${name}": ${bytes} bytes; allowed are 1 and more`);
  }
  const given = givenByMaster();
  const buffer = (given ?? asked).get(name);
  if (buffer === undefined && given !== null) {
    throw new Error(
      `shared memory "${name}": the main thread has not asked for it before serve(); it knows ${
        [...given.keys()].map((key) => `"${key}"`).join(', ') || 'none'
      }`,
    );
  }
  if (buffer === undefined) {
    const made = new SharedArrayBuffer(bytes);
    asked.set(name, made);
    return made;
  }
  if (buffer.byteLength !== bytes) {
    throw new RangeError(
      `shared memory "${name}" has ${buffer.byteLength} bytes; ${bytes} were asked for`,
    );
  }
  return buffer;
}

/** What threads that start now get. */
export function sharedBuffers(): ReadonlyMap<string, SharedArrayBuffer> {
  return asked;
}

/** From now on. @throws Error when the program has asked for some */
export function refuseSharedMemory(): void {
  isRefused = true;
  for (const name of asked.keys()) throw noSharing(name);
}

function noSharing(name: string): Error {
  return new Error(
    `shared memory "${name}": the workers of this model are processes, which share no memory; ` +
      'model "thread-pool" has threads, which do',
  );
}
