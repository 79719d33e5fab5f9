// SPDX-License-Identifier: Apache-2.0
// What the launcher keeps of a class for the next manager: how its starts failed, and when it may be
// tried again.
import type { Journey } from '../control/messages.ts';
import type { Activation } from '../gateways/link.ts';
import type { SavedEngine } from './engines/engine.ts';
import type { SavedFailures } from './failures.ts';

export interface ClassMemory {
  failures: SavedFailures | null;
  lastFailure: Journey | null;
  /** Instances that an administrator wants; null = as configured. */
  scaledTo: number | null;
  /** Of backends, where administrators changed them. */
  activations: readonly (readonly [name: string, activation: Activation])[];
  /** Servlet engines that have failed. */
  engines: readonly SavedEngine[];
}

/** '' when there is nothing to be kept. A journey's snapshot, which can be long, is in the log only. */
export function formatMemory(memory: ClassMemory): string {
  const { failures, lastFailure, scaledTo, activations, engines } = memory;
  const isEmpty = activations.length === 0 && engines.length === 0 && scaledTo === null;
  if (failures === null && lastFailure === null && isEmpty) return '';
  const { snapshot: _, ...journey } = lastFailure ?? {};
  return JSON.stringify({ ...memory, lastFailure: lastFailure && journey });
}

/** null when the text is not one of ours (another version's, say). */
export function parseMemory(text: string): ClassMemory | null {
  try {
    const memory = JSON.parse(text) as Partial<ClassMemory>;
    const { failures, lastFailure, scaledTo = null, activations, engines } = memory;
    if (!isScale(scaledTo)) return null;
    if (!isSaved(failures) || !isJourney(lastFailure)) return null;
    if (!areActivations(activations) || !areEngines(engines)) return null;
    return { failures, lastFailure, scaledTo, activations, engines };
  } catch {
    return null; // not JSON
  }
}

function isScale(value: unknown): value is number | null {
  return value === null || (Number.isSafeInteger(value) && (value as number) > 0);
}

function areActivations(value: unknown): value is ClassMemory['activations'] {
  const known: unknown[] = ['active', 'disabled', 'stopped'];
  return (
    Array.isArray(value) &&
    value.every((one) => Array.isArray(one) && typeof one[0] === 'string' && known.includes(one[1]))
  );
}

function areEngines(value: unknown): value is ClassMemory['engines'] {
  return Array.isArray(value) && value.every(isSavedEngine);
}

function isSavedEngine(value: unknown): value is SavedEngine {
  if (typeof value !== 'object' || value === null) return false;
  const { name, failures, notBeforeMs, isBroken, text } = value as Partial<SavedEngine>;
  return (
    typeof name === 'string' &&
    typeof failures === 'number' &&
    typeof notBeforeMs === 'number' &&
    typeof isBroken === 'boolean' &&
    typeof text === 'string'
  );
}

function isSaved(value: unknown): value is SavedFailures | null {
  if (value === null) return true;
  if (typeof value !== 'object') return false;
  const { count, lastMs, untilMs, reason, start, program, notBeforeMs } =
    value as Partial<SavedFailures>;
  return (
    typeof count === 'number' &&
    typeof lastMs === 'number' &&
    (untilMs === null || typeof untilMs === 'number') &&
    typeof reason === 'string' &&
    typeof start === 'string' &&
    (program === null || typeof program === 'string') &&
    typeof notBeforeMs === 'number'
  );
}

function isJourney(value: unknown): value is Journey | null {
  if (value === null) return true;
  if (typeof value !== 'object') return false;
  const { id, outcome, explanation, output, steps } = value as Partial<Journey>;
  return (
    typeof id === 'string' &&
    typeof outcome === 'string' &&
    typeof explanation === 'string' &&
    typeof output === 'string' &&
    Array.isArray(steps)
  );
}
