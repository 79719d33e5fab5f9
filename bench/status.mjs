// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- status [--classes N] [--runs N]`: what an administrator waits for `usher status`, as a
// whole command, beside Node's own start; and the manager's part of it. Every tenth class runs an
// instance, every tenth has failed. In turns, as everything else on the machine takes from all of them.

import { spawnSync } from 'node:child_process';
import { request } from 'node:http';
import { parseArgs } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { range, save, table, verdict } from './report.mjs';
import { eventually, user, usherStatus, withSite } from './site.mjs';
import { spread } from './statistics.mjs';

const goal = { atLeast: 100, better: 'lower' }; // ms, the whole command

function configuration(site, classes) {
  const program = site.program('echo.fcgi');
  const broken = site.write('broken.fcgi', '#!/bin/sh\necho "no database" >&2\nexit 3\n', 0o755);
  const as = user === '' ? '' : ` -user ${user}`;
  const lines = Array.from({ length: classes }, (_, i) => {
    const [command, processes] = [
      [program, 1],
      [broken, 1],
    ][i % 10] ?? [program, 0];
    const many = processes === 0 ? ' -maxClassProcesses 4' : '';
    return `AppClass class-${i} -command ${command} -processes ${processes}${many}${as}`;
  });
  return site.write('usher.conf', `UsherLog ${site.dir}/usher.log\n${lines.join('\n')}\n`);
}

/** Those that are to run do, those that cannot have failed. */
function isSettled(status, classes) {
  const expected = { 0: 'ready', 1: 'failed' };
  const isAsExpected = ({ state }, i) => (expected[i % 10] ?? state) === state;
  return status?.classes.length === classes && status.classes.every(isAsExpected);
}

/** A whole command. The system counts processor time in ticks, so only its mean says something. */
function command(program, args) {
  const before = machine.timeOfEndedChildren();
  const beganMs = performance.now();
  const { status, stderr } = spawnSync(program, args, { maxBuffer: 1e9 });
  const wallMs = performance.now() - beganMs;
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`);
  return { wallMs, processorMs: machine.timeOfEndedChildren() - before };
}

/** The manager's answer alone, until its last byte. */
function answer(socketPath, path) {
  return new Promise((resolve, reject) => {
    const beganMs = performance.now();
    const asked = request({ socketPath, path, agent: false }, async (response) => {
      let bytes = 0;
      for await (const piece of response) bytes += piece.length;
      resolve({ wallMs: performance.now() - beganMs, bytes });
    });
    asked.once('error', reject).end();
  });
}

async function measure(ways, runs) {
  const samples = ways.map(() => []);
  for (let i = -1; i < runs; i++) {
    for (const [at, { once }] of ways.entries()) {
      const sample = await once();
      if (i >= 0) samples[at].push(sample); // the first one warms up
    }
  }
  return ways.map(({ label, goal }, at) => {
    const mean = samples[at].reduce((sum, one) => sum + (one.processorMs ?? Number.NaN), 0) / runs;
    const { bytes } = samples[at][0];
    return {
      label,
      goal,
      wallMs: spread(samples[at].map((one) => one.wallMs)),
      processorMs: mean,
      bytes,
    };
  });
}

export async function run(args) {
  const options = { classes: { type: 'string' }, runs: { type: 'string' } };
  const { values } = parseArgs({ args, options });
  const classes = Number(values.classes ?? 1000);
  const runs = Number(values.runs ?? 30);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${classes} classes, ${runs} runs, in turns\n`);

  const results = await withSite(async (site) => {
    const runtimeDir = site.runtimeDir('run');
    const usher = `${root}/bin/usher`;
    const file = configuration(site, classes);
    site.start('usher-run', usher, ['run', file, '--runtime-dir', runtimeDir]);
    await eventually(
      'all classes are as they will be',
      () => isSettled(usherStatus(runtimeDir), classes),
      120_000,
    );
    const socket = `${runtimeDir}/control.sock`;
    const ask = (...words) => command(usher, [...words, '--runtime-dir', runtimeDir]);
    return measure(
      [
        { label: 'node -e 0', once: () => command(process.execPath, ['-e', '0']) },
        { label: 'usher status', once: () => ask('status'), goal },
        { label: 'usher status --json', once: () => ask('status', '--json') },
        { label: 'usher top --once -d 0.1', once: () => ask('top', '--once', '-d', '0.1') },
        { label: "the manager's answer", once: () => answer(socket, '/v1/status') },
      ],
      runs,
    );
  });

  const shown = (number, digits) => (Number.isNaN(number) ? '' : number.toFixed(digits));
  console.log(
    table(
      ['', 'wall ms', 'min–max', 'processor ms', 'kB', 'at most', ''],
      results.map(({ label, goal, wallMs, processorMs, bytes = Number.NaN }) => [
        label,
        wallMs.median.toFixed(1),
        range(wallMs, 1),
        shown(processorMs, 1),
        shown(bytes / 1024, 0),
        goal ? String(goal.atLeast) : '',
        goal ? verdict(wallMs.median, goal) : '',
      ]),
    ),
  );
  console.log(`written: ${save('status', { conditions, classes, runs, results })}`);
}
