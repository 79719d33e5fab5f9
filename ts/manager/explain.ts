// SPDX-License-Identifier: Apache-2.0
// What `usher explain` is answered: one class with its last starts, or one start.
import type { ClassStatus, Explanation, Journey } from '../control/messages.ts';
import { ControlError } from '../control/server.ts';

/** What a class says of itself. */
export interface Explainable {
  readonly label: string;
  readonly config: { readonly key: string };
  /** Newest first. */
  readonly journeys: readonly Journey[];
  /** What requests are told while it has failed, and until when (ms from now); null = it has not. */
  readonly refusal: { reason: string; retryAfterS: number; leftMs: number } | null;
  status(): ClassStatus;
}

/** So many classes and starts are named where nothing has the name that was asked for. */
const NAMED_MAX = 20;

/** @throws ControlError 404 "unknown", 409 "ambiguous". */
export function explain(classes: readonly Explainable[], of: string, now: Date): Explanation {
  const named = classesNamed(classes, of);
  if (named.length > 1) {
    const labels = named.map(({ label }) => label).join(', ');
    const text = `"${of}" is configured differently by several servers: name one of ${labels}`;
    throw new ControlError(409, 'ambiguous', text);
  }
  const [one] = named;
  if (one) return explanationOf(one, one.journeys, null, now);
  for (const known of classes) {
    const journey = known.journeys.find(({ id }) => id === of);
    if (journey) return explanationOf(known, [journey], of, now);
  }
  throw new ControlError(404, 'unknown', unknownText(classes, of));
}

function classesNamed(classes: readonly Explainable[], of: string): Explainable[] {
  const exact = classes.filter(({ label }) => label === of);
  return exact.length > 0 ? exact : classes.filter(({ config }) => config.key === of);
}

function explanationOf(
  one: Explainable,
  journeys: readonly Journey[],
  id: string | null,
  now: Date,
): Explanation {
  const status = one.status();
  const { name, kind, protocol, state } = status;
  const { refusal } = one;
  const ready = status.instances.filter((instance) => instance.state === 'ready').length;
  const nextTryAt = refusal && new Date(now.getTime() + refusal.leftMs).toISOString();
  return {
    ...{ schema: 1, class: name, kind, protocol, state, ready, id },
    now: whatRequestsGet(status, ready, refusal),
    nextTryAt,
    journeys: [...journeys],
  };
}

function whatRequestsGet(
  { kind, state, backends }: ClassStatus,
  ready: number,
  refusal: Explainable['refusal'],
): string {
  if (kind === 'external') {
    const up = backends.filter((backend) => backend.state === 'up').length;
    if (up > 0) return `are sent to the backends that are up: ${up} of ${backends.length}`;
    return 'get 503 at once: no backend is up';
  }
  switch (state) {
    case 'failed':
      return refusal === null
        ? 'get 503 at once'
        : `get 503 at once, with Retry-After: ${refusal.retryAfterS}`;
    case 'cold':
      return 'start an instance, and wait until it is ready';
    case 'starting':
      return 'wait until the instance that starts is ready';
    case 'removed':
      return 'get 404: the class is not configured any more, and ends';
    default:
      return `are served by ${ready} ${ready === 1 ? 'instance' : 'instances'}`;
  }
}

function unknownText(classes: readonly Explainable[], of: string): string {
  const labels = classes.map(({ label }) => label);
  const ids = classes
    .flatMap(({ journeys }) => journeys)
    .sort((a, b) => b.startedAt.localeCompare(a.startedAt))
    .map(({ id }) => id);
  const text = `no class and no start that is remembered is called "${of}"`;
  return `${text}; classes: ${listOf(labels)}; starts: ${listOf(ids)}`;
}

function listOf(names: readonly string[]): string {
  const more = names.length - NAMED_MAX;
  const shown = names.slice(0, NAMED_MAX).join(', ') || 'none';
  return more > 0 ? `${shown} and ${more} more` : shown;
}
