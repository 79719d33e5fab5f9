// SPDX-License-Identifier: Apache-2.0
// What clients do: come all at once, leave while they wait, send or read slowly, wait in long lines.

import { setTimeout as sleep } from 'node:timers/promises';
import { RawClient, request } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import type { Load } from '../servers/load.ts';
import { descriptorCount } from '../servers/processes.ts';
import type { Scenario } from './scenario.ts';
import { patienceMs, type Tortured } from './tortured.ts';

// ---- 200 connections at once

async function crowds(tortured: Tortured, count: number): Promise<void> {
  for (; tortured.events < count; tortured.events += 1) {
    await Promise.all(Array.from({ length: 200 }, () => tortured.load.one()));
  }
}

// ---- clients that leave while they wait

const crowd = 100;

/** `count` requests that leave while the one instance is busy with another. */
async function leaveWhileWaiting(tortured: Tortured, count: number): Promise<void> {
  const { site } = tortured;
  const path = '/class0/page.php';
  const requestsSoFar = async () => Number((await request(site.port, `${path}?requests`)).text);
  const workers = () => site.workers.map(descriptorCount);
  const before = await requestsSoFar();
  let descriptorsBefore: number[] = [];
  for (let gates = 0; tortured.events < count; gates += 1) {
    const gate = `${site.dir}/gate${gates}`;
    const busy = request(site.port, `${path}?wait=${gate}&text=through`);
    await counts(tortured, 1, 0);
    const clients = await Promise.all(
      Array.from({ length: crowd }, () => RawClient.get(site.port, `${path}?text=ran`)),
    );
    await counts(tortured, 1, crowd);
    for (const client of clients) client.leave();
    await counts(tortured, 1, 0);
    site.file(`gate${gates}`, '');
    if ((await busy).text !== 'through')
      tortured.problems.push('the one that stayed was not served');
    await counts(tortured, 0, 0);
    if (gates === 0) descriptorsBefore = workers();
    tortured.events += crowd;
    const ran = (await requestsSoFar()) - before - 2 * (gates + 1);
    if (ran !== 0) {
      tortured.problems.push(`${ran} of ${tortured.events} requests ran after their clients left`);
      return;
    }
  }
  const descriptorsAfter = workers();
  tortured.notes.push(`descriptors of workers: ${descriptorsBefore} → ${descriptorsAfter}`);
  if (Math.max(...descriptorsAfter) > Math.max(...descriptorsBefore) + 4) {
    tortured.problems.push(`workers' descriptors: ${descriptorsBefore}, then ${descriptorsAfter}`);
  }
}

async function counts(tortured: Tortured, inFlight: number, waiting: number): Promise<void> {
  await eventually(
    `${inFlight} in flight, ${waiting} waiting`,
    async () => {
      const known = await tortured.classStatus();
      if (known?.inFlight === inFlight && known.waiting === waiting) return true;
      throw new Error(`${known?.inFlight} in flight, ${known?.waiting} waiting`);
    },
    patienceMs,
  );
}

// ---- slow clients

const upload = 1_000_000;

/** As many stalled uploads and slow readers as there are workers; all others must get through. */
async function besideSlowClients(tortured: Tortured, count: number): Promise<void> {
  const { site, load } = tortured;
  const quietMs = await eachTakesMs(load, count);
  const workers = Math.max(2, site.workers.length);
  const slow = await Promise.all(
    Array.from({ length: workers }, async () => {
      const uploads = await RawClient.connect(site.port);
      uploads.send(
        `POST /class0/page.php?body HTTP/1.1\r\nHost: x\r\nContent-Length: ${upload}\r\n\r\nbegun`,
      );
      const reads = await RawClient.get(site.port, '/class0/page.php?bytes=1000000');
      reads.socket.pause();
      return [uploads, reads];
    }),
  );
  await sleep(500); // for all to have stalled
  const besideMs = await eachTakesMs(load, count);
  for (const client of slow.flat()) client.leave();
  tortured.events += 2 * count;
  tortured.notes.push(
    `one after the other, p50 and longest: ${quietMs} ms alone, ${besideMs} ms beside ${2 * workers} slow clients`,
  );
}

async function eachTakesMs(load: Load, count: number): Promise<string> {
  const took: number[] = [];
  for (let i = 0; i < count; i += 1) {
    const beganMs = performance.now();
    await load.one();
    took.push(performance.now() - beganMs);
  }
  took.sort((a, b) => a - b);
  return `${took[Math.floor(took.length / 2)]!.toFixed(1)}/${took.at(-1)!.toFixed(1)}`;
}

// ---- long lines

const saturated = 8;

async function ratePerS(load: Load, clients: number, seconds: number): Promise<number> {
  load.clients = clients;
  await sleep(500);
  const { answered } = load;
  const beganMs = performance.now();
  await sleep(seconds * 1000);
  return ((load.answered - answered) * 1000) / (performance.now() - beganMs);
}

/**
 * Two clients for each place, so that none is free while a client thinks, then five; `count` seconds
 * each, in turns.
 */
async function longLines(tortured: Tortured, count: number): Promise<void> {
  const rates = { atCapacity: 0, saturated: 0 };
  for (; tortured.events < count; tortured.events += 1) {
    rates.atCapacity += await ratePerS(tortured.load, 2 * saturated, 1);
    rates.saturated += await ratePerS(tortured.load, 5 * saturated, 1);
  }
  const [alone, waiting] = [rates.atCapacity / count, rates.saturated / count];
  tortured.notes.push(
    `${saturated} places: ${alone.toFixed(0)}/s while ${saturated} wait, ${waiting.toFixed(0)}/s while ` +
      `${4 * saturated} wait: ${(waiting / alone).toFixed(2)}`,
  );
}

export const queueScenarios: readonly Scenario[] = [
  {
    name: 'crowd',
    title: '200 connections at once to one instance that needs 5 ms for each request.',
    programs: ['c', 'perl', 'node'],
    options: () => ({ processes: 1 }),
    clients: () => 0,
    methods: 'both',
    sleepMs: 5,
    full: 50,
    short: 1,
    run: crowds,
  },
  {
    name: 'leave',
    title:
      'Clients leave while they wait: their requests never run, no count and no descriptor stays.',
    programs: ['c'],
    options: () => ({ processes: 1 }),
    clients: () => 0,
    methods: 'GET',
    sleepMs: 0,
    full: 1000,
    short: 100,
    run: leaveWhileWaiting,
  },
  {
    name: 'slow-clients',
    title: 'A stalled upload and a slow reader for each worker; one instance serves all others.',
    programs: ['c'],
    options: () => ({ processes: 1 }),
    clients: () => 0,
    methods: 'both',
    sleepMs: 5,
    full: 500,
    short: 20,
    run: besideSlowClients,
  },
  {
    name: 'saturation',
    title:
      'Four times as many requests wait as are served: as many are answered as without a line.',
    programs: ['c'],
    options: () => ({ processes: saturated }),
    clients: () => 0,
    methods: 'both',
    sleepMs: 20,
    full: 10,
    short: 1,
    run: longLines,
  },
];
