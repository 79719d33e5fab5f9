// SPDX-License-Identifier: Apache-2.0
// What happened to a class's instances since the manager knows the class, counted. Read by metrics.
import type { Journey, JourneyCause } from '../control/messages.ts';
import { TimeHistogram } from './time-histogram.ts';

/** Why an instance was replaced: it ended by itself, `updated` (restart, other options or program),
 * `worn` (served its time), it hung. */
export type RestartReason = 'ended' | 'updated' | 'worn' | 'hung';

export class Tally {
  starts = 0;
  readonly startTimes = new TimeHistogram();
  readonly #failures = new Map<JourneyCause, number>();
  readonly #restarts = new Map<RestartReason, number>();
  #lastFailedId = '';

  /** A start failed, or an instance did without being asked to end. Told twice it counts once: as that of
   * a servlet engine, and of the gateway that waits for it. */
  failed(journey: Journey): void {
    if (journey.id === this.#lastFailedId) return;
    this.#lastFailedId = journey.id;
    increment(this.#failures, causeOf(journey));
  }

  restarted(reason: RestartReason): void {
    increment(this.#restarts, reason);
  }

  get failures(): ReadonlyMap<JourneyCause, number> {
    return this.#failures;
  }

  get restarts(): ReadonlyMap<RestartReason, number> {
    return this.#restarts;
  }
}

function increment<Key>(counts: Map<Key, number>, key: Key): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}

/** The cause that was found, else what the outcome says. */
function causeOf({ cause, outcome, exitCode, exitSignal }: Journey): JourneyCause {
  if (cause !== null) return cause;
  if (outcome === 'timed-out') return 'not-ready-in-time';
  if (outcome === 'hung') return 'hung';
  if (outcome !== 'exited') return 'other';
  if (exitSignal !== undefined) return 'killed-by-signal';
  return exitCode === 0 ? 'exited-at-once' : 'exited-with-error';
}
