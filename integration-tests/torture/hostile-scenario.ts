// SPDX-License-Identifier: Apache-2.0
// What a worker that was taken over writes into shared memory, for hours; behaviours/hostile.ts has the
// short form.

import { randomInt } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../servers/eventually.ts';
import { scribble } from '../servers/scribbler.ts';
import type { Scenario } from './scenario.ts';
import { processes } from './server-scenarios.ts';
import { patienceMs, type Tortured } from './tortured.ts';

const scribblingMs = 3_000;
/** Of waiting, connecting and running, in s; and what a request may take with all of them and a retry. */
const timeoutS = 4;
const deadlineMs = 40_000;
const inRow = 200;
const forbidden = ['/bin/sh', '/etc/passwd', '../../bin/sh', 'a-class-of-another-server', '@4096'];

/** Waits until so many requests in a row were served, of those begun from now on. */
async function isWhole({ load }: Tortured): Promise<void> {
  const beganMs = performance.now();
  await eventually(
    `${inRow} requests in a row are served`,
    async () => {
      const { lost, answered } = load;
      while (load.lost === lost && load.answered < answered + inRow) {
        if (performance.now() - beganMs > patienceMs) return false;
        await sleep(20);
      }
      return load.lost === lost;
    },
    patienceMs,
  );
}

async function writeAnything(tortured: Tortured, count: number): Promise<void> {
  const { site, load, problems, notes } = tortured;
  const { manager } = await tortured.statusSoon();
  const times: number[] = [];
  load.keptLosses = Number.POSITIVE_INFINITY;
  for (; tortured.events < count; tortured.events += 1) {
    const seed = randomInt(2 ** 40);
    notes.push(`seed ${seed}`);
    await scribble(site, { ms: scribblingMs, seed, keys: forbidden });
    const endedMs = performance.now();
    await isWhole(tortured);
    times.push(performance.now() - endedMs);
  }
  const now = (await tortured.statusSoon()).manager;
  if (now.pid !== manager.pid) problems.push(`the manager ${manager.pid} is now ${now.pid}`);
  for (const loss of load.losses) {
    const tookMs = loss.endedMs - loss.beganMs;
    if (![502, 503, 504].includes(loss.status) || tookMs > deadlineMs) {
      problems.push(`a request ended after ${Math.round(tookMs)} ms with ${loss.text}`);
    }
  }
  notes.push(`served again after ${Math.round(Math.max(...times))} ms at most`);
}

export const hostileScenarios: readonly Scenario[] = [
  {
    name: 'hostile',
    title: 'A worker writes anything into shared memory; all is served again when it is gone.',
    programs: ['c', 'node'],
    options: () => ({
      processes,
      'queue-timeout': timeoutS,
      appConnTimeout: timeoutS,
      'request-timeout': timeoutS,
    }),
    classes: () => 3,
    clients: ({ concurrency }) => 2 * processes * concurrency,
    methods: 'GET',
    sleepMs: 5,
    full: 200,
    short: 1,
    mayLose: () => Number.POSITIVE_INFINITY,
    run: writeAnything,
  },
];
