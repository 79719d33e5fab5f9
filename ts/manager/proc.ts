// SPDX-License-Identifier: Apache-2.0
// What /proc says about an instance.
import { readFileSync } from 'node:fs';

const PAGE_BYTES = 4096;

/** Resident memory; 0 when the process is gone. */
export function rssBytes(pid: number): number {
  if (pid <= 0) return 0;
  try {
    const pages = readFileSync(`/proc/${pid}/statm`, 'utf8').split(' ')[1];
    return Number(pages) * PAGE_BYTES;
  } catch {
    return 0; // ended since
  }
}
