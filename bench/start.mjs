// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- start [--repetitions N] [--pause MS]`: how long it takes from a request for a class that
// nobody knows to the manager's callback in Node, which sleeps until then; and beside it, what it takes to
// wake up the same process by a byte on a socket.

import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { parseArgs } from 'node:util';
import { native } from '../dist/native/native.js';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { save, table, verdict } from './report.mjs';
import { percentile } from './statistics.mjs';

const goal = { atLeast: 200, aim: 80, better: 'lower' };

const server = 'bench';

/** As the manager does it (ts/manager/manager.ts). Returns when each key came, in ns. */
function hear(channel, handle) {
  const cameNs = new Map();
  channel.listen(100, () => {
    const nowNs = process.hrtime.bigint();
    for (const { entry, key } of channel.startRequests(handle)) {
      cameNs.set(key, nowNs);
      channel.finishStartRequest(handle, entry);
    }
  });
  return cameNs;
}

/** µs from each request to the callback, and from each byte to its event. */
async function measure(runtimeDir, repetitions, pauseMs) {
  const live = `${runtimeDir}/live`;
  writeFileSync(live, '', { mode: 0o600 });
  mkdirSync(`${runtimeDir}/channel`, { mode: 0o700 });
  const child = spawn(
    `${root}/build/bench/start`,
    [runtimeDir, server, live, String(repetitions), String(pauseMs)],
    { stdio: ['pipe', 'pipe', 'inherit', 'pipe'] },
  );
  const ended = new Promise((resolve) => child.once('close', resolve));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  if ((await lines.next()).value !== 'ready') throw new Error('start has not begun');

  const channel = new native.Channel(runtimeDir);
  try {
    channel.setManagerState('running', process.pid);
    const cameNs = hear(channel, channel.attachServer(server, live));
    const wokenNs = [];
    child.stdio[3].on('data', () => wokenNs.push(process.hrtime.bigint()));
    child.stdin.end('\n');
    const { value } = await lines.next();
    if ((await ended) !== 0) throw new Error('start has failed');
    const { asked, woken } = JSON.parse(value);
    if (cameNs.size !== repetitions || wokenNs.length !== repetitions) {
      throw new Error(`of ${repetitions} came ${cameNs.size} requests, ${wokenNs.length} bytes`);
    }
    const us = (from, to) => Number(to - BigInt(from)) / 1000;
    return {
      request: asked.map((ns, i) => us(ns, cameNs.get(`/srv/www/bench/${i}.fcgi`))),
      socket: woken.map((ns, i) => us(ns, wokenNs[i])),
    };
  } finally {
    channel.close();
  }
}

const figures = (us) => ({
  p50Us: percentile(us, 0.5),
  p90Us: percentile(us, 0.9),
  p99Us: percentile(us, 0.99),
  maxUs: Math.max(...us),
});

export async function run(args) {
  const options = { repetitions: { type: 'string' }, pause: { type: 'string' } };
  const { values } = parseArgs({ args, options });
  const repetitions = Number(values.repetitions ?? 400);
  const pauseMs = Number(values.pause ?? 10);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${repetitions} times, with pauses of ${pauseMs} ms\n`);

  const runtimeDir = mkdtempSync(`${tmpdir()}/usher-bench-`);
  let times;
  try {
    times = await measure(runtimeDir, repetitions, pauseMs);
  } finally {
    rmSync(runtimeDir, { recursive: true });
  }
  const rows = [
    { label: 'start request → callback of the manager', goal, ...figures(times.request) },
    { label: 'byte on a socket → its event', ...figures(times.socket) },
  ];
  const result = { conditions, repetitions, pauseMs, rows };
  console.log(
    table(
      ['', 'p50 µs', 'p90 µs', 'p99 µs', 'longest µs', 'at most', 'aim', ''],
      rows.map(({ label, p50Us, p90Us, p99Us, maxUs, goal }) => [
        label,
        ...[p50Us, p90Us, p99Us, maxUs].map((us) => us.toFixed(0)),
        goal ? String(goal.atLeast) : '',
        goal ? String(goal.aim) : '',
        goal ? verdict(p50Us, goal) : '',
      ]),
    ),
  );
  console.log(`written: ${save('start', result)}`);
  return result;
}
