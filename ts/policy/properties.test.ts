// SPDX-License-Identifier: Apache-2.0
// What holds for every policy, whatever happens to a class.
import fc from 'fast-check';
import t from 'tap';
import { adaptive } from './adaptive.ts';
import { existingOf } from './bounds.ts';
import { classic } from './classic.ts';
import { placesFor } from './erlang.ts';
import { policies } from './policies.ts';
import type { ClassFacts } from './policy.ts';
import { policyRules } from './simulate/policy-rules.ts';
import { exponential, seeded } from './simulate/random.ts';
import type { Rules } from './simulate/rules.ts';
import type { Scenario } from './simulate/scenario.ts';
import { simulate } from './simulate/simulated-class.ts';
import { driven, idle } from './testing/facts.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;

/** One moment of a class's life; totals come from adding up. */
const moments = fc.array(
  fc.record({
    passedMs: fc.oneof(fc.nat(120), fc.nat(30_000), fc.nat(2_000_000)),
    ready: fc.nat(40),
    starting: fc.nat(40),
    inFlight: fc.nat(300),
    waiting: fc.nat(500),
    came: fc.nat(2_000),
    ended: fc.nat(2_000),
    servedMs: fc.nat(1_000_000),
    startMs: fc.constantFrom(0, 3, 50, 8_000),
    isIdle: fc.boolean(),
  }),
  { maxLength: 60 },
);
const limits = fc.record({
  min: fc.nat(5),
  max: fc.integer({ min: 5, max: 60 }),
  concurrency: fc.integer({ min: 1, max: 8 }),
  idleStopMs: fc.constantFrom(0, 1_000, 300_000),
  pool: fc.option(
    fc.record({ others: fc.nat(20), min: fc.nat(20), max: fc.integer({ min: 20, max: 60 }) }),
  ),
});

type Life = typeof moments extends fc.Arbitrary<infer Value> ? Value : never;
type Limits = typeof limits extends fc.Arbitrary<infer Value> ? Value : never;

function factsOf(life: Life, { pool, ...common }: Limits): { facts: ClassFacts; nowMs: number }[] {
  let nowMs = 0;
  let [arrivals, completed, servingMs] = [0, 0, 0];
  return life.map(({ passedMs, came, ended, servedMs, isIdle, ...now }) => {
    nowMs += passedMs;
    arrivals += came;
    completed += ended;
    servingMs += servedMs;
    const instances = now.ready + now.starting + (pool?.others ?? 0);
    const quiet = isIdle ? { inFlight: 0, waiting: 0 } : {};
    const facts = {
      ...idle,
      ...now,
      ...common,
      ...{ arrivals, completed, servingMs, ...quiet },
      idleForMs: isIdle ? passedMs : 0,
      pool: pool && { min: pool.min, max: pool.max, instances },
    };
    return { facts, nowMs };
  });
}

for (const policy of Object.values(policies)) {
  t.test(`${policy.name} stays within its bounds`, async () => {
    fc.assert(
      fc.property(moments, limits, (life, bounds) => {
        let memory = policy.initial(0, 0);
        for (const { facts, nowMs } of factsOf(life, bounds)) {
          const decision = policy.decide(facts, memory, nowMs);
          memory = decision.memory;
          const { wanted } = decision;
          const existing = existingOf(facts);
          if (!Number.isInteger(wanted) || wanted < facts.min || wanted > facts.max) return false;
          // What requests need now is never given up.
          const needed = Math.ceil((facts.inFlight + facts.waiting) / facts.concurrency);
          if (facts.ready > 0 && wanted < Math.min(existing, needed, facts.max)) return false;
          // Nor does the pool fall below its minimum; only the class's own limit is harder.
          const { pool } = facts;
          const given = existing - wanted;
          const isOver = existing > facts.max;
          if (pool && given > 0 && !isOver && pool.instances - given < pool.min) return false;
        }
        return true;
      }),
      { numRuns: 500 },
    );
  });

  t.test(`${policy.name} starts nothing for nobody`, async () => {
    fc.assert(
      fc.property(moments, (life) => {
        let memory = policy.initial(0, 0);
        let nowMs = 0;
        for (const { passedMs } of life) {
          nowMs += passedMs;
          const decision = policy.decide({ ...idle, idleForMs: nowMs }, memory, nowMs);
          memory = decision.memory;
          if (decision.wanted !== 0) return false;
        }
        return true;
      }),
    );
  });
}

