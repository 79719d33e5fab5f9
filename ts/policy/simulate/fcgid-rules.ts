// SPDX-License-Identifier: Apache-2.0
// mod_fcgid 2.3.9's rules for the number of processes, with its documented defaults, given Usher's
// line: there a request that waits looks for a free process once a second only, here it takes the
// first that is free.
import { type Action, type ClassView, isIdle, type Rules } from './rules.ts';
import type { Request } from './scenario.ts';

export interface FcgidSettings {
  minProcessesPerClass: number;
  maxProcessesPerClass: number;
  idleTimeoutMs: number;
  idleScanIntervalMs: number;
  processLifeTimeMs: number;
  spawnScore: number;
  terminationScore: number;
  /** Taken off each second. */
  timeScore: number;
  spawnScoreUpLimit: number;
}

export const fcgidDefaults: FcgidSettings = {
  minProcessesPerClass: 3,
  maxProcessesPerClass: 100,
  idleTimeoutMs: 300_000,
  idleScanIntervalMs: 120_000,
  processLifeTimeMs: 3_600_000,
  spawnScore: 1,
  terminationScore: 2,
  timeScore: 1,
  spawnScoreUpLimit: 10,
};

/** A request that found no process tries again, and asks for a start, after this. */
const RETRY_MS = 1_000;

export function fcgidRules(settings: FcgidSettings = fcgidDefaults): Rules {
  let score = 0;
  let scoredMs = 0;
  let scannedMs = 0;
  let nextAsk = new Map<Request, number>();

  function addScore(by: number, nowMs: number): void {
    const fadedBy = (settings.timeScore * (nowMs - scoredMs)) / 1000;
    score = Math.max(0, score - fadedBy) + by;
    scoredMs = nowMs;
  }

  /** A request asks at once when no process of the class is busy, else after a second, and then
   * every second. */
  function countAsks(view: ClassView, nowMs: number): number {
    if (view.waiting === 0 && nextAsk.size === 0) return 0;
    let asks = 0;
    const next = new Map<Request, number>();
    const isBusy = view.inFlight > 0 || view.instances.length > 0;
    for (const request of view.line()) {
      const first = isBusy || asks > 0 ? request.atMs + RETRY_MS : nowMs;
      const dueMs = nextAsk.get(request) ?? first;
      if (dueMs <= nowMs) asks += 1;
      next.set(request, dueMs <= nowMs ? nowMs + RETRY_MS : dueMs);
    }
    nextAsk = next;
    return asks;
  }

  function admitted(asks: number, count: number, max: number, nowMs: number): number {
    let start = 0;
    for (; start < asks && count + start < max; start += 1) {
      addScore(0, nowMs);
      if (score >= settings.spawnScoreUpLimit) break;
      addScore(settings.spawnScore, nowMs);
    }
    return start;
  }

  function scan(view: ClassView, nowMs: number) {
    const expired = view.instances.filter(
      (one) =>
        isIdle(one) &&
        (nowMs - one.idleSinceMs > settings.idleTimeoutMs ||
          nowMs - one.startedMs > settings.processLifeTimeMs),
    );
    const spare = Math.max(0, view.instances.length - settings.minProcessesPerClass);
    const stop = expired.slice(0, spare);
    addScore(settings.terminationScore * stop.length, nowMs);
    return stop;
  }

  return {
    name: 'mod_fcgid',
    act(view: ClassView, nowMs: number): Action {
      const max = Math.min(settings.maxProcessesPerClass, view.max);
      const start = admitted(countAsks(view, nowMs), view.instances.length, max, nowMs);
      if (nowMs - scannedMs < settings.idleScanIntervalMs) return { start, stop: [] };
      scannedMs = nowMs;
      return { start, stop: scan(view, nowMs) };
    },
  };
}
