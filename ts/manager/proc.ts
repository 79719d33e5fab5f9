// SPDX-License-Identifier: Apache-2.0
// What /proc says about an instance.
import { readFileSync } from 'node:fs';

const PAGE_BYTES = 4096;

/** Resident memory of one process; 0 when it is gone. */
export function rssBytes(pid: number): number {
  if (pid <= 0) return 0;
  return Number(read(`/proc/${pid}/statm`).split(' ')[1] ?? 0) * PAGE_BYTES;
}

/** Resident memory of a process and its descendants. Pages that they share count for each: as a
 * limit it errs on the side of replacing. */
export function treeRssBytes(pid: number): number {
  if (pid <= 0) return 0;
  const children = read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean);
  return children.reduce((sum, child) => sum + treeRssBytes(Number(child)), rssBytes(pid));
}

/** '' when the process has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
