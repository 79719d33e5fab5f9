// SPDX-License-Identifier: Apache-2.0
// After a server has ended, nothing of ours may be left a minute later: no process, no socket, no file.
// (One that has just read its configuration is waited for for 10 s: its first worker may still come.)
// Looked at in the background while other tests go on; nothingLeft() gives the verdicts.

import { existsSync, rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { commandLine, isRunning, processesOf, signal, socketsIn, startTime } from './processes.ts';

const allowedMs = 60_000;

export interface Ended {
  title: string;
  /** No process may have to do with these any more. */
  dirs: string[];
  /** Must be gone, when the manager was this server's only. */
  runtimeDir: string | undefined;
  /** Processes seen before the end. */
  pids: number[];
  /** The test's directory, removed afterwards unless it is kept. */
  dir: string;
  isKept: () => boolean;
}

export interface Verdict {
  title: string;
  left: string[];
  tookMs: number;
}

const verdicts: Promise<Verdict>[] = [];

function listLeft({ dirs, runtimeDir }: Ended, seen: Map<number, string>): string[] {
  const tied = dirs.flatMap(processesOf);
  const running = [...seen].filter(([pid, time]) => isRunning(pid) && startTime(pid) === time);
  const sockets = runtimeDir === undefined ? [] : [...socketsIn(runtimeDir).values()];
  return [
    ...tied.map(({ pid, command, tie }) => `process ${pid} ${command} (${tie})`),
    ...running
      .filter(([pid]) => !tied.some((process) => process.pid === pid))
      .map(([pid]) => `process ${pid} ${commandLine(pid)}`),
    ...sockets.map((path) => `socket ${path}`),
    ...(runtimeDir !== undefined && existsSync(runtimeDir) ? [`directory ${runtimeDir}`] : []),
  ];
}

async function judge(ended: Ended): Promise<Verdict> {
  const seen = new Map(ended.pids.map((pid) => [pid, startTime(pid)]));
  const endedMs = performance.now();
  let left = listLeft(ended, seen);
  while (left.length > 0 && performance.now() < endedMs + allowedMs) {
    await sleep(300);
    left = listLeft(ended, seen);
  }
  const tookMs = performance.now() - endedMs;
  for (const { pid } of ended.dirs.flatMap(processesOf)) signal(pid, 'SIGKILL');
  if (left.length === 0 && !ended.isKept()) rmSync(ended.dir, { recursive: true, force: true });
  return { title: ended.title, left, tookMs };
}

/** Begins to look after what a server leaves; the verdict comes from nothingLeft(). */
export function watchEnding(ended: Ended): void {
  verdicts.push(judge(ended));
}

/** What each server that has run and ended has left behind; empty lists where all is well. */
export function verdictsOnEndings(): Promise<Verdict[]> {
  return Promise.all(verdicts);
}

/** The last test of every file: one assertion for each server that has run. */
export async function nothingLeft(t: Test): Promise<void> {
  for (const { title, left, tookMs } of await verdictsOnEndings()) {
    t.same(left, [], `nothing is left a minute after the end of ${title}`);
    t.comment(`${title}: ${(tookMs / 1000).toFixed(1)} s`);
  }
}
