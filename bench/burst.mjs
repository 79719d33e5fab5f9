// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- burst [--repetitions N]`: 64 requests of 100 ms at once for a class that nobody has
// asked for yet and that may have 32 instances, until the last byte; against the two rounds of 100 ms
// that it takes at least and the time that 32 starts of the program take on this machine.
//
// Each repetition asks a class of its own, so that each is cold.

import { spawnSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { root } from '../scripts/run.mjs';
import * as machine from './machine.mjs';
import { range, save, table, verdict } from './report.mjs';
import { loadUsher, startServer } from './servers.mjs';
import { eventually, usherStatus, withSite } from './site.mjs';
import { percentile, spread } from './statistics.mjs';

const goal = { atLeast: 1.5, aim: 1.2, better: 'lower' };
const requests = 64;
const instances = 32;
const requestMs = 100;
const roundsMs = (requests / instances) * requestMs;

function burstMs(...args) {
  const { status, stdout, stderr } = spawnSync(`${root}/build/bench/burst`, args.map(String), {
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`burst ${args.join(' ')}: ${stderr}`);
  return Number(stdout) / 1000;
}

async function startServers(site, program, repetitions) {
  const settings = { workers: 2, threads: 64 };
  const names = Array.from({ length: repetitions + 1 }, (_, i) => `burst${i}`);
  const nginxDir = site.runtimeDir('nginx-run');
  const apacheDir = site.runtimeDir('apache-run');
  const nginx = await startServer(site, 'nginx', 'nginx', settings, {
    modules: loadUsher,
    http: `usher_runtime_dir ${nginxDir};
${names.map((name) => `usher_app ${name} command=${program} on_demand=${instances} idle_stop=1;`).join('\n')}`,
    location: names.map((name) => `location /${name} { usher_pass ${name}; }`).join('\n'),
  });
  const apache = await startServer(site, 'apache', 'apache', settings, {
    modules: ['usher'],
    text: `UsherRuntimeDir ${apacheDir}
${names
  .map(
    (name) => `AppClass ${name} -command ${program} -on-demand ${instances} -idle-stop 1
<Location /${name}>
  UsherPass ${name}
</Location>`,
  )
  .join('\n')}`,
  });
  return [
    { ...nginx, runtimeDir: nginxDir, label: 'nginx + Usher' },
    { ...apache, runtimeDir: apacheDir, label: 'Apache + Usher' },
  ];
}

/** Waits until the last burst's instances are gone: what still ends would take part in the next. */
function quiet(runtimeDir) {
  return eventually('the instances have ended', () =>
    usherStatus(runtimeDir)?.classes.every((one) => one.instances.length === 0),
  );
}

async function repeat(site, program, servers, repetitions) {
  const startsMs = [];
  const samples = servers.map(() => []);
  const started = servers.map(() => []);
  for (let i = 0; i <= repetitions; i++) {
    await sleep(100);
    const bare = burstMs('fork', `${site.dir}/fork${i}-`, program, instances);
    const taken = [];
    for (const { port, runtimeDir } of servers) {
      await sleep(100);
      taken.push(burstMs('http', port, `/burst${i}`, requests, requestMs));
      const known = usherStatus(runtimeDir)?.classes.find(({ name }) => name === `burst${i}`);
      started[taken.length - 1].push(known?.instances.length ?? 0);
      await quiet(runtimeDir);
    }
    if (i === 0) continue; // the first finds nothing in the caches
    startsMs.push(bare);
    for (const [at, ms] of taken.entries()) samples[at].push(ms);
  }
  return { startsMs, samples, started };
}

export async function run(args) {
  const { values } = parseArgs({ args, options: { repetitions: { type: 'string' } } });
  const repetitions = Number(values.repetitions ?? 15);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  console.log(`${repetitions} repetitions, each of a class of its own, in turns\n`);

  const { startsMs, results } = await withSite(async (site) => {
    const program = site.program('burst.fcgi');
    const servers = await startServers(site, program, repetitions);
    const { startsMs, samples, started } = await repeat(site, program, servers, repetitions);
    return {
      startsMs,
      results: servers.map(({ label }, at) => ({
        label,
        lastByteMs: { ...spread(samples[at]), p90: percentile(samples[at], 0.9) },
        instances: spread(started[at]),
        samples: samples[at],
      })),
    };
  });

  const starts = spread(startsMs);
  const leastMs = roundsMs + starts.median;
  console.log(
    `${instances} starts: ${starts.median.toFixed(1)} ms (${range(starts, 1)}); at least ${roundsMs} ms + these: ${leastMs.toFixed(1)} ms\n`,
  );
  console.log(
    table(
      ['last byte', 'p50 ms', 'p90', 'min–max', 'instances', '× least', 'at most', 'aim', ''],
      results.map(({ label, lastByteMs: ms, instances: many }) => [
        label,
        ms.median.toFixed(1),
        ms.p90.toFixed(1),
        range(ms, 1),
        range(many),
        (ms.median / leastMs).toFixed(2),
        goal.atLeast.toFixed(1),
        goal.aim.toFixed(1),
        verdict(ms.median / leastMs, goal),
      ]),
    ),
  );
  const written = { conditions, repetitions, goal, leastMs, startsMs, results };
  console.log(`written: ${save('burst', written)}`);
  return written;
}
