// SPDX-License-Identifier: Apache-2.0
// What follows when an instance ended that nobody asked to end, or could not be started.

export interface EndFacts {
  kind: 'static' | 'dynamic';
  /** It had taken requests, or was seen waiting for one. */
  wasReady: boolean;
  /** A step of starting failed that no repetition mends: exec, cwd, setuid … */
  couldNotStart: boolean;
  exitCode: number | null;
  livedMs: number;
  minServerLifeMs: number;
  restartDelayMs: number;
  /** Failures in a row before this one. */
  failures: number;
  /** A request waits for the class, or the policy keeps it running. */
  isWanted: boolean;
  /** -restart: dynamic instances are restarted like static ones. */
  restart: boolean;
}

export type EndVerdict =
  /** Replaced at once; no failure. */
  | { action: 'replace'; failures: number }
  /** Replaced after the delay; ready siblings go on serving meanwhile. */
  | { action: 'delay'; delayMs: number; failures: number }
  /** Not replaced until a request asks for the class. */
  | { action: 'leave'; failures: number }
  /** The class cannot start: requests get 503 until `delayMs` has passed. */
  | { action: 'fail'; delayMs: number; failures: number };

/** Starts of one class that may fail in a row before its requests are answered 503. */
const QUICK_TRIES = 2;
const BACK_OFF_MAX_MS = 60_000;

/** 1, 2, 4 … 60 s after the first, second, third … failed round. */
export function backOffMs(failures: number): number {
  return Math.min(BACK_OFF_MAX_MS, 1000 * 2 ** Math.min(16, Math.max(0, failures - 1)));
}

export function afterEnd(facts: EndFacts): EndVerdict {
  if (!facts.wasReady) {
    const failures = facts.failures + 1;
    if (!facts.couldNotStart && failures < QUICK_TRIES && facts.isWanted) {
      return { action: 'replace', failures };
    }
    const rounds = facts.couldNotStart ? failures : failures - QUICK_TRIES + 1;
    return { action: 'fail', delayMs: backOffMs(rounds), failures };
  }
  // php-cgi ends itself with 0 after 500 requests: a recycle, like any end after a long life.
  if (facts.exitCode === 0 || facts.livedMs >= facts.minServerLifeMs) {
    return { action: facts.isWanted ? 'replace' : 'leave', failures: 0 };
  }
  const failures = facts.failures + 1;
  if (facts.kind === 'static' || facts.restart) {
    return { action: 'delay', delayMs: facts.restartDelayMs, failures };
  }
  return { action: facts.isWanted ? 'replace' : 'leave', failures };
}
