// SPDX-License-Identifier: Apache-2.0
// What /proc says about the processes of a test: who belongs to a directory, who descends from whom,
// how much memory one has needed.

import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

function read(path: string): string {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // gone meanwhile, or not ours to read
  }
}

function link(path: string): string {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
}

export function processIds(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

export function commandLine(pid: number): string {
  const words = read(`/proc/${pid}/cmdline`).replaceAll('\0', ' ').trim();
  return words || `[${read(`/proc/${pid}/comm`).trim()}]`;
}

/** NAME=value, sorted; empty when the process is gone. */
export function environmentOf(pid: number): string[] {
  return read(`/proc/${pid}/environ`).split('\0').filter(Boolean).sort();
}

/** The fields of /proc/PID/stat behind the name: index 0 is the state, 1 the parent. */
function statFields(pid: number): string[] {
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Whether a process runs; one that has ended and waits for its parent does not. */
export function isRunning(pid: number): boolean {
  const state = statFields(pid)[0];
  return state !== undefined && state !== '' && state !== 'Z' && state !== 'X';
}

export function parentOf(pid: number): number {
  return Number(statFields(pid)[1]);
}

export function childrenOf(pid: number): number[] {
  return processIds().filter((candidate) => parentOf(candidate) === pid && isRunning(candidate));
}

export function userOf(pid: number): number {
  return Number(/^Uid:\t(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? Number.NaN);
}

/** The process's own resident memory, without what it maps from files. */
export function memoryBytes(pid: number): number {
  return Number(/^RssAnon:\s*(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
}

/** How many descriptors a process has open; NaN when it is gone. */
export function descriptorCount(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return Number.NaN;
  }
}

/** Tells processes of equal number apart: when it was started. */
export function startTime(pid: number): string {
  return statFields(pid)[19] ?? '';
}

/** Sockets whose path lies in `directory`: inode and path. Unlinked ones are still listed. */
export function socketsIn(directory: string): Map<string, string> {
  const found = new Map<string, string>();
  for (const line of read('/proc/net/unix').split('\n')) {
    const [, , , , , , inode, path] = line.split(/\s+/);
    if (inode && path?.startsWith(`${directory}/`)) found.set(inode, path);
  }
  return found;
}

/** How a process is tied to `directory`, in one line; undefined when it is not. */
function tieTo(directory: string, sockets: Map<string, string>, pid: number): string | undefined {
  const isInside = (path: string) => path === directory || path.startsWith(`${directory}/`);
  if (read(`/proc/${pid}/cmdline`).includes(directory)) return 'command line';
  if (read(`/proc/${pid}/environ`).includes(directory)) return 'environment';
  for (const name of ['cwd', 'exe', 'root']) {
    if (isInside(link(`/proc/${pid}/${name}`))) return name;
  }
  let descriptors: string[] = [];
  try {
    descriptors = readdirSync(`/proc/${pid}/fd`);
  } catch {
    return undefined;
  }
  for (const descriptor of descriptors) {
    const target = link(`/proc/${pid}/fd/${descriptor}`);
    const socket = sockets.get(/^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '');
    if (isInside(target)) return `descriptor ${descriptor}: ${target}`;
    if (socket !== undefined) return `descriptor ${descriptor}: socket ${socket}`;
  }
  return undefined;
}

export interface TiedProcess {
  pid: number;
  command: string;
  tie: string;
}

/** Running processes, ourselves excepted, that have to do with `directory`. */
export function processesOf(directory: string): TiedProcess[] {
  const sockets = socketsIn(directory);
  return processIds()
    .filter((pid) => pid !== process.pid && pid !== process.ppid && isRunning(pid))
    .map((pid) => ({ pid, command: commandLine(pid), tie: tieTo(directory, sockets, pid) }))
    .filter((found): found is TiedProcess => found.tie !== undefined);
}

/** Sends a signal; false when the process is gone already. */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
