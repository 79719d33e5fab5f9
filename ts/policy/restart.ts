// SPDX-License-Identifier: Apache-2.0
// What follows when an instance ended that nobody asked to end, or could not be started.
import type { PolicyName } from './policy.ts';

export interface EndFacts {
  policy: PolicyName;
  kind: 'static' | 'dynamic';
  /** It had taken requests, or was seen waiting for one. */
  wasReady: boolean;
  /** A step of starting failed that no repetition mends: exec, cwd, setuid … */
  couldNotStart: boolean;
  exitCode: number | null;
  /** By SIGKILL, which no program sends itself: by somebody, or for want of memory. */
  wasKilled: boolean;
  livedMs: number;
  minServerLifeMs: number;
  restartDelayMs: number;
  /** Failures in a row before this one, and the time since the last of them; Infinity = none. */
  failures: number;
  sinceFailureMs: number;
  /** It had been started before that. */
  precedesFailure: boolean;
  /** The class's other instances that take requests, and how long the oldest has lived. */
  siblings: number;
  oldestSiblingMs: number;
  /** A request waits for the class, or the policy keeps it running. */
  isWanted: boolean;
  /** -restart: dynamic instances are restarted like static ones. */
  restart: boolean;
  /** -singleThreshold 0: the classic policy never ends a class's only instance. */
  keepsLast: boolean;
}

export type EndVerdict = FailureCount &
  (
    | /** Replaced at once. */ { action: 'replace' }
    /** Replaced after the delay, during which nothing of the class is started; ready siblings go on
     * serving, and without one requests wait. */
    | { action: 'delay'; delayMs: number }
    /** Not replaced until a request asks for the class. */
    | { action: 'leave' }
    /** The class cannot start: requests get 503 until `delayMs` has passed. Never while siblings
     * serve. */
    | { action: 'fail'; delayMs: number }
  );

export interface FailureCount {
  /** Failures in a row, this one included. */
  failures: number;
  /** This end was one: EndFacts.sinceFailureMs counts from now. */
  isNewFailure: boolean;
}

/** Starts of one class that may fail in a row before its requests are answered 503. */
const QUICK_TRIES = 2;
/** Deaths after too short a life that are taken for bad luck, before they are a crash loop. */
const UNLUCKY_DEATHS = 2;
/** The same for those that somebody else put to death: their requests had better wait. */
const UNLUCKY_KILLS = 8;
const BACK_OFF_FIRST_MS = 1_000;
const BACK_OFF_MAX_MS = 60_000;
/** After so long a peace a failure is a first one again. */
const FORGET_MS = 600_000;
/** An end with status 0 is a recycle, but not more often than this when nobody waits. */
const RECYCLE_MS = 1_000;
/** mod_fastcgi's constants: failures before the back-off, its time. */
const CLASSIC_TRIES = 3;
const CLASSIC_BACK_OFF_MS = 600_000;

/** 1, 2, 4 … 60 s after the first, second, third … failed round. */
export function backOffMs(rounds: number): number {
  const doublings = Math.min(16, Math.max(0, rounds - 1));
  return Math.min(BACK_OFF_MAX_MS, BACK_OFF_FIRST_MS * 2 ** doublings);
}

export function afterEnd(facts: EndFacts): EndVerdict {
  if (facts.policy === 'classic') return afterClassicEnd(facts);
  if (!facts.wasReady) return afterFailedStart(facts);
  const livedLong = facts.livedMs >= facts.minServerLifeMs;
  // php-cgi ends itself with 0 after 500 requests: a recycle, like any end after a long life.
  if (livedLong || facts.exitCode === 0) return recycle(facts, livedLong);
  return afterEarlyDeath(facts);
}

