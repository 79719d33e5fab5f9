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

/** Whether a process stands still after SIGSTOP. */
export function isStopped(pid: number): boolean {
  return statFields(pid)[0] === 'T';
}

/** The process's own resident memory, without what it maps from files. */
export function memoryBytes(pid: number): number {
  return Number(/^RssAnon:\s*(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? 0) * 1024;
}

/** The most that a process has had in memory so far. */
export function peakMemoryBytes(pid: number): number {
  return Number(/^VmHWM:\s*(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1] ?? Number.NaN) * 1024;
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

/** What the descriptors of a process are, as /proc names them: paths, socket:[N] … */
export function descriptorTargets(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((descriptor) =>
      link(`/proc/${pid}/fd/${descriptor}`),
    );
  } catch {
    return []; // gone
  }
}

function socketInodes(pid: number): Set<string> {
  const numbers = descriptorTargets(pid).map(
    (target) => /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '',
  );
  return new Set(numbers.filter(Boolean));
}

interface UnixSocket {
  /** "0" of a connection that nobody has accepted yet. */
  inode: string;
  path: string;
  listens: boolean;
}

const listening = 0x10000;

function unixSockets(directory: string): UnixSocket[] {
  return read('/proc/net/unix')
    .split('\n')
    .map((line) => line.split(/\s+/))
    .filter((fields) => fields[7]?.startsWith(`${directory}/`))
    .map(([, , , flags = '', , , inode = '', path = '']) => ({
      inode,
      path,
      listens: (Number.parseInt(flags, 16) & listening) !== 0,
    }));
}

/** How many connections to sockets in `directory` a process has taken and holds. */
export function takenConnections(pid: number, directory: string): number {
  const held = socketInodes(pid);
  return unixSockets(directory).filter(({ inode, listens }) => !listens && held.has(inode)).length;
}

/**
 * How many connections that nobody has taken yet wait in sockets of `directory` that end with these
 * processes: nobody else listens there.
 */
export function waitingOnlyFor(among: readonly number[], directory: string): number {
  const others = processIds().filter((pid) => !among.includes(pid));
  const lasting = listenedTo(others, directory);
  return unixSockets(directory).filter(({ inode, path }) => inode === '0' && !lasting.has(path))
    .length;
}

/** The sockets in `directory` that these processes listen on, by path. */
export function listenedTo(among: readonly number[], directory: string): Set<string> {
  const held = new Set(among.flatMap((pid) => [...socketInodes(pid)]));
  return new Set(
    unixSockets(directory)
      .filter(({ inode, listens }) => listens && held.has(inode))
      .map(({ path }) => path),
  );
}

/** The ports of the clients at 127.0.0.1 whose connections to `port` a process holds. */
export function clientPorts(pid: number, port: number): number[] {
  const held = socketInodes(pid);
  const localEnd = `0100007F:${port.toString(16).toUpperCase().padStart(4, '0')}`;
  return read('/proc/net/tcp')
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, , , , , , , , inode = '']) => local === localEnd && held.has(inode))
    .map(([, , remote = '']) => Number.parseInt(remote.split(':')[1] ?? '', 16));
}

/** How many parts of a process's memory are files of `directory`. */
export function mappingCount(pid: number, directory: string): number {
  return read(`/proc/${pid}/maps`)
    .split('\n')
    .filter((line) => line.includes(` ${directory}/`)).length;
}

/** All running processes with these words in their command, in this order. */
export function processesWith(...words: string[]): number[] {
  const part = `\0${words.join('\0')}\0`;
  return processIds().filter(
    (pid) => read(`/proc/${pid}/cmdline`).includes(part) && isRunning(pid),
  );
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

/**
 * Sends a signal; false when the process is gone already. Throws for what is no process: 0 would be
 * our own group, and less than that many more.
 */
export function signal(pid: number, name: NodeJS.Signals): boolean {
  if (!(Number.isInteger(pid) && pid > 1)) throw new Error(`${name} to process ${pid}`);
  try {
    process.kill(pid, name);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
    throw error;
  }
}
