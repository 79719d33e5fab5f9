// SPDX-License-Identifier: Apache-2.0
// Who waits less for the same instance-seconds. Each of two is taken as it comes, and the other with
// those of its settings, chosen in hindsight, that make it wait least without costing more.
import { type Contestant, contestants, type Variant } from './contestants.ts';
import type { Scenario } from './scenario.ts';
import { simulate } from './simulated-class.ts';
import type { Result } from './tally.ts';

export interface Row {
  scenario: string;
  policy: string;
  result: Result;
}

export interface Comparison {
  scenario: string;
  rival: string;
  /** Who is taken as it comes and sets the price. */
  asItComes: string;
  /** Of the other one. */
  settings: string;
  adaptive: Result;
  other: Result;
}

/** Dearer by no more than this is as dear. */
const TOLERANCE = 1.02;

type Measured = { variant: Variant; result: Result };

export function compareAll(
  described: Scenario,
  names: readonly string[],
  seed: number,
): { rows: Row[]; comparisons: Comparison[] } {
  const requests = described.requests(seed);
  const scenario = { ...described, requests: () => requests };
  const chosen = contestants.filter(({ name }) => names.includes(name));
  const rows = chosen.map((one) => ({
    scenario: scenario.name,
    policy: one.name,
    result: simulate(scenario, one.byDefault.rules(), seed),
  }));
  const [own] = chosen.filter(({ name }) => name === 'adaptive');
  const ours = rows.find(({ policy }) => policy === 'adaptive');
  if (!own || !ours || rows.length < 2) return { rows, comparisons: [] };
  const tuned = measureAll(scenario, own, seed);
  const comparisons = chosen.flatMap((rival, index) => {
    const theirs = rows[index]?.result;
    if (rival === own || !theirs) return [];
    const common = { scenario: scenario.name, rival: rival.name };
    const mine = bestWithin(tuned, theirs.instanceSeconds);
    const other = bestWithin(measureAll(scenario, rival, seed), ours.result.instanceSeconds);
    return [
      ...(mine
        ? [
            {
              ...common,
              asItComes: rival.name,
              ...settled(mine),
              adaptive: mine.result,
              other: theirs,
            },
          ]
        : []),
      ...(other
        ? [
            {
              ...common,
              asItComes: own.name,
              ...settled(other),
              adaptive: ours.result,
              other: other.result,
            },
          ]
        : []),
    ];
  });
  return { rows, comparisons };
}

function settled({ variant }: Measured): { settings: string } {
  return { settings: variant.text };
}

function measureAll(scenario: Scenario, contestant: Contestant, seed: number): Measured[] {
  return [contestant.byDefault, ...contestant.tuned].map((variant) => ({
    variant,
    result: simulate(scenario, variant.rules(), seed),
  }));
}

/** Refusing is no way to wait less. */
function bestWithin(measured: readonly Measured[], instanceSeconds: number): Measured | undefined {
  return measured
    .filter(({ result }) => result.instanceSeconds <= instanceSeconds * TOLERANCE)
    .sort(
      (a, b) => a.result.refused - b.result.refused || a.result.waitMeanMs - b.result.waitMeanMs,
    )[0];
}
