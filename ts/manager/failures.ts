// SPDX-License-Identifier: Apache-2.0
// What went wrong with a class lately, and when it may be tried again. The rules are in
// ts/policy/restart.ts; this remembers between two of them.
import { afterEnd, type EndFacts, type EndVerdict } from '../policy/restart.ts';
import type { RefusalWords } from '../process/launcher.ts';

/** What requests of a class that cannot start are told. */
export type Refusal = RefusalWords;

/** What the next manager must know, or a class that loops would be tried at once again. Times as in
 * Failures, which are the machine's. */
export interface SavedFailures {
  count: number;
  lastMs: number;
  untilMs: number | null;
  reason: string;
  /** Of the start that failed last. */
  start: string;
  program: string | null;
  notBeforeMs: number;
}

/** Longer ago than anything; a number that JSON has. */
const NEVER_MS = Number.MIN_SAFE_INTEGER;

type OwnFacts = 'failures' | 'sinceFailureMs' | 'precedesFailure';

export class Failures {
  #count = 0;
  /** When the last one was counted. */
  #lastMs = NEVER_MS;
  #untilMs: number | null = null;
  #reason = '';
  #start = '';
  /** The program's file when the class failed: another one is tried at once. null = it could not be
   * looked at. */
  #program: string | null = '';
  #notBeforeMs = 0;
  #delayed = 0;

  /** null = there is nothing to be remembered. */
  save(): SavedFailures | null {
    if (this.#count === 0 && this.#untilMs === null) return null;
    return {
      count: this.#count,
      lastMs: this.#lastMs,
      untilMs: this.#untilMs,
      reason: this.#reason,
      start: this.#start,
      program: this.#program,
      notBeforeMs: this.#notBeforeMs,
    };
  }

  restore(saved: SavedFailures): void {
    this.#count = saved.count;
    this.#lastMs = saved.lastMs;
    this.#untilMs = saved.untilMs;
    this.#reason = saved.reason;
    this.#start = saved.start;
    this.#program = saved.program;
    this.#notBeforeMs = saved.notBeforeMs;
  }

  /** Until then requests get 503; null = the class has not failed. */
  get untilMs(): number | null {
    return this.#untilMs;
  }

  get reason(): string {
    return this.#reason;
  }

  /** Of the last failure. */
  get start(): string {
    return this.#start;
  }

  /** Instances that died and are started again when their delay is over. */
  get delayed(): number {
    return this.#delayed;
  }

  mayStart(nowMs: number): boolean {
    return this.#untilMs === null && nowMs >= this.#notBeforeMs;
  }

  /** The next start comes then at the earliest. */
  pace(nowMs: number, delayMs: number): void {
    this.#notBeforeMs = nowMs + delayMs;
  }

  /** No more than these are missing, whatever died. */
  limitDelayed(missing: number): void {
    this.#delayed = Math.min(this.#delayed, Math.max(0, missing));
  }

  expire(nowMs: number): void {
    if (this.#untilMs !== null && nowMs >= this.#untilMs) this.#untilMs = null;
  }

  /** What follows an end. @param startedAtMs Of what ended; null when its program never ran. */
  judge(facts: Omit<EndFacts, OwnFacts>, startedAtMs: number | null, nowMs: number): EndVerdict {
    const verdict = afterEnd({
      ...facts,
      failures: this.#count,
      sinceFailureMs: nowMs - this.#lastMs,
      precedesFailure: startedAtMs !== null && startedAtMs < this.#lastMs,
    });
    this.#count = verdict.failures;
    if (verdict.isNewFailure) this.#lastMs = nowMs;
    if (verdict.action === 'delay') {
      this.pace(nowMs, verdict.delayMs);
      this.#delayed += 1;
    }
    return verdict;
  }

  /** @param start Its id. @param program Programs.identity of the program's file. */
  fail(reason: string, start: string, program: string | null, untilMs: number): void {
    this.#untilMs = untilMs;
    this.#reason = reason;
    this.#start = start;
    this.#program = program;
  }

  /** Has the class failed with another program than the one that is there now? */
  hasOtherProgram(program: string | null): boolean {
    if (this.#untilMs === null) return false;
    this.#program ??= program; // it could not be looked at when the class failed
    return program !== null && program !== '' && program !== this.#program;
  }

  refusal(label: string, nowMs: number): Refusal {
    const leftMs = Math.max(0, (this.#untilMs ?? nowMs) - nowMs);
    return {
      reason: `${aboutStart(this.#start)}class "${label}": ${this.#reason}`,
      retryAfterS: Math.max(1, Math.ceil(leftMs / 1000)),
    };
  }

  /** Everything may be tried at once. */
  forget(): void {
    this.#untilMs = null;
    this.#count = 0;
    this.#lastMs = NEVER_MS;
    this.#notBeforeMs = 0;
  }
}

/** Before a reason: the start that it is about, where the shims look for it (native/channel/refused.c). */
export function aboutStart(id: string): string {
  return id === '' ? '' : `[${id}] `;
}
