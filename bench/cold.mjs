// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- cold [--repetitions N]`: the time until the first byte of a dynamic class that
// nobody has asked for before, against a fork and exec of the same program until it answers.
//
// Each repetition has copies of the program of its own, one for each way, so that every class is
// cold; the second request to the same copy tells what is the server's and not the start's.

import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { range, save, table, verdict } from './report.mjs';
import { loadUsher, startServer } from './servers.mjs';
import { usherStatus, withSite } from './site.mjs';
import { percentile, spread } from './statistics.mjs';

const goal = { atLeast: 5, aim: 2, better: 'lower' }; // ms above fork and exec
const restMs = 100; // between two measurements: whoever still looks after the last start

function firstByteMs(...args) {
  const { status, stdout, stderr } = spawnSync(`${root}/build/bench/first_byte`, args.map(String), {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`first_byte ${args.join(' ')}: ${stderr}`);
  return Number(stdout) / 1000;
}

async function startServers(site) {
  const settings = { workers: 2, threads: 32 };
  const runtimeDir = (name) => site.runtimeDir(`${name}-run`);
  const nginxDir = runtimeDir('nginx');
  const apacheDir = runtimeDir('apache');
  const nginx = await startServer(site, 'nginx', 'nginx', settings, {
    modules: loadUsher,
    http: `usher_runtime_dir ${nginxDir};
usher_config max_processes=4096;`,
    location: `location ~ \\.fcgi$ {
  usher_pass $document_root$fastcgi_script_name;
}`,
  });
  const apache = await startServer(site, 'apache', 'apache', settings, {
    modules: ['usher'],
    text: `UsherRuntimeDir ${apacheDir}
FCGIConfig -maxProcesses 4096
AddHandler fastcgi-script .fcgi
<Directory ${site.dir}/apache/docs>
  Options +ExecCGI
</Directory>`,
  });
  return [
    { ...nginx, runtimeDir: nginxDir, label: 'nginx + Usher' },
    { ...apache, runtimeDir: apacheDir, label: 'Apache + Usher' },
  ];
}

/** The ways to a first byte: each takes the number of the repetition and gives ms. */
function ways(site, servers) {
  const copies = (place) => (i) => site.program(`${place}/${i}.fcgi`);
  const forked = copies('fork');
  const all = [
    {
      label: 'fork and exec',
      prepare: forked,
      measure: (i) => firstByteMs('fork', `${site.dir}/fork/${i}`, `${site.dir}/fork/${i}.fcgi`),
    },
  ];
  for (const { name, port, label } of servers) {
    const ask = (i) => firstByteMs('http', port, `/${i}.fcgi`);
    all.push({ label: `${label}, cold`, prepare: copies(`${name}/docs`), measure: ask });
    all.push({ label: `${label}, warm`, prepare: () => {}, measure: ask });
  }
  return all;
}

async function repeat(all, repetitions) {
  const samples = all.map(() => []);
  for (let i = 0; i < repetitions; i++) {
    for (const [at, way] of all.entries()) {
      way.prepare(i);
      await sleep(restMs);
      samples[at].push(way.measure(i));
    }
  }
  return samples;
}

export async function run(args) {
  const { values } = parseArgs({ args, options: { repetitions: { type: 'string' } } });
  const repetitions = Number(values.repetitions ?? 30);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${repetitions} repetitions, each of programs of their own, in turns\n`);

  const { results, status } = await withSite(async (site) => {
    const servers = await startServers(site);
    const all = ways(site, servers);
    for (const { measure, prepare } of all) {
      prepare('warm-up');
      measure('warm-up');
    }
    const samples = await repeat(all, repetitions);
    return {
      results: all.map(({ label }, at) => ({
        label,
        firstByteMs: { ...spread(samples[at]), p90: percentile(samples[at], 0.9) },
        samples: samples[at],
      })),
      status: servers.map(({ label, runtimeDir }) => ({ label, said: usherStatus(runtimeDir) })),
    };
  });

  const bare = results[0].firstByteMs.median;
  console.log(
    table(
      ['first byte', 'p50 ms', 'p90', 'min–max', 'above fork and exec', 'at most', 'aim', ''],
      results.map(({ label, firstByteMs: ms }) => {
        const above = ms.median - bare;
        const isJudged = label.endsWith('cold');
        return [
          label,
          ms.median.toFixed(2),
          ms.p90.toFixed(2),
          range(ms, 2),
          isJudged ? `+ ${above.toFixed(2)}` : '',
          isJudged ? goal.atLeast.toFixed(0) : '',
          isJudged ? goal.aim.toFixed(0) : '',
          isJudged ? verdict(above, goal) : '',
        ];
      }),
    ),
  );
  const written = { conditions, repetitions, goal, results, status };
  console.log(`written: ${save('cold', written)}`);
  return written;
}