function recycle(facts: EndFacts, livedLong: boolean): EndVerdict {
  const count = { failures: livedLong ? 0 : facts.failures, isNewFailure: false };
  if (!facts.isWanted) return { action: facts.restart ? 'replace' : 'leave', ...count };
  if (livedLong || facts.livedMs >= RECYCLE_MS || facts.siblings > 0) {
    return { action: 'replace', ...count };
  }
  // A program that says goodbye as soon as it is ready must not eat a processor.
  return { action: 'delay', delayMs: RECYCLE_MS - facts.livedMs, ...count };
}

function afterFailedStart(facts: EndFacts): EndVerdict {
  const count = countFailure(facts);
  const { failures } = count;
  const tries = facts.wasKilled ? UNLUCKY_KILLS : QUICK_TRIES;
  if (!facts.couldNotStart && failures < tries && facts.isWanted) {
    return { action: 'replace', ...count };
  }
  const rounds = facts.couldNotStart ? failures : failures - tries + 1;
  return failOrDelay(facts, backOffMs(rounds), count);
}

function afterEarlyDeath(facts: EndFacts): EndVerdict {
  const count = countFailure(facts);
  const rounds = count.failures - (facts.wasKilled ? UNLUCKY_KILLS : UNLUCKY_DEATHS);
  if (facts.kind === 'static' || facts.restart) {
    const { restartDelayMs: delayMs } = facts;
    if (rounds <= 0) return { action: 'delay', delayMs, ...count };
    return failOrDelay(facts, Math.max(delayMs, backOffMs(count.failures)), count);
  }
  if (!facts.isWanted) return { action: 'leave', ...count };
  if (rounds <= 0) return { action: 'replace', ...count };
  return failOrDelay(facts, backOffMs(rounds), count);
}

/** A class of which an instance serves has not failed: its requests wait for that one. */
function failOrDelay(facts: EndFacts, delayMs: number, count: FailureCount): EndVerdict {
  return { action: facts.siblings > 0 ? 'delay' : 'fail', delayMs, ...count };
}

/** What dies of one cause at one time is one failure, however many instances it takes along: an
 * instance that ran already when the last failure was counted adds nothing. */
function countFailure(facts: EndFacts): FailureCount {
  const { failures, sinceFailureMs } = facts;
  const isProven = facts.oldestSiblingMs >= facts.minServerLifeMs || sinceFailureMs >= FORGET_MS;
  if (isProven || failures === 0) return { failures: 1, isNewFailure: true };
  const isSameRound =
    facts.precedesFailure || (facts.couldNotStart && sinceFailureMs < BACK_OFF_FIRST_MS);
  return isSameRound
    ? { failures, isNewFailure: false }
    : { failures: failures + 1, isNewFailure: true };
}

/** mod_fastcgi's: the next start comes -restart-delay after the last one; 600 s after it when more
 * than three failed and none has lived for -min-server-life. Exit status 0 is no failure. */
function afterClassicEnd(facts: EndFacts): EndVerdict {
  const { minServerLifeMs, restartDelayMs, livedMs } = facts;
  const isProven = livedMs >= minServerLifeMs || facts.oldestSiblingMs >= minServerLifeMs;
  const isNewFailure = !isProven && (facts.exitCode !== 0 || !facts.wasReady);
  const failures = isProven ? 0 : facts.failures + (isNewFailure ? 1 : 0);
  if (failures > CLASSIC_TRIES) {
    // One more failure after that, and it is over the limit again.
    return failOrDelay(facts, CLASSIC_BACK_OFF_MS, { failures: CLASSIC_TRIES, isNewFailure });
  }
  const count = { failures, isNewFailure };
  const isLast = facts.siblings === 0 && facts.keepsLast;
  const restarts = facts.kind === 'static' || facts.restart || facts.isWanted || isLast;
  if (!restarts) return { action: 'leave', ...count };
  if (facts.couldNotStart) return failOrDelay(facts, restartDelayMs, count);
  return { action: 'delay', delayMs: Math.max(0, restartDelayMs - livedMs), ...count };
}
