// SPDX-License-Identifier: Apache-2.0
// Can the runtime directory be used, and do all see the same one?
import { octal } from '../accounts.ts';
import { type Check, count, failure, ok, skipped, some, warning } from '../check.ts';
import { attempt, codeOf, type FileFacts, type Host, isDenied, textOf } from '../host.ts';
import { mastersOf, programName, seesAnother } from '../processes.ts';
import type { FoundOut } from '../report.ts';
import type { RuntimeDirectory, Scene } from '../scene.ts';

/** sun_path, without the NUL. */
const addressBytes = 107;
/** "/apache-7c01ab52/" and a socket's name. */
const inSide = 1 + 15 + 1 + 24;

const directory: Check = {
  id: 'runtime-directory',
  group: 'Runtime directory',
  looksAt: 'owner, mode and length of its path',
  worst: 'error',
  remedy: '`chown`, `chmod` as it says; a shorter path',
  run(scene) {
    if (scene.runtimeDirs.length === 0) {
      return [
        skipped('which runtime directory is meant is not known', {
          why: 'XDG_RUNTIME_DIR is not set: give --runtime-dir',
        }),
      ];
    }
    return scene.runtimeDirs.flatMap((dir) => [...lengthOf(dir.path), directoryOf(scene, dir)]);
  },
};

function lengthOf(path: string): FoundOut[] {
  const room = addressBytes - inSide;
  if (Buffer.byteLength(path) <= room) return [];
  const why = `the kernel allows addresses of ${addressBytes} bytes, of which names inside of it need ${inSide}`;
  const fix = `a path of at most ${room} bytes, below /run say`;
  return [
    failure(`its path is too long for sockets: ${Buffer.byteLength(path)} bytes`, fix, {
      where: path,
      why,
    }),
  ];
}

function directoryOf({ host }: Scene, { path, launcher }: RuntimeDirectory): FoundOut {
  let facts: FileFacts;
  try {
    facts = host.lstat(path);
  } catch (error) {
    if (isDenied(error)) return skipped('not ours to see', { where: path, why: 'be root' });
    if (codeOf(error) === '') throw error;
    if (launcher === null)
      return skipped('not there: the first web server or manager makes it', { where: path });
    const why = `the launcher, pid ${launcher.pid}, still has it open`;
    return failure(
      'it was removed under a running manager',
      'restart the web servers and the manager',
      { where: path, why },
    );
  }
  return judge(path, facts, launcher?.uid ?? host.uid);
}

/** What native/registration and the launcher demand of it. @param uid Whose manager it is for. */
export function judge(path: string, { kind, uid: owner, mode }: FileFacts, uid: number): FoundOut {
  const where = path;
  if (kind !== 'directory') {
    return failure('it is no directory', 'remove what is there, or name another place', { where });
  }
  if (owner !== uid && owner !== 0) {
    const fix = `chown ${uid} ${path}, or remove it while nothing runs`;
    return failure(`it belongs to user ${owner}`, fix, {
      where,
      why: 'servers and launcher refuse a directory of somebody else',
    });
  }
  if ((mode & 0o022) !== 0) {
    const fix = `chmod ${owner === 0 ? '0711' : '0700'} ${path}`;
    return failure(`others may write to it (mode ${octal(mode)})`, fix, {
      where,
      why: 'servers and launcher refuse it: anybody could put sockets there',
    });
  }
  if (owner === 0 && (mode & 0o001) === 0) {
    const why = 'workers of web servers that are not root cannot reach their sockets';
    return failure(`workers may not pass it (mode ${octal(mode)})`, `chmod 0711 ${path}`, {
      where,
      why,
    });
  }
  return ok(`owner ${owner}, mode ${octal(mode)}`, { where });
}

const networked = /^(nfs4?|cifs|smb3?|9p|fuse\..*|fuse|ceph|glusterfs|afs|vboxsf)$/;
const leastBytes = 16 * 1024 ** 2;

const fileSystem: Check = {
  id: 'runtime-file-system',
  group: 'Runtime directory',
  looksAt: 'whether its file system can hold sockets and shared memory, is writable and has room',
  worst: 'error',
  remedy: 'a directory on tmpfs, such as `/run/usher`',
  run({ host, runtimeDirs }) {
    return runtimeDirs.flatMap(({ path }) => {
      const there = nearest(host, path);
      const mount = mountOf(textOf(host, '/proc/self/mountinfo') ?? '', there);
      if (mount === null) return [skipped('its file system is not known', { where: path })];
      return [fileSystemOf(host, path, there, mount)];
    });
  },
};

function fileSystemOf(host: Host, path: string, there: string, mount: Mount): FoundOut {
  const where = path;
  if (networked.test(mount.type)) {
    const why =
      'memory is not shared between processes there as it must be, and sockets may not work';
    return failure(`it is on ${mount.type}`, 'take a directory on tmpfs, such as /run/usher', {
      where,
      why,
    });
  }
  if (mount.isReadOnly) {
    return failure(
      `its file system (${mount.point}) is read-only`,
      'take another directory, or mount it for writing',
      { where },
    );
  }
  const free = attempt(() => host.freeBytes(there));
  if (free !== null && free < leastBytes) {
    const why = 'the channel needs some megabytes, and a bus error ends who finds no room';
    return failure(
      `only ${Math.round(free / 1024)} kB are free on ${mount.point}`,
      'make room, or a larger tmpfs',
      { where, why },
    );
  }
  return ok(`on ${mount.type} (${mount.point})`, { where });
}

