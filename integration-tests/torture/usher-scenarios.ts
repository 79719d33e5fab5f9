// SPDX-License-Identifier: Apache-2.0
// What happens to Usher's own processes: they are killed, one or all.

import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../servers/eventually.ts';
import { isRunning, signal } from '../servers/processes.ts';
import { readAgain } from '../servers/reading-again.ts';
import { standbyOf, usherProcesses } from '../servers/usher-processes.ts';
import { type ClassOptions, lastingPhp, ownPrograms } from './programs.ts';
import type { Scenario } from './scenario.ts';
import { kept, processes, saturating, sparingInstances } from './server-scenarios.ts';
import { patienceMs, type Tortured } from './tortured.ts';

/** How long until a manager other than this one answers; asked without a pause worth the name. */
async function newManagerMs(tortured: Tortured, old: number): Promise<number> {
  const beganMs = performance.now();
  while (performance.now() < beganMs + patienceMs) {
    const pid = await tortured.status().then(
      ({ manager }) => manager.pid,
      () => old,
    );
    if (pid !== old) return performance.now() - beganMs;
    await sleep(5);
  }
  throw new Error(`no other manager than ${old} within ${patienceMs / 1000} s`);
}

function noteTimes({ notes }: Tortured, what: string, times: number[]): void {
  const [median, longest] = [times.sort((a, b) => a - b)[times.length >> 1], times.at(-1)];
  notes.push(
    `${what} after ${median?.toFixed(0)} ms (median), ${longest?.toFixed(0)} ms (longest)`,
  );
}

async function killManager(tortured: Tortured, count: number): Promise<void> {
  const times: number[] = [];
  await sparingInstances(tortured, count, async () => {
    const { pid } = (await tortured.statusSoon()).manager;
    signal(pid, 'SIGKILL');
    times.push(await newManagerMs(tortured, pid));
  });
  noteTimes(tortured, 'a new manager was in charge', times);
}

/** More than ten launchers a minute are not begun again at once. */
const launcherEveryMs = 6_500;

/** The standby takes the launcher's place, and starts a manager of its own. */
async function killLauncher(tortured: Tortured, count: number): Promise<void> {
  const { runtimeDir } = tortured.site;
  const times: number[] = [];
  let lastMs = Number.NEGATIVE_INFINITY;
  await sparingInstances(tortured, count, async () => {
    await sleep(count > 10 ? lastMs + launcherEveryMs - performance.now() : 0);
    lastMs = performance.now();
    await standbyOf(runtimeDir);
    const { pid } = (await tortured.statusSoon()).manager;
    const { launcher } = usherProcesses(runtimeDir);
    if (launcher === undefined) throw new Error('no launcher is in charge');
    signal(launcher, 'SIGKILL');
    times.push(await newManagerMs(tortured, pid));
  });
  noteTimes(tortured, 'a new launcher and its manager were in charge', times);
}

/**
 * Nothing of Usher is left but what it had in its directory; then the server is reloaded. There is no
 * load meanwhile: nobody could answer it.
 */
async function killAll(tortured: Tortured, count: number): Promise<void> {
  const { site, load, setting } = tortured;
  const times: number[] = [];
  for (; tortured.events < count; tortured.events += 1) {
    const before = await tortured.ready(processes);
    await load.stop();
    killAllOf(site.runtimeDir);
    for (const pid of before) signal(pid, 'SIGKILL');
    await eventually('they are gone', () => !before.some(isRunning), patienceMs);
    const beganMs = performance.now();
    await readAgain(site, () => signal(site.pid, site.server.reloadSignal));
    await load.one();
    times.push(performance.now() - beganMs);
    const { answered } = load;
    load.clients = saturating(setting.program);
    await tortured.ready(processes);
    await eventually('they serve', () => load.answered >= answered + 50, patienceMs);
  }
  noteTimes(tortured, 'the first request was answered', times);
}

/** Also a standby that has taken over while the others were killed. */
function killAllOf(runtimeDir: string): void {
  for (let left = [0]; left.length > 0; ) {
    left = usherProcesses(runtimeDir).all;
    for (const pid of left) signal(pid, 'SIGKILL');
  }
}

const lasting = ({ name }: { name: string }): ClassOptions => ({ ...kept(), ...lastingPhp(name) });

export const usherScenarios: readonly Scenario[] = [
  {
    name: 'kill-manager',
    title: 'The manager is killed with -9; no instance is started again.',
    programs: [...ownPrograms, 'tomcat'],
    options: kept,
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: 100,
    short: 3,
    run: killManager,
  },
  {
    name: 'kill-launcher',
    title: 'The launcher is killed with -9; another one takes over, no instance is started again.',
    programs: ['c', 'php'],
    options: lasting,
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: 100,
    short: 3,
    run: killLauncher,
  },
  {
    name: 'kill-all',
    title:
      'Manager, launcher, standby and instances are killed with -9; a reload brings them back.',
    programs: ['c', 'php'],
    options: lasting,
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: 20,
    short: 2,
    run: killAll,
  },
];
