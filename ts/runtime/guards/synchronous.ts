// SPDX-License-Identifier: Apache-2.0
// The seed's alarm, for handlers in this process: what a handler does before it first waits is ended by an
// exception; a loop that comes later can only be ended with the process, by a thread that looks on.
import { Script } from 'node:vm';
import { Worker } from 'node:worker_threads';

const key = Symbol.for('usher.runtime.alarmed');
const script = `globalThis[Symbol.for('usher.runtime.alarmed')]()`;
let compiled: Script | null = null;

/** Thrown in the middle of what took too long. */
export class AlarmError extends Error {
  constructor(ms: number) {
    super(`it computed for more than ${ms} ms without a pause`);
    this.name = 'AlarmError';
  }
}

/** Runs it now. @throws AlarmError after `ms`; what it throws itself */
export function withAlarm(ms: number, call: () => void): void {
  compiled ??= new Script(script, { filename: 'usher-runtime-alarm' });
  const scope = globalThis as { [key]?: () => void };
  const before = scope[key];
  scope[key] = call;
  try {
    compiled.runInThisContext({ timeout: Math.max(1, Math.ceil(ms)), breakOnSigint: false });
  } catch (error) {
    const { code } = (error ?? {}) as { code?: string };
    throw code === 'ERR_SCRIPT_EXECUTION_TIMEOUT' ? new AlarmError(ms) : error;
  } finally {
    if (before === undefined) delete scope[key];
    else scope[key] = before;
  }
}

/** Beats of the event loop of this thread, in ms. */
const BEAT_MS = 100;

/** Runs in the thread: when the loop did not turn for so long, the process is ended. */
const watcher = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const { beat, silenceMs } = workerData;
let last = Atomics.load(beat, 0);
let since = process.hrtime.bigint();
setInterval(() => {
  const now = process.hrtime.bigint();
  const seen = Atomics.load(beat, 0);
  if (seen !== last) {
    last = seen;
    since = now;
  } else if (Number(now - since) / 1e6 > silenceMs) {
    writeSync(2, 'usher/runtime: nothing else has run for ' + silenceMs +
      ' ms beyond all patience (deadlineMs): a handler computes without a pause; the process ends\\n');
    process.kill(process.pid, 'SIGKILL');
  }
}, ${BEAT_MS});
`;

/**
 * Ends this process when its event loop does not turn for `silenceMs`.
 * @returns how to end the watch
 */
export function watchEventLoop(silenceMs: number): () => Promise<void> {
  const beat = new Int32Array(new SharedArrayBuffer(4));
  const timer = setInterval(() => Atomics.add(beat, 0, 1), BEAT_MS);
  timer.unref();
  const worker = new Worker(watcher, { eval: true, workerData: { beat, silenceMs }, execArgv: [] });
  worker.unref();
  return async () => {
    clearInterval(timer);
    await worker.terminate();
  };
}
