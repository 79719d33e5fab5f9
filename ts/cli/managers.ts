// SPDX-License-Identifier: Apache-2.0
// The managers that run on this host: their launchers say so in their arguments.
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { controlSocketName } from '../control/client.ts';

export interface ManagerFound {
  runtimeDir: string;
  /** Of its launcher. */
  pid: number;
  uid: number;
}

/** One for each runtime directory, by its name; not those whose directory is not ours to see. */
export function findManagers(proc = '/proc'): ManagerFound[] {
  const found = new Map<string, ManagerFound>();
  for (const name of readdirSync(proc)) {
    const one = /^\d+$/.test(name) ? launcherOf(proc, name) : null;
    const known = found.get(one?.runtimeDir ?? '');
    if (one && (!known || one.pid < known.pid)) found.set(one.runtimeDir, one);
  }
  return [...found.values()].sort((a, b) => (a.runtimeDir < b.runtimeDir ? -1 : 1));
}

function launcherOf(proc: string, name: string): ManagerFound | null {
  try {
    const [program = '', ...words] = readFileSync(join(proc, name, 'cmdline'), 'utf8').split('\0');
    if (basename(program) !== 'usher-launcher') return null;
    const runtimeDir = words[words.indexOf('--runtime-dir') + 1] ?? '';
    if (!words.includes('--runtime-dir') || !existsSync(join(runtimeDir, controlSocketName))) {
      return null;
    }
    return { runtimeDir, pid: Number(name), uid: statSync(join(proc, name)).uid };
  } catch {
    return null; // it has ended
  }
}
