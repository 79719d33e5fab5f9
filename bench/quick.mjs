// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- quick [--margin PERCENT]`: everything that Usher must reach, measured in a few minutes: one
// table of what is, what must be and what we aim at. Fails when something misses its goal by more than the
// margin, which is for the noise of short measurements.

import { parseArgs } from 'node:util';
import { table } from './report.mjs';

const short = ['--rounds', '3', '--seconds', '1', '--warm-up', '1'];

const sameAs = (name) => (result) => ratiosOf(name, result);

function ratiosOf(name, { results }) {
  return results.flatMap(({ label, ratios }) =>
    ratios
      .filter(({ atLeast }) => atLeast !== undefined)
      .map((ratio) => ({
        ...{ name, label: `${ratio.label}: ${label}`, better: 'higher' },
        ...{ is: ratio.rate.median, atLeast: ratio.atLeast, aim: ratio.aim },
        isValid: ratio.isValid,
      })),
  );
}

/** What is asked for, in which order, and the lines of the table that come of it. */
const parts = [
  { name: 'take', args: ['--runs', '5'], lines: linesOfTake },
  { name: 'start', args: [], lines: linesOfStart },
  { name: 'cold', args: ['--repetitions', '8'], lines: linesOfCold },
  { name: 'burst', args: ['--repetitions', '5'], lines: linesOfBurst },
  { name: 'footprint', args: ['--seconds', '10', '--settle', '15'], lines: linesOfFootprint },
  {
    name: 'rates',
    args: [
      ...[...short, '--of', 'full'],
      ...['--only', 'nginx-stock,nginx-usher,apache-proxy,apache-usher,apache-fcgid'],
    ],
  },
  { name: 'keep', args: [...short, '--only', 'nginx-stock,nginx-usher'] },
  { name: 'saturation', args: [...short, '--of', 'hello'] },
  { name: 'cgi', args: [...short, '--of', 'c', '--only', 'nginx-fcgiwrap,nginx-usher'] },
  { name: 'runtime', args: [...short, '--only', 'http,node'] },
  {
    name: 'ajp',
    args: [...short, '--of', 'get,post-20k', '--only', 'apache-ajp,apache-jk,nginx-usher'],
  },
];

const line = (name, label, is, goal, unit) => ({ name, label, is, unit, isValid: true, ...goal });

function linesOfTake({ results }) {
  return results
    .filter(({ goal }) => goal !== undefined)
    .map(({ as, processorNs, goal }) =>
      line('take', `take and release a place, as ${as}`, processorNs.median, goal, 'ns'),
    );
}

function linesOfStart({ rows }) {
  return rows
    .filter(({ goal }) => goal !== undefined)
    .map(({ label, p50Us, goal }) => line('start', `${label}, p50`, p50Us, goal, 'µs'));
}

function linesOfCold({ results, goal }) {
  const [bare, ...others] = results;
  return others
    .filter(({ label }) => label.endsWith('cold'))
    .map(({ label, firstByteMs }) =>
      line(
        'cold',
        `${label}: first byte, + ms`,
        firstByteMs.median - bare.firstByteMs.median,
        goal,
      ),
    );
}

function linesOfBurst({ results, goal, leastMs }) {
  return results.map(({ label, lastByteMs }) =>
    line('burst', `${label}: 64 × 100 ms, × the least`, lastByteMs.median / leastMs, goal),
  );
}

function linesOfFootprint({ goals, memoryMb, idlePercent }) {
  return [
    line('footprint', 'manager, 1000 classes: resident', memoryMb, goals.memoryMb, 'MB'),
    line('footprint', 'manager, 1000 classes: idle', idlePercent, goals.idlePercent, '%'),
  ];
}

/** By how much a value is worse than what it must be; 0 if it is not. */
function shortfall({ is, atLeast, better }) {
  const share = better === 'higher' ? 1 - is / atLeast : is / atLeast - 1;
  return Math.max(0, share);
}

function judge(one, margin) {
  const missing = shortfall(one);
  if (!one.isValid || Number.isNaN(one.is)) return { fails: true, text: 'INVALID' };
  if (missing === 0) {
    const reachesAim = shortfall({ ...one, atLeast: one.aim }) === 0;
    return { fails: false, text: reachesAim ? 'reached' : 'reached, aim not' };
  }
  if (missing <= margin) return { fails: false, text: 'within the margin' };
  return { fails: true, text: 'MISSED' };
}

export async function run(args) {
  const { values } = parseArgs({ args, options: { margin: { type: 'string' } } });
  const margin = Number(values.margin ?? 10) / 100;
  if (!(margin >= 0 && margin < 1)) {
    throw new Error(`--margin ${values.margin}: expected a percentage from 0 to 99`);
  }
  const beganMs = performance.now();
  const lines = [];
  for (const { name, args: own, lines: of = sameAs(name) } of parts) {
    console.log(`\n== ${name}`);
    const benchmark = await import(`./${name}.mjs`);
    lines.push(...of(await benchmark.run(own)));
  }
  const judged = lines.map((one) => ({ ...one, ...judge(one, margin) }));
  const number = (value) => value.toFixed(value < 10 ? 2 : 0);
  console.log(`\n== quick: ${((performance.now() - beganMs) / 60_000).toFixed(1)} minutes\n`);
  console.log(
    table(
      ['what must be reached', 'is', 'must', 'aim', ''],
      judged.map(({ label, is, atLeast, aim, unit = '', text }) => [
        label,
        `${number(is)} ${unit}`.trim(),
        String(atLeast),
        String(aim),
        text,
      ]),
    ),
  );
  const failed = judged.filter(({ fails }) => fails);
  if (failed.length > 0) {
    throw new Error(`${failed.length} of ${judged.length} are missed by more than the margin`);
  }
}
