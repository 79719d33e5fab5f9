// SPDX-License-Identifier: Apache-2.0
// Is there room for as much as the configuration allows: descriptors, processes, memory, connections?
import { type Check, count, failure, ok, orOk, skipped, some, warning } from '../check.ts';
import type { ClassPlan } from '../classes.ts';
import { type Host, textOf } from '../host.ts';
import type { RunningProcess } from '../processes.ts';
import type { FoundOut } from '../report.ts';
import { mostInstances, plansOf, type Scene } from '../scene.ts';
import { usherConfigurations } from './web-servers.ts';

const group = 'Limits';

export interface Limit {
  soft: number;
  hard: number;
}

/** @param limits Of /proc/PID/limits. @param name "Max open files". */
export function limitIn(limits: string, name: string): Limit | null {
  const [, soft = '', hard = ''] = new RegExp(`^${name} +(\\S+) +(\\S+)`, 'm').exec(limits) ?? [];
  const number = (text: string): number =>
    text === 'unlimited' ? Number.POSITIVE_INFINITY : Number(text);
  return soft === '' ? null : { soft: number(soft), hard: number(hard) };
}

function launchers({ runtimeDirs }: Scene): RunningProcess[] {
  return runtimeDirs.flatMap(({ launcher }) => launcher ?? []);
}

/** What the launcher has open besides two for each instance. */
const ownDescriptors = 64;

const filesOfLauncher: Check = {
  id: 'limit-files',
  group,
  looksAt:
    'descriptors: two an instance in the launcher, `-limit nofile=` of classes, connections of nginx workers and Apache children',
  worst: 'error',
  remedy: '`LimitNOFILE=` of the unit, `worker_rlimit_nofile`, fewer instances',
  async run(scene) {
    const plans = (await plansOf(scene)) ?? [];
    const found = [
      ...launchers(scene).flatMap((one) => launcherFiles(scene.host, one, plans)),
      ...workerFiles(scene, plans),
    ];
    if (found.length > 0) return found;
    return launchers(scene).length === 0 ? [] : [ok('descriptors are enough for all instances')];
  },
};

function launcherFiles(
  host: Host,
  { pid }: RunningProcess,
  plans: readonly ClassPlan[],
): FoundOut[] {
  const where = `usher-launcher, pid ${pid}`;
  const limit = limitIn(textOf(host, `/proc/${pid}/limits`) ?? '', 'Max open files');
  if (limit === null)
    return [skipped('limits of the launcher are not ours to see', { where, why: 'be root' })];
  const needed = 2 * mostInstances(plans) + ownDescriptors;
  const found: FoundOut[] = [];
  if (limit.hard < needed) {
    const why = `it needs two for each of ${mostInstances(plans)} instances`;
    const fix = `LimitNOFILE=1024:${2 ** Math.ceil(Math.log2(needed))} in its unit (ulimit -n where it is embedded), or fewer instances`;
    found.push(
      failure(`${limit.hard} open files are too few: ${needed} may be needed`, fix, { where, why }),
    );
  }
  for (const { name, fileLimit, source } of plans) {
    if (fileLimit === null || fileLimit <= limit.hard) continue;
    const what = `${name}: -limit nofile=${fileLimit} is above what the launcher has, ${limit.hard} [limit-denied]`;
    found.push(failure(what, 'raise that of the launcher, or ask for less', { where: source }));
  }
  return found;
}

/** A client and its program: a connection each. */
function workerFiles(scene: Scene, plans: readonly ClassPlan[]): FoundOut[] {
  const places = plans.reduce((sum, plan) => sum + plan.places, 0);
  return usherConfigurations(scene).flatMap(({ kind, master, facts, path }) => {
    const worker = scene.processes.find(({ parent }) => parent === master?.pid);
    const limits =
      worker === undefined ? '' : (textOf(scene.host, `/proc/${worker.pid}/limits`) ?? '');
    const limit = limitIn(limits, 'Max open files');
    const connections = facts.connections ?? (kind === 'nginx' ? 512 : 25);
    const needed = connections + Math.min(connections, places);
    if (worker === undefined || limit === null || limit.soft >= needed) return [];
    const fix =
      kind === 'nginx'
        ? `worker_rlimit_nofile ${needed * 2}; in ${path}`
        : 'LimitNOFILE= in its unit';
    const why = `${connections} clients and ${Math.min(connections, places)} connections to programs`;
    const what = `${limit.soft} open files are too few for a worker: ${needed} may be needed`;
    return [warning(what, fix, { where: `${kind}, pid ${worker.pid}`, why })];
  });
}

