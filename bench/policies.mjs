// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- policies [--rounds N] [--ms N]`: what a decision of a policy takes, for 1 to 1,000 classes
// under the loads of `npm run simulate`: what the policy was told there is told to it again.

import { parseArgs } from 'node:util';
import { register } from 'tsx/esm/api';
import { policies } from '../dist/policy/policies.js';
import * as machine from './machine.mjs';
import { range, save, table } from './report.mjs';
import { spread } from './statistics.mjs';

const classCounts = [1, 100, 1000];
const loads = ['steady', 'burst', 'diurnal'];

/** Of the manager, which looks at classes at least so often. */
const passesPerSecond = 10;

/** Of each load, its last decisions. */
const recordedMax = 20_000;

/** What the policy was told in a simulation of ten minutes: facts and times. */
function record(policy, scenario, { simulate, policyRules }) {
  const told = [];
  const recorder = {
    ...policy,
    decide(facts, memory, nowMs) {
      told.push({ facts, nowMs });
      return policy.decide(facts, memory, nowMs);
    },
  };
  const durationMs = 600_000;
  const requests = scenario.requests(1).filter(({ atMs }) => atMs < durationMs);
  const short = { ...scenario, durationMs, warmUpMs: 60_000, requests: () => requests };
  simulate(short, policyRules(recorder), 1);
  return told.slice(-recordedMax);
}

async function recordAll() {
  const unregister = register();
  // biome-ignore lint/style/noRestrictedImports: the simulation is no part of dist
  const { scenarios } = await import('../ts/policy/simulate/scenario.ts');
  // biome-ignore lint/style/noRestrictedImports: the simulation is no part of dist
  const { simulate } = await import('../ts/policy/simulate/simulated-class.ts');
  // biome-ignore lint/style/noRestrictedImports: the simulation is no part of dist
  const { policyRules } = await import('../ts/policy/simulate/policy-rules.ts');
  await unregister();
  const chosen = scenarios.filter(({ name }) => loads.includes(name));
  return Object.values(policies).map((policy) => ({
    policy,
    recordings: chosen.map((scenario) => record(policy, scenario, { simulate, policyRules })),
  }));
}

function processorNs() {
  const { user, system } = process.cpuUsage();
  return (user + system) * 1000;
}

/** Each class has one of the recordings, and goes through it from a place of its own. */
function beginClasses(policy, recordings, count) {
  return Array.from({ length: count }, (_, number) => {
    const told = recordings[number % recordings.length];
    const at = Math.floor((number * 7919) % told.length);
    return { told, at, memory: policy.initial(0, told[at].nowMs) };
  });
}

function decideForAll(policy, classes) {
  for (const one of classes) {
    if (one.at === one.told.length) {
      one.at = 0;
      one.memory = policy.initial(0, one.told[0].nowMs);
    }
    const { facts, nowMs } = one.told[one.at++];
    const { wanted, memory } = policy.decide(facts, one.memory, nowMs);
    if (!(wanted >= facts.min && wanted <= facts.max)) throw new Error(`${policy.name}: ${wanted}`);
    one.memory = memory;
  }
}

/** ns of processor time a decision. */
function measure(policy, recordings, count, ms) {
  const classes = beginClasses(policy, recordings, count);
  const beganNs = processorNs();
  let decisions = 0;
  let tookNs = 0;
  while (tookNs < ms * 1e6) {
    for (let i = 0; i < 1000; i += count) {
      decideForAll(policy, classes);
      decisions += count;
    }
    tookNs = processorNs() - beganNs;
  }
  return tookNs / decisions;
}

export async function run(args) {
  const options = { rounds: { type: 'string' }, ms: { type: 'string' } };
  const { values } = parseArgs({ args, options });
  const rounds = Number(values.rounds ?? 5);
  const ms = Number(values.ms ?? 200);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${rounds} rounds of ${ms} ms; loads: ${loads.join(', ')}\n`);

  const cases = (await recordAll()).flatMap(({ policy, recordings }) =>
    classCounts.map((classes) => ({ policy, recordings, classes, samples: [] })),
  );
  for (const { policy, recordings, classes } of cases) measure(policy, recordings, classes, ms / 4);
  for (let round = 0; round < rounds; round++) {
    for (const { policy, recordings, classes, samples } of cases) {
      samples.push(measure(policy, recordings, classes, ms));
    }
  }
  const rows = cases.map(({ policy, classes, samples }) => {
    const ns = spread(samples);
    return {
      policy: policy.name,
      classes,
      ns,
      perSecond: 1e9 / ns.median,
      /** Of one processor, while all classes are decided on at each pass. */
      share: (ns.median * classes * passesPerSecond) / 1e9,
    };
  });
  console.log(
    table(
      ['policy', 'classes', 'µs a decision', 'min–max', 'decisions/s', 'of a processor'],
      rows.map(({ policy, classes, ns, perSecond, share }) => [
        policy,
        String(classes),
        (ns.median / 1000).toFixed(2),
        range({ min: ns.min / 1000, max: ns.max / 1000 }, 2),
        perSecond.toFixed(0),
        `${(100 * share).toFixed(3)} %`,
      ]),
    ),
  );
  console.log(`(of a processor: all classes, ${passesPerSecond} times a second)`);
  const result = { conditions, rounds, ms, loads, rows };
  console.log(`written: ${save('policies', result)}`);
  return result;
}