/** The path, or the directory above it that is there. */
function nearest(host: Host, path: string): string {
  for (let at = path; at !== ''; at = at.slice(0, at.lastIndexOf('/'))) {
    const real = attempt(() => host.realpath(at));
    if (real !== null) return real;
  }
  return '/';
}

export interface Mount {
  point: string;
  type: string;
  isReadOnly: boolean;
  isNoexec: boolean;
}

/** @param mountinfo Of /proc/PID/mountinfo. */
export function mountOf(mountinfo: string, path: string): Mount | null {
  let best: Mount | null = null;
  for (const line of mountinfo.split('\n')) {
    const [before = '', after = ''] = line.split(' - ');
    const [, , , , point = '', options = ''] = before.split(' ');
    if (point === '') continue;
    const isAbove = path === point || path.startsWith(point === '/' ? '/' : `${point}/`);
    if (!isAbove || (best !== null && best.point.length > point.length)) continue;
    const words = options.split(',');
    const isReadOnly = words.includes('ro');
    const isNoexec = words.includes('noexec');
    best = { point, type: after.split(' ')[0] ?? '', isReadOnly, isNoexec };
  }
  return best;
}

const stale: Check = {
  id: 'runtime-leftovers',
  group: 'Runtime directory',
  looksAt: 'registrations of web servers that have ended, where no manager removes them',
  worst: 'warning',
  remedy: 'start a server or manager with it, or remove the directory',
  async run(scene) {
    const found = scene.runtimeDirs.map(async (dir): Promise<FoundOut[]> => {
      if (dir.registrations === null) {
        const isThere = attempt(() => scene.host.lstat(dir.path)) !== null;
        return isThere
          ? [
              skipped('registrations are not ours to see', {
                where: dir.path,
                why: 'be its owner, or root',
              }),
            ]
          : [];
      }
      const view = await scene.manager(dir.path);
      if (view.state !== 'none' || dir.launcher !== null) return [];
      const dead = dir.registrations.filter(
        ({ pid }) => textOf(scene.host, `/proc/${pid}/comm`) === null,
      );
      if (dead.length === 0) return [];
      const names = some(dead.map(({ server }) => server));
      const fix = `start a web server or manager with it, or, if none is to come: rm -r ${dir.path}`;
      return [
        warning(`left by ${count(dead.length, 'server')} that ended: ${names}`, fix, {
          where: `${dir.path}/servers`,
        }),
      ];
    });
    return (await Promise.all(found)).flat();
  },
};

const view: Check = {
  id: 'runtime-view',
  group: 'Runtime directory',
  looksAt:
    'whether web servers, launcher and you see the same directory at its path: `PrivateTmp`, containers',
  worst: 'error',
  remedy: 'a directory below `/run`',
  run(scene) {
    return scene.runtimeDirs.flatMap((dir) => viewOf(scene, dir));
  },
};

function viewOf({ host, processes, configurations }: Scene, dir: RuntimeDirectory): FoundOut[] {
  const registered = new Set((dir.registrations ?? []).map(({ pid }) => pid));
  const named = new Set(
    configurations
      .filter(({ facts }) => facts?.runtimeDir?.path === dir.path)
      .map(({ master }) => master?.pid),
  );
  const masters = [...mastersOf(processes, 'nginx'), ...mastersOf(processes, 'apache')];
  const all = [
    ...masters.filter(({ pid }) => registered.has(pid) || named.has(pid)),
    ...(dir.launcher === null ? [] : [dir.launcher]),
  ];
  const seen: number[] = [];
  const found: FoundOut[] = [];
  for (const one of all) {
    const who = `${programName(one)}, pid ${one.pid}`;
    const isVisible = attempt(() => host.stat(`/proc/${one.pid}/root/`)) !== null;
    if (!isVisible) {
      const what = `what ${who} sees is not ours to see`;
      found.push(skipped(what, { where: dir.path, why: 'be root' }));
    } else if (seesAnother(host, one.pid, dir.path)) {
      found.push(otherView(host, dir.path, who, one.pid));
    } else seen.push(one.pid);
  }
  if (found.length > 0 || seen.length === 0) return found;
  return [ok(`seen alike by ${count(seen.length, 'process', 'processes')}`, { where: dir.path })];
}

function otherView(host: Host, path: string, who: string, pid: number): FoundOut {
  const isTemporary = /^\/(var\/)?tmp\//.test(path);
  const mount = mountOf(textOf(host, `/proc/${pid}/mountinfo`) ?? '', path);
  const why = isTemporary
    ? 'its unit has PrivateTmp=yes, most likely: its /tmp and /var/tmp are its own'
    : `it has ${mount?.point ?? 'something else'} mounted there: a container, or a unit with its own mounts`;
  return failure(
    `${who} sees another directory there`,
    'name a directory below /run for all of them: /run/usher',
    { where: path, why },
  );
}

export const runtimeDirectoryChecks: readonly Check[] = [directory, fileSystem, stale, view];