const processes: Check = {
  id: 'limit-processes',
  group,
  looksAt: 'processes: `nproc` of the launcher, `pids.max` (`TasksMax=`) of its control groups',
  worst: 'warning',
  remedy: '`TasksMax=`, `LimitNPROC=` of the unit, fewer instances',
  async run(scene) {
    const { host } = scene;
    const instances = mostInstances((await plansOf(scene)) ?? []);
    return launchers(scene).flatMap((launcher) => {
      const where = `usher-launcher, pid ${launcher.pid}`;
      const found: FoundOut[] = [];
      const limit = limitIn(textOf(host, `/proc/${launcher.pid}/limits`) ?? '', 'Max processes');
      if (limit !== null && limit.soft < instances) {
        const what = `a user may have ${limit.soft} processes, and ${instances} instances are configured`;
        found.push(warning(what, 'LimitNPROC= in the unit, or fewer instances', { where }));
      }
      const pids = tightest(host, launcher.pid, 'pids.max', 'pids.current');
      if (pids !== null && pids.max - pids.current < instances) {
        const what = `the control group has room for ${Math.max(0, pids.max - pids.current)} more tasks, and ${instances} instances are configured`;
        found.push(
          warning(what, 'TasksMax= in the unit (container: --pids-limit)', { where: pids.group }),
        );
      }
      return orOk(found, `room for ${count(instances, 'instance')}`, { where });
    });
  },
};

interface GroupLimit {
  group: string;
  max: number;
  current: number;
}

/** Of the control groups (version 2) that a process is in, the one with least room; null = no limit. */
export function tightest(host: Host, pid: number, max: string, current: string): GroupLimit | null {
  const own = /^0::(\/.*)$/m.exec(textOf(host, `/proc/${pid}/cgroup`) ?? '')?.[1];
  let found: GroupLimit | null = null;
  for (let at = own ?? ''; at !== '' && at !== '/'; at = at.slice(0, at.lastIndexOf('/'))) {
    const group = `/sys/fs/cgroup${at}`;
    const limit = Number.parseInt(textOf(host, `${group}/${max}`) ?? '', 10); // "max" = none
    const now = Number.parseInt(textOf(host, `${group}/${current}`) ?? '', 10);
    if (Number.isNaN(limit) || Number.isNaN(now)) continue;
    if (found === null || limit - now < found.max - found.current)
      found = { group, max: limit, current: now };
  }
  return found;
}

const memory: Check = {
  id: 'limit-memory',
  group,
  looksAt:
    'memory: `memory.max` of the launcher’s control groups, what is free, `vm.overcommit_memory`',
  worst: 'warning',
  remedy: '`MemoryMax=`, fewer instances, `-memory-limit`',
  run(scene) {
    const { host } = scene;
    const found = launchers(scene).flatMap(({ pid }) => {
      const limit = tightest(host, pid, 'memory.max', 'memory.current');
      if (limit === null || limit.current < limit.max * 0.9) return [];
      const what = `the control group uses ${megabytes(limit.current)} of ${megabytes(limit.max)}`;
      const why = 'the kernel ends programs that find no memory';
      return [
        warning(what, 'MemoryMax= in the unit, fewer instances, or -memory-limit', {
          where: limit.group,
          why,
        }),
      ];
    });
    const text = textOf(host, '/proc/meminfo') ?? '';
    const kilobytes = (name: string): number =>
      Number(new RegExp(`^${name}: +(\\d+)`, 'm').exec(text)?.[1]);
    if (kilobytes('MemAvailable') < kilobytes('MemTotal') * 0.05) {
      const what = `only ${megabytes(kilobytes('MemAvailable') * 1024)} of memory are available`;
      found.push(warning(what, 'fewer instances (-maxClassProcesses), or more memory'));
    }
    if (textOf(host, '/proc/sys/vm/overcommit_memory')?.trim() === '2') {
      const why =
        'Node, PHP and Java reserve much more address space than they use, and fail to start';
      found.push(
        warning(
          'the kernel does not overcommit memory',
          'sysctl vm.overcommit_memory=0, or enough swap',
          { where: 'vm.overcommit_memory=2', why },
        ),
      );
    }
    return orOk(found, 'memory is there');
  },
};

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 ** 2)} MB`;
}

const leastBacklog = 128;

const backlog: Check = {
  id: 'limit-backlog',
  group,
  looksAt:
    'connections that may wait at a socket: `net.core.somaxconn` and `-listen-queue-depth` of public addresses',
  worst: 'warning',
  remedy: '`sysctl net.core.somaxconn=4096`',
  async run(scene) {
    const most = Number(textOf(scene.host, '/proc/sys/net/core/somaxconn') ?? Number.NaN);
    if (Number.isNaN(most)) return [skipped('net.core.somaxconn is not known')];
    const above = ((await plansOf(scene)) ?? []).filter(
      (one) => one.listen !== null && one.backlog > most,
    );
    const fix = 'sysctl net.core.somaxconn=4096 (and a file in /etc/sysctl.d)';
    const where = `net.core.somaxconn=${most}`;
    if (above.length > 0) {
      const names = some(above.map(({ name, backlog: wanted }) => `${name} (${wanted})`));
      return [
        warning(`classes ask for longer queues than the kernel has: ${names}`, fix, { where }),
      ];
    }
    if (most >= leastBacklog) return [ok(`${most} connections may wait at a socket`)];
    const why = 'connections of a burst are refused';
    return [warning('few connections may wait at a socket', fix, { where, why })];
  },
};

export const limitChecks: readonly Check[] = [filesOfLauncher, processes, memory, backlog];
