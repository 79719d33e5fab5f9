// SPDX-License-Identifier: Apache-2.0
// Lines of ours that belong to no request.
import { writeSync } from 'node:fs';

/** To stderr, also from a thread, and at once: what writes may be about to end. */
export function logLine(line: string): void {
  try {
    writeSync(2, `usher/runtime: ${line}\n`);
  } catch {
    // closed or full: nobody reads it
  }
}
