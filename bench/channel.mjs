// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- channel [--rounds N] [--ms N]`: what a worker does for a request besides taking a place
// (take.mjs): finding one class among many, looking again while it waits, entering and leaving a line.

import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { range, save, table } from './report.mjs';
import { spread } from './statistics.mjs';

const classCounts = [1, 100, 1000, 2000]; // 2,048 is the most there can be

const steps = [
  { step: 'find', label: 'request for any of so many classes, with its place' },
  { step: 'queue', label: 'request that finds its class full, and leaves' },
  { step: 'look', label: 'another look for one that waits for an instance' },
];

function measure(step, classes, ms) {
  const args = [step, classes, ms].map(String);
  const { status, stdout, stderr } = spawnSync(`${root}/build/bench/channel`, args, {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`channel ${args.join(' ')} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout).processorNs;
}

export async function run(args) {
  const options = { rounds: { type: 'string' }, ms: { type: 'string' } };
  const { values } = parseArgs({ args, options });
  const rounds = Number(values.rounds ?? 7);
  const ms = Number(values.ms ?? 150);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${rounds} rounds of ${ms} ms\n`);

  const cases = steps.flatMap(({ step, label }) =>
    classCounts.map((classes) => ({ step, label, classes, samples: [] })),
  );
  for (let round = 0; round < rounds; round++) {
    for (const { step, classes, samples } of cases) samples.push(measure(step, classes, ms));
  }
  const rows = cases.map(({ step, label, classes, samples }) => {
    return { step, label, classes, processorNs: spread(samples) };
  });
  console.log(
    table(
      ['', 'classes', 'ns', 'min–max'],
      rows.map(({ label, classes, processorNs }) => [
        label,
        String(classes),
        processorNs.median.toFixed(0),
        range(processorNs),
      ]),
    ),
  );
  const result = { conditions, rounds, ms, rows };
  console.log(`written: ${save('channel', result)}`);
  return result;
}
