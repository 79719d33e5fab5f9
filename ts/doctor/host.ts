// SPDX-License-Identifier: Apache-2.0
// The machine as checks see it; tests make one up. What cannot be seen throws an error with a code.
import { spawn } from 'node:child_process';
import {
  closeSync,
  constants,
  fstatSync,
  lstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  realpathSync,
  rmSync,
  type Stats,
  statfsSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { connect as connectTo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ControlClient } from '../control/client.ts';
import { type BackendAddress, parseAddress } from '../gateways/ajp/address.ts';
import { type EngineLook, probeEngine, type Question } from '../gateways/ajp/engine-probe.ts';

export interface FileFacts {
  kind: 'file' | 'directory' | 'socket' | 'link' | 'other';
  /** The permission bits, with set-user-ID and sticky. */
  mode: number;
  uid: number;
  gid: number;
  size: number;
  mtimeMs: number;
  dev: number;
  ino: number;
}

export interface Ran {
  /** null = it could not be started, was killed or took too long; `output` says so. */
  exitCode: number | null;
  /** Standard output and error. */
  output: string;
}

export interface RunOptions {
  env?: NodeJS.ProcessEnv;
  timeoutMs?: number;
  input?: string;
}

export type Manager = Pick<ControlClient, 'ping' | 'status' | 'events'>;

export interface Host {
  readonly uid: number;
  readonly env: NodeJS.ProcessEnv;
  /** ms since 1970. */
  now(): number;
  /** Of a file, nothing else; at most `length` bytes, by default 8 MB. */
  bytes(path: string, offset?: number, length?: number): Buffer;
  list(directory: string): string[];
  stat(path: string): FileFacts;
  lstat(path: string): FileFacts;
  readlink(path: string): string;
  realpath(path: string): string;
  freeBytes(path: string): number;
  run(program: string, args: string[], options?: RunOptions): Promise<Ran>;
  /** With an empty directory that goes away; `write` makes a file in it and gives its path. */
  inDirectory<Result>(
    work: (directory: string, write: (name: string, text: string) => string) => Promise<Result>,
  ): Promise<Result>;
  /** Resolves with why not, or null. @param address host:port, [v6]:port or unix:/path. */
  connect(address: string, timeoutMs: number): Promise<string | null>;
  probe(question: Question, timeoutMs: number): Promise<EngineLook>;
  manager(runtimeDir: string, timeoutMs: number): Manager;
}

const mostBytes = 8 * 1024 * 1024;

export const thisHost: Host = {
  uid: process.getuid?.() ?? -1,
  env: process.env,
  now: () => Date.now(),
  bytes,
  list: (directory) => readdirSync(directory),
  stat: (path) => factsOf(statSync(path)),
  lstat: (path) => factsOf(lstatSync(path)),
  readlink: (path) => readlinkSync(path),
  realpath: (path) => realpathSync(path),
  freeBytes(path) {
    const { bavail, bsize } = statfsSync(path);
    return bavail * bsize;
  },
  run,
  async inDirectory(work) {
    const directory = mkdtempSync(join(tmpdir(), 'usher-doctor-'));
    try {
      return await work(directory, (name, text) => {
        const path = join(directory, name);
        writeFileSync(path, text);
        return path;
      });
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  connect,
  probe: probeEngine,
  manager: (runtimeDir, timeoutMs) => new ControlClient(runtimeDir, { timeoutMs }),
};

/** A pipe or device is not waited for. */
function bytes(path: string, offset = 0, length = mostBytes): Buffer {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    if (!fstatSync(fd).isFile())
      throw Object.assign(new Error(`${path}: no file`), { code: 'EINVAL' });
    const chunks: Buffer[] = [];
    for (let at = 0; at < length; ) {
      const chunk = Buffer.alloc(Math.min(length - at, 64 * 1024));
      const read = readSync(fd, chunk, 0, chunk.length, offset + at);
      if (read === 0) break;
      chunks.push(chunk.subarray(0, read));
      at += read;
    }
    return Buffer.concat(chunks);
  } finally {
    closeSync(fd);
  }
}

function factsOf(stats: Stats): FileFacts {
  const { mode, uid, gid, size, mtimeMs, dev, ino } = stats;
  return { kind: kindOf(stats), mode: mode & 0o7777, uid, gid, size, mtimeMs, dev, ino };
}

function kindOf(stats: Stats): FileFacts['kind'] {
  if (stats.isFile()) return 'file';
  if (stats.isDirectory()) return 'directory';
  if (stats.isSymbolicLink()) return 'link';
  return stats.isSocket() ? 'socket' : 'other';
}

function run(
  program: string,
  args: string[],
  { env = process.env, timeoutMs = 5000, input }: RunOptions = {},
): Promise<Ran> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      env,
      stdio: [input === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
    });
    let output = '';
    const add = (text: string): void => {
      if (output.length < mostBytes) output += text;
    };
    child.stdout?.setEncoding('utf8').on('data', add);
    child.stderr?.setEncoding('utf8').on('data', add);
    child.stdin?.on('error', () => undefined).end(input); // it may end without reading
    child.once('error', (error) => resolve({ exitCode: null, output: error.message }));
    child.once('close', (status, signal) => {
      const ending = signal === null ? '' : `${program} was ended by ${signal}`;
      resolve({ exitCode: status, output: output + ending });
    });
  });
}

function connect(address: string, timeoutMs: number): Promise<string | null> {
  let place: BackendAddress;
  try {
    place = parseAddress(address);
  } catch (error) {
    return Promise.resolve((error as Error).message);
  }
  return new Promise((resolve) => {
    const socket = connectTo(place);
    const done = (reason: string | null): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(reason);
    };
    const timer = setTimeout(() => done(`no answer within ${timeoutMs / 1000} s`), timeoutMs);
    socket.once('connect', () => done(null));
    socket.once('error', (error) => done(error.message));
  });
}

// ---- what may not be there

export function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? '';
}

export function isDenied(error: unknown): boolean {
  return ['EACCES', 'EPERM'].includes(codeOf(error));
}

/** null = it is not there, or not ours to see. */
export function attempt<Result>(look: () => Result): Result | null {
  try {
    return look();
  } catch (error) {
    if (codeOf(error) === '') throw error;
    return null;
  }
}

export function textOf(host: Host, path: string): string | null {
  return attempt(() => host.bytes(path).toString('utf8'));
}

/** The words that /proc keeps with NULs between them. */
export function wordsOf(host: Host, path: string): string[] {
  const text = textOf(host, path) ?? '';
  return text.split('\0').filter((word) => word !== '');
}
