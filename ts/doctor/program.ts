// SPDX-License-Identifier: Apache-2.0
// What would keep a program from being started as a user, looked at without starting it; causes and hints
// are those of a start that has failed (native/launcher/exec_failure.c, ts/manager/hints.ts).
import { dirname, isAbsolute, join } from 'node:path';
import type { JourneyCause } from '../control/messages.ts';
import { type Account, barrierTo, directoriesOf, isAllowed, octal } from './accounts.ts';
import { mountOf } from './checks/runtime-directory.ts';
import { type Elf, readElf, readLoaderCache } from './elf.ts';
import { attempt, codeOf, type FileFacts, type Host, isDenied, textOf } from './host.ts';

export interface Obstacle {
  cause: JourneyCause;
  what: string;
  where: string;
}

export interface Surroundings {
  account: Account;
  /** PATH and LD_LIBRARY_PATH of its environment. */
  path: string;
  libraryPath: string;
}

/** null = nothing is known to be in the way. @throws With code EACCES where it is not ours to see. */
export function findObstacle(host: Host, program: string, around: Surroundings): Obstacle | null {
  if (!isAbsolute(program)) {
    return {
      cause: 'file-missing',
      what: `${program} is in none of the usual directories`,
      where: program,
    };
  }
  return (
    onTheWay(host, program, around.account) ??
    ofFile(host, program, around.account) ??
    ofContent(host, program, around)
  );
}

function onTheWay(host: Host, program: string, account: Account): Obstacle | null {
  const barrier = barrierTo(host, program, account);
  if (barrier !== null) {
    const { mode, uid, gid } = host.stat(barrier);
    const what = `${account.name} may not pass ${barrier} (mode ${octal(mode)}, owner ${uid}, group ${gid})`;
    return { cause: 'path-denied', what, where: program };
  }
  const missing = directoriesOf(program).find((directory) => isMissing(host, directory));
  if (missing !== undefined) {
    return {
      cause: 'file-missing',
      what: `the directory ${missing} does not exist`,
      where: program,
    };
  }
  return isMissing(host, program)
    ? { cause: 'file-missing', what: 'the program does not exist', where: program }
    : null;
}

/** @throws With code EACCES. */
function isMissing(host: Host, path: string): boolean {
  try {
    host.stat(path);
    return false;
  } catch (error) {
    if (isDenied(error) || codeOf(error) === '') throw error;
    return true;
  }
}

function ofFile(host: Host, program: string, account: Account): Obstacle | null {
  const facts: FileFacts = host.stat(program);
  const where = program;
  if (facts.kind === 'directory')
    return { cause: 'is-directory', what: 'it is a directory', where };
  if (!isAllowed(facts, account, 'execute')) {
    const what = `mode ${octal(facts.mode)}, owner ${facts.uid}, does not let ${account.name} execute it`;
    return { cause: 'not-executable', what, where };
  }
  const mounts = textOf(host, '/proc/self/mountinfo') ?? '';
  const mount = mountOf(mounts, attempt(() => host.realpath(program)) ?? program);
  if (!mount?.isNoexec) return null;
  return {
    cause: 'not-executable',
    what: `its file system (${mount.point}) is mounted noexec`,
    where,
  };
}

const mostLibraries = 200;

function ofContent(host: Host, program: string, around: Surroundings): Obstacle | null {
  const head = host.bytes(program, 0, 4096);
  const where = program;
  if (head.length === 0) return { cause: 'no-program', what: 'the file is empty', where };
  if (head.toString('latin1', 0, 2) === '#!') return ofScript(host, program, head, around);
  const elf = readElf((offset, length) => host.bytes(program, offset, length));
  if (elf !== null) return ofElf(host, program, elf, around);
  const isMarked = head.toString('latin1', 0, 5) === '\xEF\xBB\xBF#!';
  const what = isMarked
    ? 'a byte order mark stands before its #! line, which is none then'
    : 'it has no #! line and is not a program';
  return { cause: 'no-program', what, where };
}

