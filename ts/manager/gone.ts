// SPDX-License-Identifier: Apache-2.0
// Was a path removed? The manager's user may not be allowed to see it: that is no answer.
import { statSync } from 'node:fs';

export function isGone(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false }) === undefined;
  } catch {
    return false; // EACCES on the way there
  }
}
