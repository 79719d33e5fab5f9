// SPDX-License-Identifier: Apache-2.0
// The masters of registered web servers: found by the workers that hold the server's live file open,
// checked and reloaded by their own means.
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { basename, join } from 'node:path';
import type { ServerStatus } from '../control/messages.ts';

export interface MasterFound {
  pid: number;
  signal: 'SIGHUP' | 'SIGUSR1';
  /** The command that tests its configuration. */
  program: string;
  args: string[];
  env: NodeJS.ProcessEnv;
}

const CHECK_MS = 60_000;

/** null = it is not there, another user's, or no server that we know how to reload. */
export function findMaster(
  runtimeDir: string,
  { name, kind }: Pick<ServerStatus, 'name' | 'kind'>,
): MasterFound | null {
  if (kind !== 'nginx' && kind !== 'apache') return null;
  try {
    const live = realpathSync(join(runtimeDir, name, 'live'));
    const holders = processes().filter((pid) => holds(pid, live));
    const master = holders.map((pid) => masterOf(pid, kind)).find((pid) => pid !== null);
    return master === undefined || master === null ? null : described(master, kind);
  } catch {
    return null;
  }
}

function processes(): number[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number);
}

function holds(pid: number, file: string): boolean {
  try {
    const folder = `/proc/${pid}/fd`;
    return readdirSync(folder).some((fd) => readlinkSync(`${folder}/${fd}`) === file);
  } catch {
    return false; // it has ended, or is not ours to look at
  }
}

function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** null = it has none, or has ended. */
function masterOf(worker: number, kind: 'nginx' | 'apache'): number | null {
  try {
    const parent = parentOf(worker);
    return isMaster(parent, worker, kind) ? parent : null;
  } catch {
    return null;
  }
}

/** Whoever may open the live file could show us anything as its parent: the program that we are going to
 * run, as who we are, must be ours already. */
function isMaster(pid: number, worker: number, kind: 'nginx' | 'apache'): boolean {
  const program = readlinkSync(`/proc/${pid}/exe`);
  if (!isOurs(pid) || program !== readlinkSync(`/proc/${worker}/exe`)) return false;
  if (kind === 'nginx')
    return words(pid, 'cmdline')[0]?.startsWith('nginx: master process') === true;
  return basename(program) !== 'usher-launcher';
}

/** By every user id that a process has: one of a program with the set-user-ID bit is another's. */
function isOurs(pid: number): boolean {
  const [, ids = ''] = /^Uid:\s+(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? [];
  return ids.split(/\s+/).every((id) => id === String(process.getuid?.()));
}

function words(pid: number, file: 'cmdline' | 'environ'): string[] {
  return readFileSync(`/proc/${pid}/${file}`, 'utf8')
    .split('\0')
    .filter((word) => word !== '');
}

function described(pid: number, kind: 'nginx' | 'apache'): MasterFound {
  const program = readlinkSync(`/proc/${pid}/exe`).replace(/ \(deleted\)$/, '');
  if (kind === 'nginx') {
    const args = [...nginxArgs(words(pid, 'cmdline').join(' ')), '-t', '-q'];
    return { pid, signal: 'SIGHUP', program, args, env: process.env };
  }
  const args = [...apacheArgs(words(pid, 'cmdline').slice(1)), '-t'];
  const env = Object.fromEntries(words(pid, 'environ').map((pair) => splitOnce(pair)));
  return { pid, signal: 'SIGUSR1', program, args, env };
}

/** nginx shows its arguments in its title, in one text; each option that matters has a value. */
export function nginxArgs(title: string): string[] {
  const [, text = ''] = /^nginx: master process \S+(.*)$/s.exec(title.trim()) ?? [];
  return [...text.matchAll(/ (-[pceg]) ?(.*?)(?= -[pcegqtTvVs]|$)/gs)].flatMap(
    ([, option, value]) => [option ?? '', (value ?? '').trim()],
  );
}

/** Without what makes it start. */
export function apacheArgs(args: readonly string[]): string[] {
  return args.filter((word, i) => word !== '-k' && args[i - 1] !== '-k' && word !== '-X');
}

function splitOnce(pair: string): [string, string] {
  const at = pair.indexOf('=');
  return [pair.slice(0, at), pair.slice(at + 1)];
}

/** Checks its configuration and has it reload. Resolves with why not, or null. */
export async function reloadWith(master: MasterFound): Promise<string | null> {
  const { exitCode, output } = await run(master);
  if (exitCode !== 0) return `its configuration cannot be used:\n${output.trimEnd()}`;
  try {
    process.kill(master.pid, master.signal);
    return null;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    const who = `its master, pid ${master.pid}`;
    return code === 'EPERM' ? `no permission to signal ${who}: be root` : `${who}: ${code}`;
  }
}

function run({ program, args, env }: MasterFound): Promise<{ exitCode: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(program, args, {
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: CHECK_MS,
    });
    let output = '';
    const add = (text: string): void => {
      output += text;
    };
    child.stdout.setEncoding('utf8').on('data', add);
    child.stderr.setEncoding('utf8').on('data', add);
    child.once('error', (error) => resolve({ exitCode: -1, output: error.message }));
    child.once('close', (status) => resolve({ exitCode: status ?? -1, output }));
  });
}
