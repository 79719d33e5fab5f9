// SPDX-License-Identifier: Apache-2.0
// `npm run bench [-- NAME [--option value …]]`: Usher beside its rivals, measured in one run on this
// machine; without NAME all benchmarks. Options are those of bench/NAME.mjs. Prints tables and writes
// bench/results/NAME-TIME.json.

import './node-version.mjs';
import { isMain, run } from './run.mjs';
import { setup } from './setup.mjs';

const names = [
  ...['rates', 'keep', 'php', 'cgi', 'ajp', 'runtime', 'models', 'saturation', 'mixed', 'growth'],
  ...['cold', 'burst', 'footprint', 'status'],
  ...['exchange', 'take', 'channel', 'lock', 'start', 'codecs', 'policies', 'quick'],
];

/** Without a name: `quick` would do again, and worse, what the others do. */
const whole = names.filter((name) => name !== 'quick');

async function bench([name, ...options]) {
  if (name !== undefined && !names.includes(name)) {
    throw new Error(`${name}: expected one of ${names.join(', ')}`);
  }
  await setup('bench');
  run('cmake', ['--build', 'build/cmake', '--target', 'bench', '--parallel']);
  for (const chosen of name === undefined ? whole : [name]) {
    console.log(`\n== ${chosen}`);
    const benchmark = await import(`../bench/${chosen}.mjs`);
    await benchmark.run(options);
  }
}

if (isMain(import.meta.url)) {
  try {
    await bench(process.argv.slice(2));
  } catch (error) {
    console.error(`bench: ${error.message}`);
    process.exitCode = 1;
  }
}
