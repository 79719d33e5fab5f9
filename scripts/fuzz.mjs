// SPDX-License-Identifier: Apache-2.0
// `npm run fuzz [-- NAME… --runs N]`: inputs that nobody thought of. NAMEs are targets of native/fuzz/
// (NAME_fuzz.c, libFuzzer) or `properties`, the *.property.test.ts of ts/. Without one: all.
//
//   --runs N          executions of each target, 1 000 000 when missing; of each property a hundredth
//   --minimise        then put into native/fuzz/corpus/NAME/ the fewest inputs that reach the same
//   --input FILE      run one target with one input, as after a finding
//
// What a target has found before is in native/fuzz/regressions/NAME/ and always run first. Inputs that
// reached something new are kept in build-fuzz/corpus/NAME/, findings in build-fuzz/findings/NAME/.

import './node-version.mjs';
import { cpSync, existsSync, mkdirSync, readdirSync, rmSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { buildSanitized } from './build.mjs';
import { capture, isMain, root, run } from './run.mjs';
import { setup } from './setup.mjs';
import { runTap, Tally } from './tap.mjs';

const properties = 'properties';
const runsWanted = 1_000_000;

const environment = {
  ...process.env,
  ASAN_OPTIONS: 'quarantine_size_mb=16:strict_string_checks=1:detect_stack_use_after_return=1',
  UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
};

function filesIn(directory) {
  if (!existsSync(`${root}/${directory}`)) return [];
  return readdirSync(`${root}/${directory}`).map((file) => `${directory}/${file}`);
}

function targetNames() {
  return filesIn('native/fuzz')
    .filter((file) => file.endsWith('_fuzz.c'))
    .map((file) => basename(file, '_fuzz.c'));
}

function propertyFiles() {
  return readdirSync(`${root}/ts`, { recursive: true })
    .filter((file) => file.endsWith('.property.test.ts'))
    .map((file) => `ts/${file}`)
    .sort();
}

/** Where a target's inputs are, and its command with what all its runs share. */
function describeTarget(name) {
  const dictionary = `native/fuzz/${name}.dict`;
  const target = {
    name,
    program: `${root}/build-fuzz/fuzz/${name}_fuzz`,
    corpus: `native/fuzz/corpus/${name}`,
    regressions: filesIn(`native/fuzz/regressions/${name}`),
    grown: `build-fuzz/corpus/${name}`,
    findings: `build-fuzz/findings/${name}`,
    flags: ['-timeout=25', '-rss_limit_mb=2048', '-max_len=4096'],
  };
  if (existsSync(`${root}/${dictionary}`)) target.flags.push(`-dict=${dictionary}`);
  for (const directory of [target.grown, target.findings]) {
    mkdirSync(`${root}/${directory}`, { recursive: true });
  }
  target.flags.push(`-artifact_prefix=${target.findings}/`);
  return target;
}

const execute = (target, args) =>
  capture(target.program, [...target.flags, ...args], { env: environment });

/** The first report in a target's output, without libFuzzer's own progress. */
function reportIn(output) {
  const lines = output.split('\n').filter((line) => !/^(#\d|INFO:|\tNEW_FUNC)/.test(line));
  const begin = lines.findIndex((line) => /ERROR:|runtime error:|not so:|SUMMARY:/.test(line));
  return lines.slice(Math.max(begin, 0)).slice(0, 40).join('\n');
}

/**
 * What was found before, one by one, then all known inputs and as many new ones as `limit` says, in
 * libFuzzer's words. Stops at the first finding.
 */
async function fuzzTarget(name, limit) {
  const target = describeTarget(name);
  const found = { name, runs: 0, edges: 0, features: 0, reports: [] };
  if (target.regressions.length > 0) {
    const { status, output } = await execute(target, target.regressions);
    if (status !== 0) return { ...found, reports: [reportIn(output)] };
  }
  const corpora = [
    target.grown,
    ...[target.corpus].filter((path) => existsSync(`${root}/${path}`)),
  ];
  const { status, output } = await execute(target, [...limit, '-print_final_stats=1', ...corpora]);
  found.runs = Number(/number_of_executed_units: (\d+)/.exec(output)?.[1] ?? 0);
  const last = [...output.matchAll(/cov: (\d+) ft: (\d+)/g)].at(-1);
  found.edges = Number(last?.[1] ?? 0);
  found.features = Number(last?.[2] ?? 0);
  if (status !== 0) found.reports.push(reportIn(output));
  return found;
}

/** Two at a time: each is one thread that computes. */
async function fuzzTargets(names, limit, onEnd) {
  const waiting = [...names];
  const work = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      onEnd(await fuzzTarget(name, limit));
    }
  };
  await Promise.all([work(), work()]);
}

/** The part of `npm test`: what is known, and some seconds of what is not. */
export async function fuzzShortly() {
  buildSanitized('fuzz');
  const tally = new Tally();
  await fuzzTargets(targetNames(), ['-max_total_time=2'], ({ name, runs, reports }) => {
    console.log(`  ${name}: ${runs} inputs, ${reports.length === 0 ? 'nothing found' : 'FAILED'}`);
    if (reports.length === 0 && runs > 0) tally.pass();
    else tally.fail(`fuzz ${name}`, [...reports, `ran ${runs} inputs`]);
  });
  return tally;
}

async function minimise(name) {
  const target = describeTarget(name);
  const fewest = `${target.grown}.fewest`;
  rmSync(`${root}/${fewest}`, { recursive: true, force: true });
  mkdirSync(`${root}/${fewest}`, { recursive: true });
  const sources = [target.corpus, target.grown].filter((path) => existsSync(`${root}/${path}`));
  // Without counters what is reached counts, not how often: a small corpus to begin with.
  const merge = ['-merge=1', '-use_counters=0', fewest, ...sources];
  const { status, output } = await execute(target, merge);
  if (status !== 0) throw new Error(`${name}: cannot be minimised:\n${reportIn(output)}`);
  rmSync(`${root}/${target.corpus}`, { recursive: true, force: true });
  mkdirSync(`${root}/${target.corpus}`, { recursive: true });
  for (const [index, file] of filesIn(fewest).sort().entries()) {
    cpSync(`${root}/${file}`, `${root}/${target.corpus}/${String(index).padStart(3, '0')}`);
  }
  rmSync(`${root}/${fewest}`, { recursive: true });
}

function showInput(name, file) {
  run(describeTarget(name).program, [file], { env: environment, cwd: process.cwd() });
}

const columns = (values) =>
  values.map((value, i) => (i === 0 ? value.padEnd(18) : value.padStart(12))).join('');

async function main(words) {
  const { values, positionals } = parseArgs({
    args: words,
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: String(runsWanted) },
      minimise: { type: 'boolean', default: false },
      input: { type: 'string' },
    },
  });
  const known = [...targetNames(), properties];
  const names = positionals.length > 0 ? positionals : known;
  const unknown = names.filter((name) => !known.includes(name));
  if (unknown.length > 0) throw new Error(`${unknown}: expected ${known.join(', ')}`);
  const runs = Number(values.runs);
  if (!(runs >= 1)) throw new Error(`--runs ${values.runs}: expected a number of 1 or more`);

  await setup('test', { builds: false });
  buildSanitized('fuzz');
  const targets = names.filter((name) => name !== properties);
  if (values.input !== undefined) return showInput(targets[0], values.input);

  const reports = [];
  console.log(columns(['target', 'executions', 'edges', 'features', 'findings']));
  await fuzzTargets(targets, [`-runs=${runs}`], (found) => {
    const numbers = [found.runs, found.edges, found.features, found.reports.length];
    console.log(columns([found.name, ...numbers.map((number) => number.toLocaleString('en'))]));
    reports.push(...found.reports.map((report) => `\n${found.name}:\n${report}`));
  });
  if (names.includes(properties)) {
    const tally = await runTap(propertyFiles(), {
      flags: ['--timeout=7200'],
      env: { USHER_PROPERTY_RUNS: String(Math.ceil(runs / 100)) },
    });
    console.log(columns([properties, 'see above', '', '', String(tally.failed)]));
    reports.push(...tally.failures.map(({ name, details }) => `\n${name}\n${details.join('\n')}`));
  }
  for (const report of reports) console.log(report);
  if (reports.length > 0) process.exitCode = 1;
  else if (values.minimise) for (const name of targets) await minimise(name);
}

if (isMain(import.meta.url)) {
  try {
    await main(process.argv.slice(2));
  } catch (error) {
    console.error(`fuzz: ${error.message}`);
    process.exitCode = 1;
  }
}
