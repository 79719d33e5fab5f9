// SPDX-License-Identifier: Apache-2.0
// What is remembered of a class's starts: the last failures and the last success, within bounds that a
// thousand classes may reach at once.
import type { Journey } from '../control/messages.ts';

const FAILURES_MAX = 4;
/** Of the output of all failures but the last. */
const OLD_OUTPUT_MAX = 512;

export class History {
  /** Newest first. */
  #failures: Journey[] = [];
  #lastSuccess: Journey | null = null;

  get lastFailure(): Journey | null {
    return this.#failures[0] ?? null;
  }

  get journeys(): readonly Journey[] {
    const all = this.#lastSuccess ? [...this.#failures, this.#lastSuccess] : this.#failures;
    return all.toSorted((a, b) => b.startedAt.localeCompare(a.startedAt));
  }

  /** The same one may be told of again, when more of it is known. */
  failed(journey: Journey): void {
    if (this.#failures[0]?.id === journey.id) this.#failures.shift();
    const [last, ...older] = this.#failures;
    const others = last ? [abridge(last), ...older] : [];
    this.#failures = [journey, ...others].slice(0, FAILURES_MAX);
    if (this.#lastSuccess?.id === journey.id) this.#lastSuccess = null;
  }

  succeeded(journey: Journey): void {
    this.#lastSuccess = journey;
  }

  /** Of a former manager's memory. */
  recall(lastFailure: Journey | null): void {
    if (lastFailure) this.failed(lastFailure);
  }

  find(id: string): Journey | null {
    return this.journeys.find((journey) => journey.id === id) ?? null;
  }
}

function abridge(journey: Journey): Journey {
  const { snapshot: _, ...rest } = journey;
  const { output } = rest;
  return output.length <= OLD_OUTPUT_MAX
    ? rest
    : { ...rest, output: `…${output.slice(-OLD_OUTPUT_MAX)}` };
}
