// SPDX-License-Identifier: Apache-2.0
// The part of a class's load data that its status shows.
import type { ClassTotals } from '../control/messages.ts';
import type { Load } from '../native/native.ts';

export function totalsOf(load: Load): ClassTotals {
  const { arrivals, admitted, finished, failed, aborted, refused } = load;
  return { arrivals, admitted, finished, failed, aborted, refused };
}
