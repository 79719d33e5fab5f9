// SPDX-License-Identifier: Apache-2.0
// What installing needs of the machine beside its files, handed in so that tests can say how it is.
import { spawn } from 'node:child_process';
import { existsSync, readdirSync, readlinkSync } from 'node:fs';
import { faultOfFolder } from './trust.ts';

export interface Outcome {
  /** null = there is no such program. */
  status: number | null;
  /** What it wrote, on both channels. */
  output: string;
}

export interface Host {
  uid: number;
  /** Whether systemd is what runs this machine. */
  hasSystemd: boolean;
  /** The Node that runs this. */
  node: string;
  /** The folder of the package that this is. */
  source: string;
  /** Why what stands below a folder can be changed by others than root, or not be read by all. */
  faultOfFolder(path: string): string | null;
  run(program: string, args: string[], folder?: string): Promise<Outcome>;
  /** Of all processes, the files that they execute. */
  executables(): { pid: number; path: string }[];
  /** Of the managers whose launchers are among these processes. */
  runtimeDirs(pids: number[]): string[];
}

const searched = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @param source The folder of the package. */
export function thisHost(source: string, env: NodeJS.ProcessEnv): Omit<Host, 'runtimeDirs'> {
  return {
    uid: process.getuid?.() ?? -1,
    hasSystemd: existsSync('/run/systemd/system'),
    node: process.execPath,
    source,
    faultOfFolder,
    run: (program, args, folder) => run(program, args, env, folder),
    executables,
  };
}

/** Servers are in /usr/sbin, which not everybody has in PATH. */
function run(
  program: string,
  args: string[],
  env: NodeJS.ProcessEnv,
  folder = '/',
): Promise<Outcome> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      cwd: folder,
      env: { ...env, PATH: `${env.PATH ?? ''}:${searched}`, LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    const add = (text: string): void => {
      output += text;
    };
    child.stdout.setEncoding('utf8').on('data', add);
    child.stderr.setEncoding('utf8').on('data', add);
    child.once('error', (error: NodeJS.ErrnoException) => {
      const isMissing = error.code === 'ENOENT';
      resolve(isMissing ? { status: null, output: '' } : { status: 126, output: error.message });
    });
    child.once('close', (status) => resolve({ status: status ?? 128, output }));
  });
}

function executables(): { pid: number; path: string }[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const path = readlinkSync(`/proc/${name}/exe`).replace(/ \(deleted\)$/, '');
        return [{ pid: Number(name), path }];
      } catch {
        return []; // a thread of the kernel, or it has ended
      }
    });
}
