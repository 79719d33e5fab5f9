// SPDX-License-Identifier: Apache-2.0
// The text that the launcher keeps with every endpoint and instance, for a restarted manager.
import type { Kind } from '../native/native.ts';

export interface Tag {
  label: string;
  key: string;
  kind: Kind;
  server: string | null;
  /** The server that asked for a dynamic class. */
  asker: string | null;
  /** The class's record in the table. */
  index: number;
  generation: number;
  /** Hash of the options that a running instance cannot change. */
  run: string;
  /** Of the instance's revision. */
  epoch: number;
  program: string;
  /** Of the journey; of instances. */
  start?: string;
  /** Address of the servlet engine that it is; none = it is an instance. */
  engine?: string;
}

const kinds: readonly unknown[] = ['static', 'dynamic', 'external'] satisfies Kind[];

function isTextOrNull(value: unknown): boolean {
  return value === null || typeof value === 'string';
}

/** null when the text is not one of our tags (another version's, say). */
export function parseTag(text: string): Tag | null {
  try {
    const tag = JSON.parse(text) as Partial<Tag>;
    const complete =
      typeof tag.label === 'string' &&
      typeof tag.key === 'string' &&
      kinds.includes(tag.kind) &&
      isTextOrNull(tag.server) &&
      isTextOrNull(tag.asker) &&
      Number.isSafeInteger(tag.index) &&
      Number.isSafeInteger(tag.generation) &&
      typeof tag.run === 'string' &&
      Number.isSafeInteger(tag.epoch) &&
      typeof tag.program === 'string' &&
      (tag.start === undefined || typeof tag.start === 'string') &&
      (tag.engine === undefined || typeof tag.engine === 'string');
    return complete ? (tag as Tag) : null;
  } catch {
    return null; // not JSON
  }
}
