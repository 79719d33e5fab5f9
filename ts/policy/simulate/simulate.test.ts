// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { adaptive, adaptiveWith, defaults } from '../adaptive.ts';
import { classic } from '../classic.ts';
import { fcgidRules } from './fcgid-rules.ts';
import { classicPool, policyRules } from './policy-rules.ts';
import { exponential, lognormal, pareto, seeded } from './random.ts';
import type { Rules } from './rules.ts';
import { type Scenario, scenarios } from './scenario.ts';
import { simulate } from './simulated-class.ts';
import { table } from './table.ts';

const MINUTE = 60_000;
const SEEDS = [1, 2, 3];

/** A scenario cut short; what follows its first minutes is the same as at first. */
function short(name: string, minutes: number): Scenario {
  const scenario = scenarios.find((one) => one.name === name)!;
  return { ...scenario, durationMs: minutes * MINUTE };
}

/** So many instances, always. */
function constant(instances: number): Rules {
  return {
    name: 'constant',
    act: (view) => ({ start: Math.max(0, instances - view.instances.length), stop: [] }),
  };
}

const classicRules = () => policyRules(classic, { pool: classicPool });

/** Adaptive as it is, giving instances up sooner, and satisfied with longer waits. */
const prices = [{}, { holdMs: 1_000 }, { targetMs: 60, targetShare: 0.6 }];

t.test('the simulation agrees with the formula where there is one', async (t) => {
  // M/M/6 with a load of 4: C = 0.2848, and a request waits C × 100 ms ÷ 2.
  const result = simulate(short('steady', 60), constant(6), 1);
  t.ok(Math.abs(result.waitMeanMs - 14.2) < 1.5, `mean wait ${result.waitMeanMs} ms`);
  t.equal(result.instancesMean, 6);
  t.equal(result.starts, 0, 'what happens in the warm-up is not counted');
  t.ok(Math.abs(result.requests - 40 * 55 * 60) < 2_000, 'every request is counted');
});

t.test('the same seed gives the same numbers, another one others', async (t) => {
  const run = (seed: number) => simulate(short('burst', 10), policyRules(adaptive), seed);
  t.same(run(7), run(7));
  t.not(run(7).waitMeanMs, run(8).waitMeanMs);
});

t.test('requests that find the line full are refused', async (t) => {
  const result = simulate({ ...short('burst', 10), queueLimit: 10 }, constant(1), 1);
  t.ok(result.refused > 0);
});

for (const name of ['burst', 'diurnal']) {
  t.test(`${name}: adaptive waits less for no more instance-seconds`, async (t) => {
    const scenario = short(name, name === 'burst' ? 20 : 60);
    for (const seed of SEEDS) {
      const own = prices.map((price) =>
        simulate(scenario, policyRules(adaptiveWith({ ...defaults, ...price })), seed),
      );
      for (const rival of [classicRules(), fcgidRules()]) {
        const theirs = simulate(scenario, rival, seed);
        const asCheap = own.filter((one) => one.instanceSeconds <= theirs.instanceSeconds * 1.02);
        t.ok(asCheap.length > 0, `seed ${seed}: as cheap as ${rival.name}`);
        const best = Math.min(...asCheap.map((one) => one.waitMeanMs));
        t.ok(best < theirs.waitMeanMs * 0.8, `${best} ms, ${rival.name} ${theirs.waitMeanMs} ms`);
      }
    }
  });
}

t.test('steady: adaptive finds the number that a constant one would have to be', async (t) => {
  const scenario = short('steady', 30);
  for (const seed of SEEDS) {
    const own = simulate(scenario, policyRules(adaptive), seed);
    const fewer = simulate(scenario, constant(Math.floor(own.instancesMean)), seed);
    t.ok(own.waitMeanMs < fewer.waitMeanMs * 1.25, `seed ${seed}: ${own.waitMeanMs} ms`);
    t.ok(own.starts < 30, `${own.starts} starts in 25 minutes`);
    t.equal(own.refused, 0);
  }
});

t.test('random numbers have the mean they should', async (t) => {
  const random = seeded(5);
  const mean = (draw: () => number) => {
    let sum = 0;
    for (let one = 0; one < 200_000; one += 1) sum += draw();
    return sum / 200_000;
  };
  t.ok(Math.abs(mean(() => exponential(random, 100)) - 100) < 2);
  t.ok(Math.abs(mean(() => lognormal(random, 100, 1)) - 100) < 2);
  // Of a Pareto distribution with shape 3 from 1 (and practically no upper end): 3 ÷ 2.
  t.ok(Math.abs(mean(() => pareto(random, 3, 1, 1e6)) - 1.5) < 0.03);
});

t.test('tables', async (t) => {
  const rows = [
    ['a', '1', 'x'],
    ['longer', '10.5', 'y'],
  ];
  t.equal(table(['name', 'n', 'why'], rows), 'name       n  why\na          1  x\nlonger  10.5  y');
});
