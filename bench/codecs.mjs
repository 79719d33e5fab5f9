// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- codecs [--rounds N] [--ms N] [--only CASE]`: what our codecs take and allocate for typical
// messages, in processor time; FastCGI beside the npm package fastcgi-stream, on the same bytes.

import { spawnSync } from 'node:child_process';
import { parseArgs } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { range, save, table } from './report.mjs';
import { spread } from './statistics.mjs';

const rival = 'fastcgi-stream';

// A young generation that no measurement fills: the collector does not run while memory is looked at.
const flags = [
  ...['--no-deprecation', '--expose-gc'],
  ...['--max-semi-space-size=64', '--min-semi-space-size=64'],
];

function measure(...args) {
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    [...flags, `${root}/bench/codec-cases.mjs`, ...args.map(String)],
    { encoding: 'utf8' },
  );
  if (status !== 0) throw new Error(`${args.join(' ')} ended with ${status}: ${stderr}`);
  return JSON.parse(stdout);
}

function summarize({ name, label, bytes, codecs }, samples) {
  const of = (codec) => {
    const all = samples.get(`${name} ${codec}`);
    const ns = spread(all.map((sample) => sample.ns));
    return {
      ns,
      perSecond: 1e9 / ns.median,
      megabytesPerSecond: (bytes * 1000) / ns.median,
      heapBytes: spread(all.map(({ heapBytes }) => heapBytes)).median,
      bufferBytes: spread(all.map(({ bufferBytes }) => bufferBytes)).median,
    };
  };
  const measured = Object.fromEntries(codecs.map((codec) => [codec, of(codec)]));
  const ratio = codecs.includes(rival) ? measured[rival].ns.median / measured.ours.ns.median : null;
  return { name, label, bytes, codecs: measured, ratio };
}

function show(rows) {
  console.log(
    table(
      ['message', 'µs', 'min–max', 'messages/s', 'MB/s', 'heap B', 'buffers B', 'times as fast'],
      rows.flatMap(({ label, codecs, ratio }) =>
        Object.entries(codecs).map(([codec, one]) => [
          codec === 'ours' ? label : `  ${codec}`,
          (one.ns.median / 1000).toFixed(2),
          range({ min: one.ns.min / 1000, max: one.ns.max / 1000 }, 2),
          one.perSecond.toFixed(0),
          one.megabytesPerSecond.toFixed(0),
          one.heapBytes.toFixed(0),
          one.bufferBytes.toFixed(0),
          codec === 'ours' && ratio !== null ? ratio.toFixed(1) : '',
        ]),
      ),
    ),
  );
  console.log(
    '(µs of processor time a message, collection included; B: allocated for a message;\n' +
      ' decoders give views of what they read, so MB/s of bodies is how fast they go past)',
  );
}

export async function run(args) {
  const options = {
    rounds: { type: 'string' },
    ms: { type: 'string' },
    only: { type: 'string' },
  };
  const { values } = parseArgs({ args, options });
  const rounds = Number(values.rounds ?? 3);
  const ms = Number(values.ms ?? 30);
  const all = measure(ms);
  const cases = all.filter(({ name }) => values.only === undefined || name === values.only);
  if (cases.length === 0) {
    throw new Error(`--only ${values.only}: one of ${all.map(({ name }) => name).join(', ')}`);
  }
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${rounds} rounds of ${ms} ms, each in a process of its own\n`);

  const samples = new Map();
  for (let round = 0; round < rounds; round++) {
    for (const { name, codecs } of cases) {
      for (const codec of codecs) {
        const key = `${name} ${codec}`;
        samples.set(key, [...(samples.get(key) ?? []), measure(ms, name, codec)]);
      }
    }
  }
  const rows = cases.map((one) => summarize(one, samples));
  show(rows);
  const result = { conditions, rounds, ms, rows };
  console.log(`written: ${save('codecs', result)}`);
  return result;
}
