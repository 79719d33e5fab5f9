// SPDX-License-Identifier: Apache-2.0
// What happens to the web server.

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../servers/eventually.ts';
import { isRunning, signal } from '../servers/processes.ts';
import { readAgain } from '../servers/reading-again.ts';
import { files } from '../servers/web-server.ts';
import type { ClassOptions, Program } from './programs.ts';
import type { Scenario } from './scenario.ts';
import { patienceMs, type Tortured } from './tortured.ts';

export const processes = 4;
export const kept = (): ClassOptions => ({ processes });

/** Three requests for each place: two of them wait. */
export const saturating = ({ concurrency }: Program): number => 3 * processes * concurrency;

/** Runs `event` so many times; the instances that were there before are those that are there after. */
export async function sparingInstances(
  tortured: Tortured,
  count: number,
  event: () => Promise<unknown>,
): Promise<void> {
  // What ends itself after some requests would look as if it had been started again.
  const comesAndGoes = tortured.setting.program.name === 'php';
  const before = await tortured.ready(processes);
  for (; tortured.events < count; tortured.events += 1) await event();
  const after = await tortured.ready(processes);
  if (!comesAndGoes && before.join() !== after.join()) {
    tortured.problems.push(`instances were started again: ${before} before, ${after} after`);
  }
}

const reload = ({ site }: Tortured): Promise<void> =>
  readAgain(site, () => signal(site.pid, site.server.reloadSignal));

async function upgradeBinary({ site }: Tortured): Promise<void> {
  const old = site.pid;
  const oldPidFile = `${files.pid(site)}.oldbin`;
  signal(old, 'SIGUSR2');
  await eventually('a second master runs', () => existsSync(oldPidFile), patienceMs);
  await eventually(
    'it has workers',
    () => site.pid > 0 && site.pid !== old && site.workers.length >= 2,
    patienceMs,
  );
  signal(old, 'SIGWINCH');
  signal(old, 'SIGQUIT');
  await eventually('the old master has ended', () => !isRunning(old), patienceMs);
}

export const serverScenarios: readonly Scenario[] = [
  {
    name: 'reload',
    title: 'The server reads its configuration again (nginx HUP, Apache graceful).',
    programs: ['c', 'node', 'perl', 'php-children'],
    options: kept,
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: { nginx: 1000, apache: 200 },
    short: 5,
    run: async (tortured, count) => {
      await sparingInstances(tortured, count, () => reload(tortured));
      // A server that ends as it reloads is remembered for longer than others.
      await sleep(1_500);
    },
  },
  {
    name: 'upgrade',
    title: 'nginx is replaced by its own binary: USR2, then WINCH and QUIT to the old master.',
    kind: 'nginx',
    programs: ['c', 'node'],
    options: kept,
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: 20,
    short: 2,
    run: (tortured, count) => sparingInstances(tortured, count, () => upgradeBinary(tortured)),
  },
];
