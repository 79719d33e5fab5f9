// SPDX-License-Identifier: Apache-2.0
// What `npm run simulate` prints.
import { type Comparison, compareAll, type Row } from './compare.ts';
import { contestants } from './contestants.ts';
import { scenarios } from './scenario.ts';
import { table } from './table.ts';

export interface ReportOptions {
  /** Names; empty = all. */
  scenarios: readonly string[];
  policies: readonly string[];
  seed: number;
}

export interface Report {
  seed: number;
  rows: Row[];
  comparisons: Comparison[];
}

export const scenarioNames = scenarios.map(({ name }) => name);
export const policyNames = contestants.map(({ name }) => name);

/** @param progress Called with each scenario's tables as soon as they are known. */
export function report(options: ReportOptions, progress: (text: string) => void): Report {
  const whole: Report = { seed: options.seed, rows: [], comparisons: [] };
  const names = options.policies.length > 0 ? options.policies : policyNames;
  for (const scenario of scenarios) {
    if (options.scenarios.length > 0 && !options.scenarios.includes(scenario.name)) continue;
    const { rows, comparisons } = compareAll(scenario, names, options.seed);
    whole.rows.push(...rows);
    whole.comparisons.push(...comparisons);
    const tables = [
      resultTable(rows),
      ...(comparisons.length > 0 ? [priceTable(comparisons)] : []),
    ];
    progress(`${scenario.name}: ${scenario.text}\n\n${tables.join('\n\n')}\n`);
  }
  return whole;
}

function resultTable(rows: readonly Row[]): string {
  const heads = 'policy|instances|max|wait ms|p95|p99|refused|instance-seconds|starts'.split('|');
  return table(
    heads,
    rows.map(({ policy, result }) => [
      policy,
      round(result.instancesMean, 2),
      String(result.instancesMax),
      round(result.waitMeanMs, 1),
      round(result.wait95Ms, 0),
      round(result.wait99Ms, 0),
      String(result.refused),
      round(result.instanceSeconds, 0),
      String(result.starts),
    ]),
  );
}

function priceTable(comparisons: readonly Comparison[]): string {
  const heads = 'for the price of|instance-seconds|adaptive waits ms|rival|waits ms|tuned'.split(
    '|',
  );
  return table(
    heads,
    comparisons.map(({ asItComes, adaptive, other, rival, settings }) => [
      asItComes,
      round((asItComes === 'adaptive' ? adaptive : other).instanceSeconds, 0),
      round(adaptive.waitMeanMs, 1),
      rival,
      round(other.waitMeanMs, 1),
      `${asItComes === 'adaptive' ? rival : 'adaptive'}: ${settings}`,
    ]),
  );
}

function round(value: number, digits: number): string {
  return value.toFixed(digits);
}
