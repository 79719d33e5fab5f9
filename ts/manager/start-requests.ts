// SPDX-License-Identifier: Apache-2.0
// Counts the start requests of web servers, and how long each took from the pass that saw it first to
// its answer.
import { TimeHistogram } from './time-histogram.ts';

export type StartAnswer = 'class' | 'refusal';

export class StartRequests {
  readonly times = new TimeHistogram();
  readonly answered: Record<StartAnswer, number> = { class: 0, refusal: 0 };
  /** By server, when each entry of its ring was seen first. */
  #sinceMs = new WeakMap<object, Map<number, number>>();

  seen(server: object, entry: number, nowMs: number): void {
    let entries = this.#sinceMs.get(server);
    if (!entries) {
      entries = new Map();
      this.#sinceMs.set(server, entries);
    }
    if (!entries.has(entry)) entries.set(entry, nowMs);
  }

  finished(server: object, entry: number, answer: StartAnswer, nowMs: number): void {
    const entries = this.#sinceMs.get(server);
    this.times.observe(nowMs - (entries?.get(entry) ?? nowMs));
    this.answered[answer] += 1;
    entries?.delete(entry);
  }
}
