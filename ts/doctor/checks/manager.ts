// SPDX-License-Identifier: Apache-2.0
// Is there a manager where one should be, does it answer, and is it the one that is installed?
import { dirname } from 'node:path';
import { type Check, count, failure, ok, orOk, skipped, warning } from '../check.ts';
import { codeOf, isDenied, textOf } from '../host.ts';
import { argument, launchersOf } from '../processes.ts';
import type { FoundOut } from '../report.ts';
import { type ManagerView, type RuntimeDirectory, runtimeDirOf, type Scene } from '../scene.ts';
import { usherConfigurations } from './web-servers.ts';

const manager: Check = {
  id: 'manager',
  group: 'Manager',
  looksAt:
    'whether a manager answers where a running web server, or one that says `external`, needs one',
  worst: 'error',
  remedy: 'start it: the service, `usher run`, or a reload of the web server',
  async run(scene) {
    const found = scene.runtimeDirs.map(async (dir) =>
      managerOf(scene, dir, await scene.manager(dir.path)),
    );
    return Promise.all(found);
  },
};

function managerOf(scene: Scene, dir: RuntimeDirectory, view: ManagerView): FoundOut {
  const where = dir.path;
  switch (view.state) {
    case 'alive':
      return ok(`the manager answers: pid ${view.pong.pid}, version ${view.pong.version}`, {
        where,
      });
    case 'denied':
      return skipped('another user’s manager', { where, why: view.trouble });
    case 'silent': {
      const why =
        'it is busy or stopped; requests are served meanwhile, and one that hangs is replaced after 15 s';
      return failure('the manager does not answer', 'look again in a minute, then into its log', {
        where,
        why,
      });
    }
    case 'broken':
      return failure('what listens is no manager', 'look who it is: ss -lxp', {
        where,
        why: view.trouble,
      });
    case 'none':
      return noManager(scene, dir);
  }
}

function noManager(scene: Scene, dir: RuntimeDirectory): FoundOut {
  const where = dir.path;
  const users = usherConfigurations(scene).filter(
    (one) => one.facts.loads.length > 0 && runtimeDirOf(scene.host, one) === dir.path,
  );
  const external = users.find(({ facts }) => facts.mode?.name === 'external');
  if (external !== undefined) {
    const what = `${external.facts.mode?.place} says external, and no manager runs`;
    const fix = 'systemctl start usher (docs/systemd.md), or usher run FILE; or say embedded there';
    return failure(what, fix, { where, why: 'requests wait, and then get 503' });
  }
  if (dir.launcher !== null) {
    const fix = 'its log says why it does not come up; usher upgrade, or restart it';
    return failure('a launcher runs, and its manager does not answer', fix, {
      where: `pid ${dir.launcher.pid}`,
    });
  }
  const running = users.find(({ master, facts }) => master !== null && facts.mode?.name !== 'off');
  const registered = (dir.registrations ?? []).find(({ pid }) => isRunning(scene, pid));
  if (running !== undefined || registered !== undefined) {
    const pid = running?.master?.pid ?? registered?.pid;
    const why = `its log may tell more: ${dir.path}/usher.log`;
    return failure(
      `a web server runs (pid ${pid}) without a manager`,
      'reload the web server: that starts one',
      { where, why },
    );
  }
  return skipped('no manager runs, and no web server that needs one', { where });
}

function isRunning({ host }: Scene, pid: number): boolean {
  return textOf(host, `/proc/${pid}/comm`) !== null;
}

const versions: Check = {
  id: 'versions',
  group: 'Manager',
  looksAt:
    'whether the running manager and launcher, and the files of the channel, are of the installed version',
  worst: 'error',
  remedy: '`usher upgrade`; for another layout of the channel stop web servers and manager first',
  async run(scene) {
    const { installation } = scene;
    const outcome = await scene.classes;
    const layout = outcome.failure === null ? outcome.layoutVersion : null;
    const found = scene.runtimeDirs.map(async (dir) => {
      const view = await scene.manager(dir.path);
      const wrong: FoundOut[] = [];
      if (view.state === 'alive' && view.pong.version !== installation.version) {
        const what = `the manager is of version ${view.pong.version}, installed is ${installation.version}`;
        wrong.push(
          warning(what, 'usher upgrade', { where: `pid ${view.pong.pid}`, why: view.trouble }),
        );
      }
      if (dir.launcher?.program?.endsWith(' (deleted)')) {
        const why = 'it runs on from memory';
        wrong.push(
          warning('the launcher’s file was replaced', 'usher upgrade', {
            where: `pid ${dir.launcher.pid}`,
            why,
          }),
        );
      }
      const theirs = layoutOf(scene, dir.path);
      if (layout !== null && theirs !== null && theirs !== layout) {
        const fix = 'stop the web servers and the manager, then start them again';
        wrong.push(
          failure(`the channel has layout ${theirs}, installed is ${layout}`, fix, {
            where: `${dir.path}/channel`,
          }),
        );
      }
      if (view.state !== 'alive' && wrong.length === 0) return [];
      return orOk(wrong, `manager, launcher and channel are of the installed version`, {
        where: dir.path,
      });
    });
    return (await Promise.all(found)).flat();
  },
};

