// SPDX-License-Identifier: Apache-2.0
// `npm test`: from a fresh machine to all tests; the last line is `N passed, N failed`.
// `node scripts/test.mjs [STAGE[,STAGE...] [FILE...]]`, STAGE one of
//
//   all           what follows, without memory and containers (the default)
//   check         scripts/check.mjs
//   unit          ts/**/*.test.ts
//   native        C tests of the plain build; asan, tsan: the same under a sanitizer
//   fuzz          native/fuzz: known inputs, and two seconds of new ones for each target
//   sanitized     server modules and launcher of build-asan/ in their servers
//   integration   integration-tests/**/*.test.ts, two at a time: they wait most of the time
//   memory        200 reloads of each server: what its master has then
//   containers    the integration tests inside containers: scripts/containers.mjs has its words
//
// FILEs run instead of the stage's own. For one file with coverage: npx tap FILE.

import './node-version.mjs';
import { existsSync, readdirSync } from 'node:fs';
import { buildSanitized } from './build.mjs';
import { check } from './check.mjs';
import { testInContainers } from './containers.mjs';
import { fuzzShortly } from './fuzz.mjs';
import { isMain, root } from './run.mjs';
import { setup } from './setup.mjs';
import { runTap, Tally } from './tap.mjs';

/** Run by stages of their own. */
const sanitizedFolder = 'integration-tests/sanitized';
const memoryFolder = 'integration-tests/memory';

function testFiles(directory) {
  if (!existsSync(`${root}/${directory}`)) return [];
  return readdirSync(`${root}/${directory}`, { recursive: true })
    .filter((file) => file.endsWith('.test.ts'))
    .map((file) => `${directory}/${file}`)
    .sort();
}

function integrationFiles() {
  const others = [sanitizedFolder, memoryFolder];
  return testFiles('integration-tests').filter(
    (file) => !others.some((folder) => file.startsWith(`${folder}/`)),
  );
}

async function runFiles(files, options) {
  return files.length === 0 ? new Tally() : runTap(files, options);
}

function runNative(builds) {
  return runTap(['native/test/all.test.ts'], {
    flags: ['--timeout=600'],
    env: { USHER_TEST_BUILDS: builds },
  });
}

const stages = {
  async check() {
    const tally = new Tally();
    for (const { name, passed, output } of await check()) {
      console.log(`  ${name}: ${passed ? 'passed' : 'FAILED'}`);
      if (passed) tally.pass();
      else tally.fail(name, [output.trimEnd()]);
    }
    return tally;
  },
  unit: (files) =>
    runFiles(files.length > 0 ? files : testFiles('ts'), { flags: ['--timeout=600'] }),
  native: () => runNative('build'),
  asan() {
    buildSanitized('asan');
    return runNative('build-asan');
  },
  tsan() {
    buildSanitized('tsan');
    return runNative('build-tsan');
  },
  fuzz: fuzzShortly,
  sanitized() {
    buildSanitized('asan');
    return runTap(testFiles(sanitizedFolder), {
      flags: ['--timeout=3600'],
      env: { USHER_TEST_SANITIZED: '1' },
    });
  },
  integration: (files) =>
    runFiles(files.length > 0 ? files : integrationFiles(), {
      flags: ['--jobs=2', '--timeout=600'],
    }),
  memory: () => runTap(testFiles(memoryFolder), { flags: ['--timeout=3600'] }),
  containers: (words) => testInContainers(words),
};

const notInAll = ['memory', 'containers'];

function report(tally, startedMs) {
  for (const name of tally.skipped) console.log(`skipped: ${name}`);
  for (const { name, details } of tally.failures) {
    console.log(`\nFAILED: ${name}`);
    const lines = details.flatMap((text) => text.split('\n'));
    for (const line of lines.slice(0, 80)) console.log(`    ${line}`);
    if (lines.length > 80) console.log(`    … ${lines.length - 80} more lines`);
  }
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(0);
  const skipped = tally.skipped.length > 0 ? `, ${tally.skipped.length} skipped` : '';
  console.log(`\n${seconds} s${skipped}`);
  const onlySkipped = tally.passed + tally.failed === 0 ? skipped : '';
  console.log(`${tally.passed} passed, ${tally.failed} failed${onlySkipped}`);
}

function stagesOf(text) {
  const known = Object.keys(stages);
  if (text === 'all') return known.filter((name) => !notInAll.includes(name));
  const wanted = text.split(',');
  const unknown = wanted.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`${unknown}: expected all or ${known.join(', ')}`);
  return wanted;
}

async function main(stage, files) {
  const startedMs = performance.now();
  const tally = new Tally();
  try {
    const wanted = stagesOf(stage);
    // Containers are set up inside.
    if (stage !== 'containers') await setup('test');
    for (const name of wanted) {
      console.log(`\n== ${name}`);
      try {
        tally.add(await stages[name](files));
      } catch (error) {
        tally.fail(name, [error.message]);
      }
    }
  } catch (error) {
    tally.fail('before the tests', [error.message]);
  }
  report(tally, startedMs);
  process.exitCode = tally.failed === 0 ? 0 : 1;
}

if (isMain(import.meta.url)) await main(process.argv[2] ?? 'all', process.argv.slice(3));