/** What is likely and not certain is asked of the same loads each time. */
const statistical = { numRuns: 12, seed: 1 };

/** A steady load, exponential on both sides. */
function steady(rate: number, serviceMs: number, startMs: number, minutes: number): Scenario {
  const durationMs = minutes * MINUTE;
  return {
    name: 'steady',
    text: '',
    durationMs,
    warmUpMs: 10 * MINUTE,
    startMs,
    max: 64,
    concurrency: 1,
    queueLimit: 1024,
    requests(seed) {
      const random = seeded(seed);
      const requests = [];
      for (let atMs = 0; atMs < durationMs; atMs += exponential(random, SECOND / rate)) {
        requests.push({ atMs, serviceMs: exponential(random, serviceMs) });
      }
      return requests;
    },
  };
}

const loads = fc.record({
  seed: fc.nat(1_000_000),
  rate: fc.double({ min: 0.2, max: 30, noNaN: true }),
  serviceMs: fc.constantFrom(5, 50, 200, 400),
  startMs: fc.constantFrom(3, 50, 500),
});

t.test('adaptive does not flap under a steady load', async (t) => {
  let most = 0;
  fc.assert(
    fc.property(loads, ({ seed, rate, serviceMs, startMs }) => {
      const scenario = steady(rate, serviceMs, startMs, 70);
      const { starts } = simulate(scenario, policyRules(adaptive), seed);
      most = Math.max(most, starts);
      return starts <= 60;
    }),
    statistical,
  );
  t.comment(`at most ${most} starts an hour`);
});

/** Begins with so many instances instead of none. */
function beginningWith(instances: number, rules: Rules): Rules {
  let begun = false;
  return {
    name: rules.name,
    act(view, nowMs) {
      const action = rules.act(view, nowMs);
      if (begun) return action;
      begun = true;
      return { start: instances, stop: [] };
    },
  };
}

t.test('adaptive comes to what a steady load needs, from any number', async () => {
  fc.assert(
    fc.property(loads, fc.nat(60), ({ seed, rate, serviceMs }, instances) => {
      const scenario = { ...steady(rate, serviceMs, 50, 20), warmUpMs: 18 * MINUTE };
      const rules = beginningWith(instances, policyRules(adaptive));
      const result = simulate(scenario, rules, seed);
      const load = (rate * serviceMs) / SECOND;
      const needs = placesFor(load, serviceMs, Math.max(3, serviceMs * 0.03), 64);
      // In two minutes a few requests more or less may come than the rate says.
      const doubt = 2 + 2 * Math.sqrt(load);
      return result.instancesMean > load && result.instancesMean < needs + doubt + 1;
    }),
    statistical,
  );
});

t.test('a class that is no longer asked goes to zero', async (t) => {
  const scenario = steady(20, 100, 50, 30);
  const early = {
    ...scenario,
    requests: (seed: number) => scenario.requests(seed).slice(0, 2_000),
  };
  const last = { ...early, warmUpMs: 25 * MINUTE };
  t.equal(simulate(last, policyRules(adaptive), 1).instancesMean, 0, 'adaptive: after -idle-stop');
  const never = policyRules(adaptive, { idleStopMs: 0 });
  t.equal(simulate(last, never, 1).instancesMean, 1, 'with -idle-stop 0 the last one stays');
  t.equal(
    simulate(last, policyRules(classic), 1).instancesMean,
    1,
    'classic: with -singleThreshold 0 the last one stays',
  );
});

t.test('short requests make no crowd of a moment', async (t) => {
  // 1 ms each, 300 a second: 30 % of one instance, with a line of some now and then.
  const result = simulate(steady(300, 1, 50, 12), policyRules(adaptive), 3);
  t.ok(result.instancesMax <= 3, `${result.instancesMax} instances`);
});

t.test('frequent and irregular looks decide alike', async (t) => {
  const wanted = (everyMs: number) => {
    const step = driven(adaptive);
    let last = 0;
    for (let now = 0; now <= 120 * SECOND; now += everyMs) {
      // 20 requests a second, 100 ms each: a load of two.
      const arrivals = Math.floor(now / 50);
      const facts = { ready: Math.max(1, last), inFlight: 2, arrivals, completed: arrivals };
      last = step({ ...facts, servingMs: arrivals * 100, startMs: 50 }, now);
    }
    return last;
  };
  t.equal(wanted(5), wanted(100));
  t.equal(wanted(1_700), wanted(100));
});
