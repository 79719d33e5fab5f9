// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- exchange [--runs N] [--ms N]`: what one FastCGI request on a connection of its own takes of
// the processors when nothing else is done. No web server's way to a program can be cheaper.

import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { range, save, table } from './report.mjs';
import { spread } from './statistics.mjs';

const counts = [1, 2, 8];

function exchange(...args) {
  const words = [`${root}/build/apps/echo`, ...args.map(String)];
  const { status, stdout, stderr } = spawnSync(`${root}/build/bench/exchange`, words, {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`exchange ${words.join(' ')} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

export function run(args) {
  const { values } = parseArgs({
    args,
    options: { runs: { type: 'string', default: '5' }, ms: { type: 'string', default: '1000' } },
  });
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  const rows = counts.map((processes) => {
    const samples = Array.from({ length: Number(values.runs) }, () =>
      exchange(processes, values.ms),
    );
    const us = (field) => spread(samples.map((sample) => sample[field] / 1000));
    return { processes, clientUs: us('clientNs'), programUs: us('programNs') };
  });
  console.log(
    table(
      ['threads and processes', 'client µs', 'min–max', 'program µs', 'min–max'],
      rows.map(({ processes, clientUs, programUs }) => [
        String(processes),
        ...[clientUs, programUs].flatMap((us) => [us.median.toFixed(1), range(us, 1)]),
      ]),
    ),
  );
  console.log('(processor time of one exchange)');
  console.log(`written: ${save('exchange', { conditions, rows })}`);
}