function ofScript(
  host: Host,
  program: string,
  head: Buffer,
  { account, path }: Surroundings,
): Obstacle | null {
  const where = program;
  const line = head.toString('utf8', 2).split('\n')[0] ?? '';
  const [interpreter = '', ...words] = line.trim().split(/[ \t]+/);
  const missing = isMissing(host, interpreter.startsWith('/') ? interpreter : `/${interpreter}`);
  if (line.endsWith('\r')) {
    return { cause: 'interpreter-crlf', what: `its #! line (${interpreter}) ends in CR LF`, where };
  }
  if (missing) {
    return {
      cause: 'interpreter-missing',
      what: `the interpreter ${interpreter} of its #! line is missing`,
      where,
    };
  }
  if (!isAllowed(host.stat(interpreter), account, 'execute')) {
    return {
      cause: 'not-executable',
      what: `${account.name} may not execute its interpreter ${interpreter}`,
      where,
    };
  }
  const name = interpreter.endsWith('/env') ? words.find((word) => !/^-|=/.test(word)) : undefined;
  if (name === undefined || name.includes('/')) return null;
  const isThere = path
    .split(':')
    .some((folder) => attempt(() => host.stat(join(folder, name))) !== null);
  if (isThere) return null;
  const what = `env finds no ${name} in the program's PATH (${path})`;
  return { cause: 'interpreter-missing', what, where };
}

function ofElf(host: Host, program: string, elf: Elf, around: Surroundings): Obstacle | null {
  const where = program;
  const own = readElf((offset, length) => host.bytes('/proc/self/exe', offset, length));
  const machines = new Set([own?.machine, own?.machine === 62 ? 3 : own?.machine]);
  if (own !== null && !machines.has(elf.machine)) {
    return { cause: 'wrong-architecture', what: 'it is a program for another machine', where };
  }
  if (elf.loader === null) return null;
  if (isMissing(host, elf.loader)) {
    return {
      cause: 'library-missing',
      what: `the loader that it names is missing: ${elf.loader}`,
      where,
    };
  }
  const missing = missingLibrary(host, program, elf, around);
  if (missing === null) return null;
  const { library, by } = missing;
  const who = by === program ? 'it' : by;
  return { cause: 'library-missing', what: `${who} needs ${library}, which is nowhere`, where };
}

/** As the loader searches: RUNPATH, LD_LIBRARY_PATH, its cache, its own directories. */
function missingLibrary(
  host: Host,
  program: string,
  elf: Elf,
  { libraryPath }: Surroundings,
): { library: string; by: string } | null {
  const cache = readLoaderCache(attempt(() => host.bytes('/etc/ld.so.cache')) ?? Buffer.alloc(0));
  const usual = [
    '/lib',
    '/usr/lib',
    '/lib64',
    '/usr/lib64',
    '/usr/local/lib',
    dirname(elf.loader ?? '/lib/ld'),
  ];
  const seen = new Set<string>();
  const open: [file: string, elf: Elf][] = [[program, elf]];
  for (
    let next = open.shift();
    next !== undefined && seen.size < mostLibraries;
    next = open.shift()
  ) {
    const [file, { libraries, paths }] = next;
    const folder = dirname(attempt(() => host.realpath(file)) ?? file);
    const own = paths.map((path) => path.replace(/\$\{?ORIGIN\}?/g, folder));
    const folders = [
      ...own,
      ...elf.paths.map((path) => path.replace(/\$\{?ORIGIN\}?/g, dirname(program))),
      ...libraryPath.split(':'),
      ...usual,
    ];
    for (const library of libraries) {
      if (seen.has(library)) continue;
      seen.add(library);
      const candidates = library.includes('/')
        ? [library]
        : [
            ...folders.filter((one) => one.startsWith('/')).map((one) => join(one, library)),
            cache.get(library) ?? '',
          ];
      const found = candidates.find(
        (path) => path !== '' && attempt(() => host.stat(path)) !== null,
      );
      if (found === undefined) return { library, by: file };
      const inner = attempt(() => readElf((offset, length) => host.bytes(found, offset, length)));
      if (inner) open.push([found, inner]);
    }
  }
  return null;
}
