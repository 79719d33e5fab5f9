// SPDX-License-Identifier: Apache-2.0
// A machine that is made up, and a scene on it with everything well.
import { NoManagerError } from '../../control/client.ts';
import type { Check } from '../check.ts';
import type { ClassesRead, ClassPlan } from '../classes.ts';
import type { FileFacts, Host, Manager, Ran } from '../host.ts';
import type { FoundOut, Wanted } from '../report.ts';
import type { Scene } from '../scene.ts';
import { makeScene } from '../scene.ts';

export interface Entry extends Partial<FileFacts> {
  text?: string | Buffer;
  /** A symbolic link to there. */
  link?: string;
  /** Looking at it fails so: EACCES. */
  error?: string;
}

/** By absolute path; a text is a file of root's. Directories on the way are there, of root. */
export type Tree = Record<string, string | Entry>;

export interface FakeMachine {
  files: Tree;
  uid?: number;
  env?: NodeJS.ProcessEnv;
  now?: number;
  free?: number;
  /** undefined = such a program is not there. */
  run?: (program: string, args: string[], input: string) => Partial<Ran> | undefined;
  /** Why nobody answers at an address; default: somebody does. */
  refuses?: Record<string, string>;
  manager?: Partial<Manager>;
}

export const noWishes: Wanted = { runtimeDir: '/run/usher', nginx: [], apache: [], only: [] };

function fail(code: string, path: string): never {
  throw Object.assign(new Error(`${code}: ${path}`), { code });
}

export function fakeHost(machine: FakeMachine): Host {
  const entries = new Map<string, Entry>();
  for (const [path, entry] of Object.entries(machine.files)) {
    for (let at = path; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
      if (!entries.has(at)) entries.set(at, { kind: 'directory', mode: 0o755 });
    }
    entries.set(path, typeof entry === 'string' ? { text: entry } : entry);
  }
  if (!entries.has('/')) entries.set('/', { kind: 'directory', mode: 0o755 });
  const resolveLinks = (path: string): string => {
    const parts = path.split('/').filter((part) => part !== '');
    let at = '';
    for (const part of parts) {
      at = `${at}/${part}`;
      for (let link = entries.get(at)?.link; link !== undefined; link = entries.get(at)?.link)
        at = link === '/' ? '' : link;
    }
    return at === '' ? '/' : at;
  };
  const find = (path: string): Entry => {
    const entry = entries.get(path) ?? fail('ENOENT', path);
    return entry.error === undefined ? entry : fail(entry.error, path);
  };
  const facts = (path: string): FileFacts => {
    const { text, link: _, error: __, ...given } = find(path);
    const size = text === undefined ? 0 : Buffer.byteLength(text);
    const inode = [...path].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 1e9, 7);
    const kind = given.kind ?? 'file';
    return {
      kind,
      mode: kind === 'file' ? 0o644 : 0o755,
      uid: 0,
      gid: 0,
      size,
      mtimeMs: 1,
      dev: 1,
      ino: inode,
      ...given,
    };
  };
  const ran = (program: string, args: string[], input = ''): Ran => {
    const result = machine.run?.(program, args, input);
    return result === undefined
      ? { exitCode: null, output: `spawn ${program} ENOENT` }
      : { exitCode: 0, output: '', ...result };
  };
  const nobody = async (): Promise<never> => {
    throw new NoManagerError('/run/usher/control.sock');
  };
  return {
    uid: machine.uid ?? 0,
    env: machine.env ?? {},
    now: () => machine.now ?? 0,
    bytes(path, offset = 0, length = 8_388_608) {
      const { text, kind = 'file' } = find(resolveLinks(path));
      if (kind !== 'file') fail('EISDIR', path);
      return Buffer.from(text ?? '').subarray(offset, offset + length);
    },
    list(directory) {
      const real = resolveLinks(directory);
      if ((find(real).kind ?? 'file') !== 'directory') fail('ENOTDIR', directory);
      const prefix = real === '/' ? '/' : `${real}/`;
      const inside = [...entries.keys()].filter((path) => path.startsWith(prefix) && path !== real);
      return inside
        .map((path) => path.slice(prefix.length))
        .filter((name) => !name.includes('/') && name !== '');
    },
    stat: (path) => facts(resolveLinks(path)),
    lstat: (path) =>
      find(path).link === undefined ? facts(path) : { ...facts(path), kind: 'link' },
    readlink: (path) => find(path).link ?? fail('EINVAL', path),
    realpath(path) {
      const real = resolveLinks(path);
      find(real);
      return real;
    },
    freeBytes: () => machine.free ?? 1e9,
    run: async (program, args, { input } = {}) => ran(program, args, input),
    inDirectory: (work) => work('/tmp/doctor', (name) => `/tmp/doctor/${name}`),
    connect: async (address) => machine.refuses?.[address] ?? null,
    async probe({ address }) {
      const error = machine.refuses?.[address];
      return error === undefined ? { outcome: 'up' } : { outcome: 'down', error };
    },
    manager: () => ({ ping: nobody, status: nobody, events: nobody, ...machine.manager }),
  };
}

