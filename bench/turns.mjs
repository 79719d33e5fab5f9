// SPDX-License-Identifier: Apache-2.0
// Several servers asked in turns, one at a time: what disturbs one round disturbs all of them. What a
// turn gives is a sample: numbers, and how many errors of each kind there were.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { table, verdict } from './report.mjs';
import { eventually, usherStatus } from './site.mjs';
import { interval, median, spread } from './statistics.mjs';

/** Whole numbers with these defaults, and --only, names of servers with commas between them. */
export function parseSettings(args, defaults) {
  const names = Object.keys(defaults);
  const { values } = parseArgs({
    args,
    options: {
      ...Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
      only: { type: 'string' },
    },
  });
  const settings = { ...defaults, only: values.only?.split(',') };
  for (const name of names.filter((candidate) => values[candidate] !== undefined)) {
    const value = Number(values[name]);
    if (!(value >= 1 && value <= 10_000 && Number.isInteger(value))) {
      throw new Error(`--${name} ${values[name]}: expected a whole number from 1 to 10000`);
    }
    settings[name] = value;
  }
  return settings;
}

export function choose(all, only) {
  const chosen = all.filter(({ id }) => only?.includes(id) ?? true);
  if (chosen.length === 0) {
    throw new Error(`--only ${only}: expected some of ${all.map(({ id }) => id)}`);
  }
  return chosen;
}

/** Requests that Usher still counts a while after the last client has gone: there should be none. */
export async function stuck({ runtimeDir }) {
  if (runtimeDir === undefined) return 0;
  let count;
  const none = () => {
    const classes = usherStatus(runtimeDir)?.classes ?? [];
    count = classes.reduce((sum, { inFlight, waiting }) => sum + inFlight + waiting, 0);
    return count === 0;
  };
  await eventually('no request is left', none, 3000).catch(() => {});
  return count;
}

export function isValid({ requests, errors }) {
  return requests > 0 && Object.values(errors).every((count) => count === 0);
}

/** The samples of each server, in the order of the rounds. */
export async function takeTurns(rounds, servers, measure, what = '') {
  const samples = new Map(servers.map(({ id }) => [id, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const server of servers) {
      const sample = await measure(server);
      samples.get(server.id).push(sample);
      process.stderr.write(
        `bench: ${what}round ${round}: ${server.label}: ${sample.perSecond.toFixed(0)} req/s` +
          `${isValid(sample) ? '' : ` INVALID ${JSON.stringify(sample.errors)}`}\n`,
      );
      await sleep(200); // what is left to do for the last one
    }
  }
  return samples;
}

/** Spreads of the numbers with these names, and the errors of all samples. */
export function summarize({ id, label }, samples, fields) {
  const errors = {};
  for (const sample of samples) {
    for (const [kind, count] of Object.entries(sample.errors)) {
      if (count > 0) errors[kind] = (errors[kind] ?? 0) + count;
    }
  }
  const spreads = fields.map((field) => [field, spread(samples.map((sample) => sample[field]))]);
  return {
    id,
    label,
    isValid: samples.every(isValid),
    errors,
    ...Object.fromEntries(spreads),
    samples,
  };
}

/** Share of the processors that others had. */
export function othersShare(rows) {
  return { median: median(rows.flatMap((r) => r.samples.map((s) => s.othersShare))) };
}

/** What a server found worth an error log line; its starting and stopping are not. */
export function complaints(site, { name }) {
  const lines = site.said(name).split('\n');
  return lines.filter((line) => line !== '' && !/[:[]notice\]/.test(line));
}

/**
 * Ratios of turns of the same round, of rates, and of processor time with its meaning turned; against
 * the best of `to`, if there are several. undefined when one of both was not asked.
 * @param by Whose processor time counts: a field of the samples.
 */
export function compare({ of, to, atLeast, aim, by = 'wholeUs' }, rows) {
  const ours = rows.find((row) => row.id === of);
  const rivals = rows.filter((row) => [to].flat().includes(row.id));
  if (ours === undefined || rivals.length === 0) return undefined;
  const theirs = rivals.reduce((best, row) =>
    row.perSecond.median > best.perSecond.median ? row : best,
  );
  const pairs = ours.samples.map((sample, i) => [sample, theirs.samples[i]]);
  const rates = pairs.map(([a, b]) => a.perSecond / b.perSecond);
  return {
    of,
    to: theirs.id,
    label: `${ours.label} : ${theirs.label}`,
    atLeast,
    aim,
    isValid: ours.isValid && theirs.isValid,
    rate: { ...spread(rates), interval: interval(rates) },
    processorTime: spread(pairs.map(([a, b]) => b[by] / a[by])),
    p99: spread(pairs.map(([a, b]) => a.p99Ms / b.p99Ms)),
    verdict: atLeast && verdict(median(rates), { atLeast, aim, better: 'higher' }),
  };
}

export function errorText({ isValid, errors }) {
  if (isValid) return '0';
  const counts = Object.entries(errors).map(([kind, count]) => `${count} ${kind}`);
  return `INVALID: ${counts.join(', ') || 'nothing answered'}`;
}

export function ratioTable(ratios) {
  return table(
    ['ratio, round by round', 'req/s', '95 % within', 'by time', 'p99', 'must', 'aim', ''],
    ratios.map((ratio) => [
      ratio.label,
      ratio.rate.median.toFixed(2),
      `${ratio.rate.interval.from.toFixed(2)}–${ratio.rate.interval.to.toFixed(2)}`,
      ratio.processorTime.median.toFixed(2),
      ratio.p99.median.toFixed(2),
      ratio.atLeast?.toFixed(2) ?? '–',
      ratio.aim?.toFixed(2) ?? '–',
      ratio.isValid ? (ratio.verdict ?? '') : 'INVALID',
    ]),
  );
}

export function showOthersShare({ median: share }) {
  console.log(`others had ${(share * 100).toFixed(0)} % of the processors`);
}

export function showComplaints(servers) {
  for (const { label, complaints: lines } of servers) {
    if (lines.length > 0) console.log(`${label} logged ${lines.length} lines, first: ${lines[0]}`);
  }
}
