// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- take [--runs N] [--ms N]`: what it costs a worker to take a place and give it
// back with its load data, alone and beside a second process; ns of processor time.

import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { range, save, table, verdict } from './report.mjs';
import { spread } from './statistics.mjs';

const goal = { atLeast: 150, aim: 50, better: 'lower' };

// Several endpoints of one place are what a class of plain FastCGI programs looks like; one endpoint
// of many places makes all workers write the same words.
const cases = [
  { workers: 1, as: 'nginx', endpoints: 4, concurrency: 1, goal },
  { workers: 1, as: 'apache', endpoints: 4, concurrency: 1, goal },
  { workers: 1, as: 'nginx', endpoints: 64, concurrency: 1 },
  { workers: 2, as: 'nginx', endpoints: 4, concurrency: 1 },
  { workers: 2, as: 'apache', endpoints: 4, concurrency: 1 },
  { workers: 2, as: 'nginx', endpoints: 1, concurrency: 64 },
];

function measure({ workers, as, endpoints, concurrency }, ms) {
  const args = [workers, as, endpoints, concurrency, ms].map(String);
  const { status, stdout, stderr } = spawnSync(`${root}/build/bench/take`, args, {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`take ${args.join(' ')} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

export async function run(args) {
  const options = { runs: { type: 'string' }, ms: { type: 'string' } };
  const { values } = parseArgs({ args, options });
  const runs = Number(values.runs ?? 9);
  const ms = Number(values.ms ?? 300);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${runs} runs of ${ms} ms\n`);

  const samples = cases.map(() => []);
  for (let i = 0; i < runs; i++) {
    for (const [at, settings] of cases.entries()) samples[at].push(measure(settings, ms));
  }
  const results = cases.map((settings, at) => ({
    ...settings,
    processorNs: spread(samples[at].map(({ processorNs }) => processorNs)),
    wallNs: spread(samples[at].map(({ wallNs }) => wallNs)),
    notTaken: samples[at].reduce((sum, { notTaken }) => sum + notTaken, 0),
  }));

  console.log(
    table(
      ['worker × class', 'ns', 'min–max', 'wall ns', 'no place', 'at most', 'aim', ''],
      results.map((result) => [
        `${result.workers} as ${result.as}, ${result.endpoints} instances × ${result.concurrency}`,
        result.processorNs.median.toFixed(0),
        range(result.processorNs),
        result.wallNs.median.toFixed(0),
        String(result.notTaken),
        result.goal ? String(goal.atLeast) : '',
        result.goal ? String(goal.aim) : '',
        result.goal ? verdict(result.processorNs.median, goal) : '',
      ]),
    ),
  );
  const result = { conditions, runs, ms, results };
  console.log(`written: ${save('take', result)}`);
  return result;
}