export function plan(changes: Partial<ClassPlan> = {}): ClassPlan {
  return {
    ...{ name: 'app', source: '/etc/nginx/nginx.conf:9', scope: 'static', protocol: 'fastcgi' },
    ...{ program: '/srv/app', cwd: '/srv', user: 'www-data', group: null },
    ...{ path: '/usr/bin:/bin', libraryPath: '', log: null, secretFile: null },
    ...{ allowSetuid: false, fileLimit: null, instances: 4, places: 4, listen: null, backlog: 0 },
    ...{ startsEngines: false, backends: [], authenticates: false, queueLimit: 1024 },
    ...changes,
  };
}

/** @param plans null = the addon cannot be loaded. */
export function fakeScene(
  machine: FakeMachine,
  plans: ClassPlan[] | null = [],
  wanted: Partial<Wanted> = {},
): Scene {
  const read: ClassesRead = { layoutVersion: 4, classes: plans ?? [], errors: [] };
  const isChild = (args: string[]): boolean => args.some((arg) => arg.includes('classes-main'));
  const run: FakeMachine['run'] = (program, args, input) => {
    if (!isChild(args)) return machine.run?.(program, args, input);
    return plans === null
      ? { exitCode: 1, output: 'Error: build/addon.node: invalid ELF header' }
      : { output: JSON.stringify(read) };
  };
  return makeScene(fakeHost({ ...machine, run }), { ...noWishes, ...wanted });
}

/** What one check says: its findings as they are, and in short. */
export async function look(
  checks: readonly Check[],
  id: string,
  scene: Scene,
): Promise<{ found: FoundOut[]; statuses: string; text: string }> {
  const check = checks.find((one) => one.id === id);
  if (check === undefined) throw new Error(`no check ${id}`);
  const found = await check.run(scene);
  const isWorse = check.worst === 'warning' && found.some(({ status }) => status === 'error');
  if (isWorse) throw new Error(`${id} is documented to warn only`);
  return {
    found,
    statuses: found.map(({ status }) => status).join(' '),
    text: found
      .map(({ what, where = '', why = '', fix = '' }) => `${what} | ${where} | ${why} | ${fix}`)
      .join('\n'),
  };
}

/** Lines of /proc/PID of a launcher that runs as root. */
export function launcherFiles(pid: number, words: string[] = [], uid = 0): Tree {
  const args = [
    '/usr/local/lib/usher/build/usher-launcher',
    '--runtime-dir',
    '/run/usher',
    '--mode',
    'external',
  ];
  return processFiles(pid, { comm: 'usher-launcher', words: [...args, ...words], uid });
}

export function processFiles(
  pid: number,
  {
    comm,
    words,
    uid = 0,
    parent = 1,
    exe = `/usr/sbin/${comm}`,
    status = '',
  }: {
    comm: string;
    words: string[];
    uid?: number;
    parent?: number;
    exe?: string;
    status?: string;
  },
): Tree {
  return {
    [`/proc/${pid}/comm`]: `${comm}\n`,
    [`/proc/${pid}/cmdline`]: `${words.join('\0')}\0`,
    [`/proc/${pid}/status`]: `Name:\t${comm}\nPPid:\t${parent}\nUid:\t${uid}\t${uid}\t${uid}\t${uid}\n${status}`,
    [`/proc/${pid}/exe`]: { link: exe },
    [exe]: '',
    [`/proc/${pid}/root`]: { link: '/' },
  };
}
