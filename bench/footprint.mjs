// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- footprint [--classes N] [--seconds S] [--settle S]`: memory of the manager with many classes, and what
// it takes of a processor when nobody asks for anything.

import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import * as machine from './machine.mjs';
import { save, table, verdict } from './report.mjs';
import { loadUsher, startServer } from './servers.mjs';
import { eventually, launcherOf, usherStatus, withSite } from './site.mjs';

const goals = {
  memoryMb: { atLeast: 120, aim: 80, better: 'lower' },
  idlePercent: { atLeast: 0.5, aim: 0.1, better: 'lower' },
};

async function startClasses(site, count) {
  const program = site.program('echo.fcgi');
  const runtimeDir = site.runtimeDir('run');
  const names = Array.from({ length: count }, (_, i) => `c${i}`);
  await startServer(
    site,
    'nginx',
    'nginx',
    { workers: 2 },
    {
      modules: loadUsher,
      http: [
        `usher_runtime_dir ${runtimeDir};`,
        ...names.map((name) => `usher_app ${name} command=${program} on_demand=2;`),
      ].join('\n'),
      location: names.map((name) => `location = /${name} { usher_pass ${name}; }`).join('\n'),
    },
  );
  await eventually(`${count} classes are known`, () => {
    return usherStatus(runtimeDir)?.classes.length === count;
  });
  return runtimeDir;
}

export async function run(args) {
  const { values } = parseArgs({
    args,
    options: {
      classes: { type: 'string', default: '1000' },
      seconds: { type: 'string', default: '20' },
      settle: { type: 'string', default: '30' }, // starting leaves garbage, and code to compile
    },
  });
  const count = Number(values.classes);
  const seconds = Number(values.seconds);
  const conditions = machine.conditions();
  console.log(machine.describe(conditions));
  const result = await withSite(async (site) => {
    const runtimeDir = await startClasses(site, count);
    const launcher = launcherOf(runtimeDir);
    const manager = usherStatus(runtimeDir).manager.pid;
    const accounts = {
      manager: site.account('manager', [manager]),
      launcher: site.account('launcher', [launcher]),
    };
    await sleep(Number(values.settle) * 1000);
    const look = () => [accounts.manager.timeMs(), accounts.launcher.timeMs(), performance.now()];
    const before = look();
    await sleep(seconds * 1000);
    const [managerMs, launcherMs, tookMs] = look().map((value, at) => value - before[at]);
    return {
      classes: count,
      seconds,
      memoryMb: machine.residentMb(manager),
      launcherMb: machine.residentMb(launcher),
      idlePercent: (100 * managerMs) / tookMs,
      launcherPercent: (100 * launcherMs) / tookMs,
    };
  });
  const row = (label, value, digits, goal) => [
    ...[label, value.toFixed(digits), goal ? String(goal.atLeast) : ''],
    ...[goal ? String(goal.aim) : '', goal ? verdict(value, goal) : ''],
  ];
  console.log(
    table(
      [`${count} classes, idle for ${seconds} s`, 'is', 'at most', 'aim', ''],
      [
        row('manager: resident MB', result.memoryMb, 1, goals.memoryMb),
        row('manager: % of a processor', result.idlePercent, 3, goals.idlePercent),
        row('launcher: resident MB', result.launcherMb, 1),
        row('launcher: % of a processor', result.launcherPercent, 3),
      ],
    ),
  );
  const written = { conditions, goals, ...result };
  console.log(`written: ${save('footprint', written)}`);
  return written;
}
