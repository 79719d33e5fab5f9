// SPDX-License-Identifier: Apache-2.0
// What a result depends on besides the code: the machine, what else runs on it, who is installed;
// and how much processor time whom takes, which other programs' load disturbs less than a rate.

import { spawnSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import { dirname } from 'node:path';
import { root } from '../scripts/run.mjs';

function output(command, args) {
  const { stdout, stderr, status } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  return status === 0 ? `${stdout}${stderr}`.trim() : '';
}

/** Where a program is; throws with the Debian package that has it. */
export function found(program, inPackage = program) {
  const path = `${process.env.PATH}:/usr/sbin:/usr/local/sbin`.split(':');
  const directory = path.find((candidate) => existsSync(`${candidate}/${program}`));
  if (directory === undefined) {
    throw new Error(`${program} is not installed: apt-get install ${inPackage}`);
  }
  return `${directory}/${program}`;
}

const apxs = (name) => output(found('apxs', 'apache2-dev'), ['-q', name]);

let paths;

/** Where the servers and their rivals are installed. */
export function installed() {
  paths ??= findInstalled();
  return paths;
}

function findInstalled() {
  const nginx = found('nginx');
  const nginxConf = /--conf-path=(\S+)/.exec(output(nginx, ['-V']))?.[1] ?? '/etc/nginx/nginx.conf';
  return {
    nginx,
    fastcgiParams: `${dirname(nginxConf)}/fastcgi_params`,
    apache: `${apxs('SBINDIR')}/${apxs('PROGNAME')}`,
    apacheModules: apxs('LIBEXECDIR'),
    spawnFcgi: found('spawn-fcgi'),
    wrk: found('wrk'),
  };
}

/** Versions of Debian packages, as far as they are installed. */
function packageVersions(names) {
  const format = '${Package} ${Version}\n';
  const { stdout } = spawnSync('dpkg-query', ['--show', `--showformat=${format}`, ...names], {
    encoding: 'utf8',
  });
  const lines = (stdout ?? '').trim().split('\n').filter(Boolean);
  return Object.fromEntries(lines.map((line) => line.split(' ')));
}

/** The first half of a result: under what conditions it was measured. */
export function conditions() {
  const commit = output('git', ['rev-parse', '--short', 'HEAD']);
  const changed = output('git', ['status', '--porcelain', '--untracked-files=no']) !== '';
  return {
    startedAt: new Date().toISOString(),
    usher: `${commit || 'unknown'}${changed ? ' with changes' : ''}`,
    cores: os.availableParallelism(),
    processor: os.cpus()[0]?.model ?? 'unknown',
    kernel: os.release(),
    node: process.version,
    loadAverage: os.loadavg(),
    /** Whether the kernel shares out the processors by session, and not by process alone. */
    hasAutogroups: read('/proc/sys/kernel/sched_autogroup_enabled').trim() === '1',
    versions: packageVersions([
      ...['apache2-bin', 'nginx', 'libapache2-mod-fcgid', 'spawn-fcgi', 'libfcgi0ldbl', 'wrk'],
      ...['fcgiwrap', 'libapache2-mod-jk', 'tomcat10-common'],
    ]),
  };
}

export function describe({ cores, processor, kernel, node, loadAverage, versions, usher }) {
  const [one, five] = loadAverage.map((load) => load.toFixed(2));
  const loaded =
    loadAverage[0] > 0.3 * cores ? ': LOADED, trust ratios of processor time only' : '';
  return [
    `Usher ${usher}; ${cores} × ${processor}, Linux ${kernel}, Node ${node}`,
    Object.entries(versions)
      .map(([name, version]) => `${name} ${version}`)
      .join(', '),
    `load average before: ${one} (1 min), ${five} (5 min)${loaded}`,
  ].join('\n');
}

// ---- processor time, in ms

const tickMs = 10; // USER_HZ is 100 everywhere

function read(path) {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return ''; // gone meanwhile
  }
}

/** The fields of /proc/PID/stat behind the name: 0 is the state, 1 the parent. */
function statFields(pid) {
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

export function parentOf(pid) {
  return Number(statFields(pid)[1]);
}

export function isRunning(pid) {
  const state = statFields(pid)[0];
  return state !== '' && state !== undefined && state !== 'Z' && state !== 'X';
}

export function programOf(pid) {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return '';
  }
}

/** The processes themselves and all that descend from them. */
export function families(ancestors) {
  const children = new Map();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const parent = parentOf(pid);
    children.set(parent, [...(children.get(parent) ?? []), Number(pid)]);
  }
  const members = [...ancestors];
  for (let at = 0; at < members.length; at++) members.push(...(children.get(members[at]) ?? []));
  return [...new Set(members)];
}

/** What these took, and children of theirs that have ended and were waited for. */
function timeWithEndedChildren(pids) {
  let ticks = 0;
  for (const pid of pids) {
    for (const field of statFields(pid).slice(11, 15)) ticks += Number(field);
  }
  return ticks * tickMs;
}

/** What this process's children took that have ended and were waited for. */
export function timeOfEndedChildren() {
  const fields = statFields('self');
  return (Number(fields[13]) + Number(fields[14])) * tickMs;
}

/** All processors together: busy with anything at all. */
export function busyTime() {
  const [user, nice, system, , , irq, softirq, steal] = read('/proc/stat')
    .split('\n')[0]
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  return (user + nice + system + irq + softirq + steal) * tickMs;
}

/** Memory of these processes in MB; what several share counts in parts. */
export function memoryOf(pids) {
  let kb = 0;
  for (const pid of pids) {
    kb += Number(/^Pss: +(\d+)/m.exec(read(`/proc/${pid}/smaps_rollup`))?.[1] ?? 0);
  }
  return kb / 1024;
}

/** Resident memory of a process in MB, shared parts included, as `ps` has it. */
export function residentMb(pid) {
  return Number(/^VmRSS:\s+(\d+)/m.exec(read(`/proc/${pid}/status`))?.[1]) / 1024;
}

// ---- processor time of processes and their children, in ms

const unified = ['/sys/fs/cgroup', '/sys/fs/cgroup/unified'].find(
  (path) => existsSync(`${path}/cgroup.procs`) && existsSync(`${path}/cgroup.controllers`),
);

/**
 * What these processes take from now on, and all that they start, however quickly that ends: counted by
 * a control group of their own. Where we may not make one, it is without children that nobody waits for.
 */
export function accountFor(name, pids) {
  const path = `${unified}/usher-bench-${process.pid}-${name}`;
  try {
    mkdirSync(path);
  } catch {
    return {
      isWhole: false,
      timeMs: () => timeWithEndedChildren(pids),
      pids: () => families(pids),
      remove: () => true,
    };
  }
  for (const pid of pids) {
    try {
      writeFileSync(`${path}/cgroup.procs`, String(pid));
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
  return {
    isWhole: true,
    timeMs: () => Number(/^usage_usec (\d+)/.exec(read(`${path}/cpu.stat`))?.[1]) / 1000,
    pids: () => read(`${path}/cgroup.procs`).split('\n').filter(Boolean).map(Number),
    /** False while there is still somebody in it. */
    remove() {
      try {
        rmdirSync(path);
        return true;
      } catch (error) {
        if (error.code !== 'EBUSY') throw error;
        return false;
      }
    },
  };
}
