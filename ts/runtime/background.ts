// SPDX-License-Identifier: Apache-2.0
// Work beyond a request's answer, that the end of a worker waits for.
import { logLine } from './log-line.ts';

const tasks = new Set<Promise<void>>();
const cut = new AbortController();

/**
 * Starts it now. When the worker ends, it waits for the task as long as `stopMs` allows; then the signal is
 * aborted, and the task has a moment to leave. What it throws is logged.
 */
export function background(task: (signal: AbortSignal) => Promise<unknown>): void {
  const running = run(task).finally(() => tasks.delete(running));
  tasks.add(running);
}

async function run(task: (signal: AbortSignal) => Promise<unknown>): Promise<void> {
  try {
    await task(cut.signal);
  } catch (error) {
    if (cut.signal.aborted && error === cut.signal.reason) return;
    logLine(`a background task failed: ${error instanceof Error ? error.stack : String(error)}`);
  }
}

/** Resolves when there is none any more; after `stopMs` they are cut. */
export async function finishBackground(stopMs: number): Promise<void> {
  if (tasks.size === 0) return;
  const timer = setTimeout(() => cutBackground('the time for background tasks is over'), stopMs);
  while (tasks.size > 0) await Promise.all(tasks);
  clearTimeout(timer);
}

/** They have to end now. */
export function cutBackground(why: string): void {
  cut.abort(new DOMException(why, 'AbortError'));
}
