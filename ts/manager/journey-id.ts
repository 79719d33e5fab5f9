// SPDX-License-Identifier: Apache-2.0
// Names of starts: short enough to be read out on the telephone, and never given twice while the machine
// runs, by whatever manager.
import { readFileSync } from 'node:fs';
import { native } from '../native/native.ts';

/** Starts are further apart than this in the long run, so a next manager begins behind the last one. */
const TICKS_PER_MS = 10;

/** Two digits that most often tell apart the logs of two boots, whose clocks begin at 0. */
const bootMark = markOf(readBootId());

let lastTick = 0;

/** Two digits for the boot, then the machine's clock. */
export function newJourneyId(): string {
  lastTick = Math.max(lastTick + 1, Math.floor(native.nowMs() * TICKS_PER_MS));
  return bootMark + lastTick.toString(36);
}

function readBootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
  } catch {
    return ''; // not mounted
  }
}

function markOf(bootId: string): string {
  const number = Number.parseInt(bootId.slice(0, 8), 16) || 0;
  return (number % 36 ** 2).toString(36).padStart(2, '0');
}
