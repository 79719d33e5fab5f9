// SPDX-License-Identifier: Apache-2.0
// Brings the C tests into tap's report: one child test for each program of native/test/*_test.c, from
// each build directory that USHER_TEST_BUILDS names (build, build-asan, build-tsan; default build).

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const root = fileURLToPath(new URL('../..', import.meta.url));
const builds = (process.env.USHER_TEST_BUILDS ?? 'build').split(',');
const programs = readdirSync(join(root, 'native/test'))
  .filter((file) => file.endsWith('_test.c'))
  .map((file) => basename(file, '.c'));

/** gcc 12's ThreadSanitizer cannot start where the kernel spreads addresses wider than this. */
function needsFixedAddresses(build: string): boolean {
  if (!build.endsWith('tsan')) return false;
  const setting = '/proc/sys/vm/mmap_rnd_bits';
  return existsSync(setting) && Number(readFileSync(setting, 'utf8')) > 28;
}

// Most of them wait most of the time.
t.jobs = 2;

if (programs.length === 0) t.pass('there are no C tests yet');

for (const build of builds) {
  for (const name of programs) {
    const program = join(root, build, 'test', name);
    const title = `${build} ${name}`;
    if (!existsSync(program)) t.fail(`${title}: not built`);
    else if (needsFixedAddresses(build)) t.spawn('setarch', ['-R', program], {}, title);
    else t.spawn(program, [], {}, title);
  }
}
