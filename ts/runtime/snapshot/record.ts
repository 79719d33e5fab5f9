// SPDX-License-Identifier: Apache-2.0
// What lies beside a snapshot: of what it was made, and whether that is still so.
import { readFileSync, statSync } from 'node:fs';
import { parse } from 'node:path';
import { cachedDataVersionTag } from 'node:v8';

export const RECORD_FORMAT = 1;

export interface FileState {
  path: string;
  bytes: number;
  /** Since 1970, with fractions. */
  mtimeMs: number;
}

export interface SnapshotRecord {
  format: number;
  /** Absolute, symbolic links resolved. */
  program: string;
  usher: string;
  node: string;
  platform: string;
  arch: string;
  /** V8's version and flags in one number: V8 refuses a snapshot of another one. */
  v8Tag: number;
  /** Options of Node that it was made with, and needs. */
  nodeOptions: readonly string[];
  /** All that was read: program, modules, what --depends named. */
  files: readonly FileState[];
}

/** With the snapshot itself: what lies in PROGRAM.snapshot.json. */
export interface StoredRecord extends SnapshotRecord {
  blob: FileState;
}

export interface SnapshotPaths {
  blob: string;
  record: string;
}

/** /srv/app.ts: /srv/app.snapshot and /srv/app.snapshot.json. */
export function snapshotPaths(program: string): SnapshotPaths {
  const { dir, name } = parse(program);
  const blob = `${dir === '' || dir.endsWith('/') ? dir : `${dir}/`}${name}.snapshot`;
  return { blob, record: `${blob}.json` };
}

/** @throws of stat, when it cannot be looked at */
export function fileState(path: string): FileState {
  const { size, mtimeMs } = statSync(path);
  return { path, bytes: size, mtimeMs };
}

/** Null: there is none. @throws Error naming the file when it is no record */
export function readRecord(path: string): StoredRecord | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const record = JSON.parse(text) as StoredRecord;
    if (record.format === RECORD_FORMAT && isWhole(record)) return record;
  } catch {
    // said below
  }
  throw new Error(`${path}: no record of a snapshot that this version knows`);
}

function isWhole(record: StoredRecord): boolean {
  const { program, usher, node, platform, arch, v8Tag, nodeOptions, files, blob } = record;
  return (
    [program, usher, node, platform, arch].every((text) => typeof text === 'string') &&
    typeof v8Tag === 'number' &&
    Array.isArray(nodeOptions) &&
    Array.isArray(files) &&
    [...files, blob].every((file) => typeof file?.path === 'string')
  );
}

/** Why this process, or one with the same options of Node, cannot use it; null: it can. */
export function whyNotThisNode(record: SnapshotRecord): string | null {
  const made = `${record.node} ${record.platform} ${record.arch}`;
  const here = `${process.version} ${process.platform} ${process.arch}`;
  if (made !== here) return `was made by Node ${made}, this is ${here}`;
  if (record.v8Tag !== cachedDataVersionTag()) {
    const options = record.nodeOptions.join(' ') || 'none';
    return `was made with other options of V8 (${options}): see --node-option`;
  }
  return null;
}

/** Why it is not of the files that are there now; null: it is. */
export function whyStale(files: readonly FileState[]): string | null {
  for (const file of files) {
    let now: FileState;
    try {
      now = fileState(file.path);
    } catch (error) {
      return `${file.path}: ${(error as NodeJS.ErrnoException).code}`;
    }
    if (!isSame(file, now)) return `${file.path} has changed`;
  }
  return null;
}

/** Archives keep whole seconds only. */
function isSame(then: FileState, now: FileState): boolean {
  if (then.bytes !== now.bytes) return false;
  if (then.mtimeMs === now.mtimeMs) return true;
  return now.mtimeMs % 1000 === 0 && now.mtimeMs === Math.floor(then.mtimeMs / 1000) * 1000;
}
