// SPDX-License-Identifier: Apache-2.0
// `npm run simulate [-- --scenario NAME] [--policy NAME] [--seed N] [--json]`: the policies, and
// mod_fcgid's rules, on the same requests in virtual time. --scenario and --policy may be repeated;
// without them everything is compared. Nothing is measured on this machine: the same seed gives the
// same numbers everywhere.

import './node-version.mjs';
import { parseArgs } from 'node:util';
import { register } from 'tsx/esm/api';
import { isMain } from './run.mjs';

/** @throws Error that names the wrong option and what is allowed. */
function readOptions(args, { scenarioNames, policyNames }) {
  const { values } = parseArgs({
    args,
    options: {
      scenario: { type: 'string', multiple: true, default: [] },
      policy: { type: 'string', multiple: true, default: [] },
      seed: { type: 'string', default: '1' },
      json: { type: 'boolean', default: false },
    },
  });
  const seed = Number(values.seed);
  if (!Number.isInteger(seed) || seed < 0 || seed >= 2 ** 31) {
    throw new Error(`--seed ${values.seed}: expected a whole number from 0 to ${2 ** 31 - 1}`);
  }
  check('--scenario', values.scenario, scenarioNames);
  check('--policy', values.policy, policyNames);
  return { scenarios: values.scenario, policies: values.policy, seed, json: values.json };
}

function check(option, given, allowed) {
  const wrong = given.find((name) => !allowed.includes(name));
  if (wrong !== undefined) {
    throw new Error(`${option} ${wrong}: expected one of ${allowed.join(', ')}`);
  }
}

async function simulate(args) {
  const unregister = register();
  const simulation = await import('../ts/policy/simulate/report.ts');
  await unregister();
  const { json, ...options } = readOptions(args, simulation);
  const whole = simulation.report(options, (text) => {
    if (!json) console.log(text);
  });
  if (json) console.log(JSON.stringify(whole, null, 2));
}

if (isMain(import.meta.url)) {
  try {
    await simulate(process.argv.slice(2));
  } catch (error) {
    console.error(`simulate: ${error.message}`);
    process.exitCode = 1;
  }
}
