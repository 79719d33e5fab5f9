// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- lock [--rounds N] [--ms N] [--kills N]`: the channel's lock under 1 to 64 processes that do
// nothing but take it; and how soon another one has it when its owner is killed.

import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { range, save, table, verdict } from './report.mjs';
import { percentile, spread } from './statistics.mjs';

const counts = [1, 2, 4, 8, 16, 32, 64];
const goal = { atLeast: 10, better: 'lower' };

function lock(...args) {
  const { status, stdout, stderr } = spawnSync(`${root}/build/bench/lock`, args.map(String), {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`lock ${args.join(' ')} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

const fields = ['perSecond', 'p50Ns', 'p99Ns', 'p999Ns', 'maxNs', 'processorNs'];

function summarize(workers, samples) {
  const sum = (field) => samples.reduce((total, sample) => total + sample[field], 0);
  const spreads = fields.map((field) => [field, spread(samples.map((sample) => sample[field]))]);
  return {
    workers,
    ...Object.fromEntries(spreads),
    timeouts: sum('timeouts'),
    successions: sum('successions'),
  };
}

const us = (ns) => (ns / 1000).toFixed(ns < 1000 ? 2 : ns < 100_000 ? 1 : 0);

function show(rows) {
  console.log(
    table(
      ['processes', 'taken/s', 'min–max', 'p50 µs', 'p99 µs', 'p99.9 µs', 'longest µs', 'CPU ns'],
      rows.map((row) => [
        String(row.workers),
        row.perSecond.median.toFixed(0),
        range(row.perSecond),
        ...['p50Ns', 'p99Ns', 'p999Ns'].map((field) => us(row[field].median)),
        us(row.maxNs.max),
        row.processorNs.median.toFixed(0),
      ]),
    ),
  );
}

const figures = (ms) => ({
  p50Ms: percentile(ms, 0.5),
  p99Ms: percentile(ms, 0.99),
  maxMs: Math.max(...ms),
});

/** On a loaded machine it takes its time until a killed process is dead at all. */
function recover(kills) {
  const { takenNs, deathNs } = lock('recover', kills);
  const ms = (ns) => figures(ns.map((each) => each / 1e6));
  return [
    { label: 'another one has the lock', goal, ...ms(takenNs) },
    { label: 'the kernel has told its parent', ...ms(deathNs) },
  ];
}

function showRecovery(rows) {
  console.log(
    `\n${table(
      ['from the kill of its owner until', 'p50 ms', 'p99 ms', 'longest ms', 'at most', ''],
      rows.map(({ label, p50Ms, p99Ms, maxMs, goal }) => [
        label,
        ...[p50Ms, p99Ms, maxMs].map((ms) => ms.toFixed(2)),
        goal ? String(goal.atLeast) : '',
        goal ? verdict(maxMs, goal) : '',
      ]),
    )}`,
  );
}

export async function run(args) {
  const options = {
    rounds: { type: 'string' },
    ms: { type: 'string' },
    kills: { type: 'string' },
  };
  const { values } = parseArgs({ args, options });
  const rounds = Number(values.rounds ?? 5);
  const ms = Number(values.ms ?? 250);
  const kills = Number(values.kills ?? 200);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${rounds} rounds of ${ms} ms\n`);

  const samples = counts.map(() => []);
  for (let i = 0; i < rounds; i++) {
    for (const [at, workers] of counts.entries()) samples[at].push(lock('contend', workers, ms));
  }
  const rows = counts.map((workers, at) => summarize(workers, samples[at]));
  show(rows);

  const recovery = recover(kills);
  showRecovery(recovery);
  const result = { conditions, rounds, ms, kills, rows, recovery };
  console.log(`written: ${save('lock', result)}`);
  return result;
}
