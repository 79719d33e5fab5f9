// SPDX-License-Identifier: Apache-2.0
// Runs test files under tap, shows one line a file, and counts test points. What contains other
// points (a file, a subtest) counts itself only when it failed though none of them did: by its exit
// status, a timeout or a missing plan.

import { spawn } from 'node:child_process';
import { inspect } from 'node:util';
import { npmProgram, root } from './run.mjs';

/** Counts and failures of a run; `add` sums up runs. */
export class Tally {
  passed = 0;
  failed = 0;
  skipped = [];
  failures = [];

  add(other) {
    this.passed += other.passed;
    this.failed += other.failed;
    this.skipped.push(...other.skipped);
    this.failures.push(...other.failures);
  }

  pass() {
    this.passed += 1;
  }

  fail(name, details = []) {
    this.failed += 1;
    const failure = { name, details };
    this.failures.push(failure);
    return failure;
  }
}

/** What a failed point's diagnostics say, the parts that help first. */
function describe(diagnostics) {
  const { diff, stack, source, at, compare, stdio, cwd, externalID, command, args, ...rest } =
    diagnostics ?? {};
  const lines = [];
  if (Object.keys(rest).length > 0) lines.push(inspect(rest, { depth: 6, breakLength: 100 }));
  if (diff) lines.push(diff.trimEnd());
  if (stack) lines.push(stack.trimEnd());
  else if (at?.fileName) lines.push(`${at.fileName}:${at.lineNumber}`);
  if (source) lines.push(source.trimEnd());
  return lines;
}

/** Follows one parser and its children; `path` is the names from the file down. */
function follow(parser, path, tally, onFile) {
  let child;
  let lastFailure;
  let extra = [];

  parser.on('child', (childParser) => {
    const own = new Tally();
    child = { tally: own, extra: follow(childParser, [...path, childParser.name], own, undefined) };
  });
  parser.on('assert', (result) => {
    lastFailure = undefined;
    const name = [...path, result.name || `point ${result.id}`].join(' > ');
    const contained = result.closingTestPoint ? child : undefined;
    if (contained) tally.add(contained.tally);

    if (result.skip) tally.skipped.push(`${name}: ${result.skip}`);
    else if (result.todo) tally.skipped.push(`${name}: to do ${result.todo}`);
    else if (result.ok) {
      if (!contained) tally.pass();
    } else if (!contained || contained.tally.failed === 0) {
      lastFailure = tally.fail(name, describe(result.diag));
    }

    if (contained) {
      if (!result.ok && contained.extra.length > 0 && tally.failures.length > 0) {
        tally.failures.at(-1).details.push('it printed:', ...contained.extra);
      }
      onFile?.(result, contained.tally);
      child = undefined;
    }
  });
  parser.on('comment', (text) => {
    const isOfTap = /^# (Subtest|time=|No coverage|\{ total)/.test(text);
    if (!isOfTap) lastFailure?.details.push(text.trimEnd());
  });
  parser.on('extra', (text) => {
    extra.push(text.trimEnd());
    if (extra.length > 200) extra = extra.slice(-100);
  });
  return extra;
}

/** Runs tap over `files` with `flags`; resolves with the tally, never rejects for a failed test. */
export async function runTap(files, { flags = [], env = {} } = {}) {
  const { Parser } = await import('tap-parser');
  const tally = new Tally();
  const parser = new Parser();
  follow(parser, [], tally, (result, own) => {
    const time = result.time === null ? '' : ` (${(result.time / 1000).toFixed(1)} s)`;
    const failed = own.failed > 0 || !result.ok ? `, ${Math.max(own.failed, 1)} FAILED` : '';
    const skipped = own.skipped.length > 0 ? `, ${own.skipped.length} skipped` : '';
    console.log(`  ${result.name}: ${own.passed} passed${failed}${skipped}${time}`);
  });

  const child = spawn(
    process.execPath,
    [
      npmProgram('tap/dist/esm/run.mjs'),
      'run',
      '--disable-coverage',
      '--reporter=tap',
      ...flags,
      ...files,
    ],
    { cwd: root, stdio: ['ignore', 'pipe', 'inherit'], env: { ...process.env, ...env } },
  );
  child.stdout.pipe(parser);
  const status = await new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    parser.on('complete', () => {
      if (child.exitCode !== null) resolve(child.exitCode);
    });
    child.on('close', (code, signal) => setImmediate(resolve, code ?? signal));
  });

  if (status !== 0 && tally.failed === 0) tally.fail('tap', [`ended with ${status}`]);
  if (tally.passed + tally.failed + tally.skipped.length === 0) {
    tally.fail('tap', [`ran no test of ${files.join(' ')}`]);
  }
  return tally;
}
