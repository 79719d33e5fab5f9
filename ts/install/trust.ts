// SPDX-License-Identifier: Apache-2.0
// Whether what root is going to run can be changed by root only, and read by everybody who has to.
import { lstatSync, realpathSync, type Stats, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Host } from './host.ts';

const oldestNode = [20, 17] as const;

/** A path and all directories above it, from the root. */
function upTo(path: string): string[] {
  return path === '/' ? ['/'] : [...upTo(dirname(path)), path];
}

const mode = (stats: Stats): string => (stats.mode & 0o7777).toString(8).padStart(4, '0');

function fault(path: string, stats: Stats): string | null {
  const isDirectory = stats.isDirectory();
  if (stats.uid !== 0) return `${path} belongs to user ${stats.uid}, not to root`;
  if ((stats.mode & 0o022) !== 0) {
    return `${path} can be written by others than root (mode ${mode(stats)}): chmod go-w ${path}`;
  }
  if ((stats.mode & 0o001) === 0) {
    const what = isDirectory ? 'is closed to other users' : 'cannot be run by other users';
    return `${path} ${what} (mode ${mode(stats)})`;
  }
  return null;
}

/** Why what stands below `folder` is not safe, or not to be read by others; null = it is. What is not there yet is ours. */
export function faultOfFolder(folder: string): string | null {
  for (const path of upTo(folder)) {
    let stats: Stats;
    try {
      stats = lstatSync(path);
    } catch {
      return null;
    }
    if (stats.isSymbolicLink()) {
      const real = faultOfFolder(realpathSync(path));
      if (real !== null) return real;
      continue;
    }
    if (!stats.isDirectory()) return `${path} is no directory`;
    const found = fault(path, stats);
    if (found !== null) return found;
  }
  return null;
}

function faultOfProgram(path: string): string | null {
  try {
    const real = realpathSync(path);
    return (
      faultOfFolder(dirname(path)) ?? faultOfFolder(dirname(real)) ?? fault(real, statSync(real))
    );
  } catch {
    return `${path} is not there`;
  }
}

/**
 * A Node that the manager's user can run and nobody but root can change: that of the system where it is
 * new enough, else the one that runs this.
 * @throws Error that says of each one why it cannot be used.
 */
export async function findNode(host: Host): Promise<string> {
  const remedy =
    'Install one for all users: https://deb.nodesource.com, or unpack one to /opt and link /usr/local/bin/node to it';
  const faults: string[] = [];
  for (const path of new Set(['/usr/local/bin/node', '/usr/bin/node', host.node])) {
    const found = faultOfProgram(path) ?? (await faultOfVersion(path, host));
    if (found === null) return path;
    faults.push(found);
  }
  throw new Error(
    `no Node ≥ ${oldestNode.join('.')} that other users can run, and only root can change:\n  ${faults.join('\n  ')}\n${remedy}`,
  );
}

async function faultOfVersion(path: string, host: Host): Promise<string | null> {
  const { output } = await host.run(path, ['--version']);
  const [, major, minor] = /^v(\d+)\.(\d+)\./.exec(output) ?? [];
  const isNew =
    Number(major) > oldestNode[0] ||
    (Number(major) === oldestNode[0] && Number(minor) >= oldestNode[1]);
  return isNew ? null : `${path} is ${output.trim() || 'no Node'}`;
}
