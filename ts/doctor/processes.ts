// SPDX-License-Identifier: Apache-2.0
// Launchers and web servers that run here, with what /proc tells of each.
import { basename } from 'node:path';
import { attempt, type Host, textOf, wordsOf } from './host.ts';

export interface RunningProcess {
  pid: number;
  parent: number;
  uid: number;
  kind: 'launcher' | 'nginx' | 'apache';
  /** null = not ours to see. */
  program: string | null;
  /** Its arguments, the program first; of nginx the title. */
  words: string[];
}

const kinds: Readonly<Record<string, RunningProcess['kind']>> = {
  'usher-launcher': 'launcher',
  nginx: 'nginx',
  apache2: 'apache',
  httpd: 'apache',
};

export function readProcesses(host: Host): RunningProcess[] {
  const pids = (attempt(() => host.list('/proc')) ?? []).filter((name) => /^\d+$/.test(name));
  return pids.flatMap((pid) => readProcess(host, Number(pid)) ?? []);
}

function readProcess(host: Host, pid: number): RunningProcess | null {
  const kind = kinds[textOf(host, `/proc/${pid}/comm`)?.trim() ?? ''];
  if (kind === undefined) return null;
  const words = wordsOf(host, `/proc/${pid}/cmdline`);
  const isLauncher = words.includes('--runtime-dir') && !words.includes('--standby-of');
  if (kind === 'launcher' && !isLauncher) return null;
  const status = textOf(host, `/proc/${pid}/status`);
  if (status === null) return null;
  return {
    pid,
    kind,
    words,
    parent: Number(field(status, 'PPid')),
    uid: Number(field(status, 'Uid').split(/\s+/)[0]),
    program: attempt(() => host.readlink(`/proc/${pid}/exe`)),
  };
}

/** Of /proc/PID/status; '' = it has none of that name. */
export function field(status: string, name: string): string {
  return new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(status)?.[1] ?? '';
}

/** Those whose parent is no server of that program. */
export function mastersOf(
  processes: readonly RunningProcess[],
  kind: 'nginx' | 'apache',
): RunningProcess[] {
  const all = processes.filter((one) => one.kind === kind);
  const pids = new Set(all.map(({ pid }) => pid));
  return all.filter(({ parent, words }) =>
    kind === 'nginx' ? words[0]?.startsWith('nginx: master process') : !pids.has(parent),
  );
}

/** One for each runtime directory. Not those that see another directory at that path, as in a container. */
export function launchersOf(
  host: Host,
  processes: readonly RunningProcess[],
): Map<string, RunningProcess> {
  const found = new Map<string, RunningProcess>();
  for (const one of processes) {
    const dir = argument(one.words, '--runtime-dir');
    if (one.kind !== 'launcher' || dir === null || seesAnother(host, one.pid, dir)) continue;
    const known = found.get(dir);
    if (known === undefined || one.pid < known.pid) found.set(dir, one);
  }
  return found;
}

/** False also where that cannot be seen. */
export function seesAnother(host: Host, pid: number, path: string): boolean {
  if (attempt(() => host.stat(`/proc/${pid}/root/`)) === null) return false;
  const theirs = attempt(() => host.stat(`/proc/${pid}/root${path}`));
  const ours = attempt(() => host.stat(path));
  return theirs?.dev !== ours?.dev || theirs?.ino !== ours?.ino;
}

/** The word behind an option. */
export function argument(words: readonly string[], option: string): string | null {
  const at = words.indexOf(option);
  return at === -1 ? null : (words[at + 1] ?? null);
}

export function programName({ program, kind }: RunningProcess): string {
  if (program !== null) return basename(program);
  return kind === 'launcher' ? 'usher-launcher' : kind;
}
