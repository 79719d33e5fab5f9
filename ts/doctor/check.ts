// SPDX-License-Identifier: Apache-2.0
// What a check is, and the four things that it may say.
import type { FoundOut } from './report.ts';
import type { Scene } from './scene.ts';

export interface Check {
  /** Short, of small letters and dashes. */
  id: string;
  /** The section of docs/doctor.md. */
  group: string;
  /** For the manual: what it looks at, and what one does about its findings. */
  looksAt: string;
  worst: 'warning' | 'error';
  remedy: string;
  /** Nothing = there is nothing to look at, which is not worth a line. */
  run(scene: Scene): FoundOut[] | Promise<FoundOut[]>;
}

export type Details = Pick<FoundOut, 'where' | 'why'>;

export function ok(what: string, details: Details = {}): FoundOut {
  return { status: 'ok', what, ...details };
}

export function skipped(what: string, details: Details = {}): FoundOut {
  return { status: 'skipped', what, ...details };
}

export function warning(what: string, fix: string, details: Details = {}): FoundOut {
  return { status: 'warning', what, ...details, fix };
}

export function failure(what: string, fix: string, details: Details = {}): FoundOut {
  return { status: 'error', what, ...details, fix };
}

/** What was found wrong, or else that all is well. */
export function orOk(found: FoundOut[], what: string, details: Details = {}): FoundOut[] {
  return found.length > 0 ? found : [ok(what, details)];
}

/** "a, b and 3 more". */
export function some(names: readonly string[], most = 3): string {
  if (names.length <= most) return names.join(', ');
  return `${names.slice(0, most).join(', ')} and ${names.length - most} more`;
}

export function count(number: number, one: string, many = `${one}s`): string {
  return `${number} ${number === 1 ? one : many}`;
}
