// SPDX-License-Identifier: Apache-2.0
// What /proc says about an instance.
import { readFileSync } from 'node:fs';

const PAGE_BYTES = 4096;
/** Of times in /proc/PID/stat: the kernel's USER_HZ. */
const TICKS_PER_S = 100;

/** Resident memory of one process; 0 when it is gone. */
export function rssBytes(pid: number): number {
  if (pid <= 0) return 0;
  return Number(read(`/proc/${pid}/statm`).split(' ')[1] ?? 0) * PAGE_BYTES;
}

/** Resident memory of a process and its descendants. Pages that they share count for each: as a
 * limit it errs on the side of replacing. */
export function treeRssBytes(pid: number): number {
  return treeSum(pid, rssBytes);
}

/** Processor time of a process and its descendants, also of those that have ended and been waited for. */
export function treeCpuS(pid: number): number {
  return treeSum(pid, cpuS);
}

function treeSum(pid: number, of: (pid: number) => number): number {
  if (pid <= 0) return 0;
  const children = read(`/proc/${pid}/task/${pid}/children`).split(' ').filter(Boolean);
  return children.reduce((sum, child) => sum + treeSum(Number(child), of), of(pid));
}

function cpuS(pid: number): number {
  const stat = read(`/proc/${pid}/stat`);
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' '); // the name may hold anything
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0); // utime … cstime
  return ticks / TICKS_PER_S;
}

/** '' when the process has ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}
