// SPDX-License-Identifier: Apache-2.0
// What to do about a file or link: only what we have made and nobody has changed is replaced or removed.
import type { Found } from './journal.ts';
import type { Entry } from './manifest.ts';
import { digest } from './package-files.ts';

export type Wanted = { bytes: Buffer } | { target: string };

export type Decision =
  /** There is nothing. */
  | 'create'
  /** It is as we have left it, and now there is another one. */
  | 'replace'
  /** It is so, and ours. */
  | 'already'
  /** It is so, but was before us. */
  | 'foreign-same'
  /** We have made it, and somebody has changed it. */
  | 'changed'
  /** Somebody else's. */
  | 'foreign';

type FileOrLink = Extract<Entry, { kind: 'file' | 'link' }>;

/** @param recorded Of this path, in the manifest. */
export function decide(wanted: Wanted, found: Found, recorded: FileOrLink | null): Decision {
  if (found === null) return 'create';
  if (isSame(wanted, found)) return recorded === null ? 'foreign-same' : 'already';
  if (recorded === null) return 'foreign';
  return isUntouched(recorded, found) ? 'replace' : 'changed';
}

function isSame(wanted: Wanted, found: Exclude<Found, null>): boolean {
  if (found === 'other') return false;
  if ('target' in wanted) return 'target' in found && found.target === wanted.target;
  return 'bytes' in found && found.bytes.equals(wanted.bytes);
}

/** Whether what is there is what we have put there. */
export function isUntouched(recorded: FileOrLink, found: Found): boolean {
  if (found === null || found === 'other') return false;
  if (recorded.kind === 'link') return 'target' in found && found.target === recorded.target;
  return 'bytes' in found && digest(found.bytes) === recorded.sha256;
}

export function entryOf(part: Entry['part'], path: string, wanted: Wanted): FileOrLink {
  return 'target' in wanted
    ? { part, kind: 'link', path, target: wanted.target }
    : { part, kind: 'file', path, sha256: digest(wanted.bytes) };
}