/** Behind eight bytes of magic, in the table (native/channel/layout.h). */
function layoutOf({ host }: Scene, dir: string): number | null {
  try {
    const header = host.bytes(`${dir}/channel/table`, 0, 12);
    const isTable = header.subarray(0, 8).toString('latin1') === 'USHTABLE';
    return isTable ? header.readUInt32LE(8) : null;
  } catch (error) {
    if (codeOf(error) === '') throw error;
    return null;
  }
}

const managers: Check = {
  id: 'managers',
  group: 'Manager',
  looksAt: 'how many managers run on this host, and whose they are',
  worst: 'warning',
  remedy: 'nothing, if they are meant; commands take `--runtime-dir`',
  run({ processes, host }) {
    const dirs = launchersOf(host, processes);
    if (dirs.size === 0) return [];
    const own = [...dirs.values()].filter(({ uid }) => uid === host.uid).length;
    const list = [...dirs]
      .map(([dir, { uid }]) => `${dir} (user ${uid})`)
      .slice(0, 5)
      .join(', ');
    return [ok(`${count(dirs.size, 'manager')} on this host, ${own} of this user: ${list}`)];
  },
};

const tooLarge = 1024 ** 3;
const tooFull = 64 * 1024 ** 2;

const log: Check = {
  id: 'log',
  group: 'Manager',
  looksAt: 'whether Usher’s log file is there, below 1 GB, and has room on its file system',
  worst: 'warning',
  remedy: 'rotate it: logrotate with `usher reopen-logs`',
  run(scene) {
    const { host, runtimeDirs } = scene;
    return runtimeDirs.flatMap(({ path, launcher }) => {
      if (launcher === null) return [];
      const named = argument(launcher.words, '--log');
      const isEmbedded = argument(launcher.words, '--mode') === 'embedded';
      const file = named ?? (isEmbedded ? `${path}/usher.log` : null);
      if (file === null)
        return [ok('the log goes where the launcher’s output goes (journalctl -u usher)')];
      try {
        return [logOf(file, host.stat(file).size, host.freeBytes(dirname(file)))];
      } catch (error) {
        if (isDenied(error))
          return [skipped('the log is not ours to see', { where: file, why: 'be root' })];
        if (codeOf(error) === '') throw error;
        const why = 'what is written goes into a file that has no name any more';
        return [warning('the log file is not there', 'usher reopen-logs', { where: file, why })];
      }
    });
  },
};

function logOf(file: string, size: number, free: number): FoundOut {
  const megabytes = (bytes: number): string => `${Math.round(bytes / 1024 ** 2)} MB`;
  if (free < tooFull) {
    return warning(`only ${megabytes(free)} are free for the log`, 'make room', {
      where: file,
      why: 'programs’ output is not written then',
    });
  }
  if (size > tooLarge) {
    const fix = 'have logrotate move it, and run usher reopen-logs behind it (docs/cli.md)';
    return warning(`the log has ${megabytes(size)}`, fix, { where: file });
  }
  return ok(`the log has ${megabytes(size)}`, { where: file });
}

const clock: Check = {
  id: 'clock',
  group: 'Manager',
  looksAt: 'whether the clock is behind the files that were installed',
  worst: 'warning',
  remedy: 'set it (NTP)',
  run({ host, installation: { root } }) {
    const dayMs = 86_400_000;
    try {
      const { mtimeMs } = host.stat(`${root}/package.json`);
      const behind = mtimeMs - host.now();
      if (behind < dayMs) return [ok('the clock is right, as far as can be told')];
      const what = `the clock is at least ${Math.round(behind / dayMs)} days behind`;
      return [
        warning(what, 'set it: timedatectl set-ntp true', {
          why: 'sessions, certificates and logs go by it',
        }),
      ];
    } catch (error) {
      if (codeOf(error) === '') throw error;
      return [skipped('nothing to compare the clock with')];
    }
  },
};

export const managerChecks: readonly Check[] = [manager, versions, managers, log, clock];
