// SPDX-License-Identifier: Apache-2.0
// What happens to instances: they are replaced, retired, killed, or end by themselves.

import { randomInt } from 'node:crypto';
import { chmodSync, copyFileSync, renameSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../servers/eventually.ts';
import { signal } from '../servers/processes.ts';
import { usherCommand } from '../servers/usher.ts';
import { lastingPhp, ownPrograms } from './programs.ts';
import type { Scenario } from './scenario.ts';
import { processes, saturating } from './server-scenarios.ts';
import { patienceMs, type Tortured } from './tortured.ts';

async function rollingRestart(tortured: Tortured, count: number): Promise<void> {
  const { site, classes, setting } = tortured;
  for (; tortured.events < count; tortured.events += 1) {
    const before = await tortured.ready(processes);
    const { status, output } = await usherCommand(site.runtimeDir, 'restart', classes[0]!.name);
    if (status !== 0) throw new Error(`usher restart ended with ${status}: ${output}`);
    const after = await tortured.ready(processes);
    if (setting.program.name !== 'php' && after.some((pid) => before.includes(pid))) {
      tortured.problems.push(`usher restart left old instances: ${before} before, ${after} after`);
    }
  }
}

/** A file that differs, under the name of the one that runs. */
async function replaceBinary(tortured: Tortured, count: number): Promise<void> {
  const { file } = tortured.classes[0]!;
  for (; tortured.events < count; tortured.events += 1) {
    const before = await tortured.ready(processes);
    copyFileSync(file, `${file}.new`);
    chmodSync(`${file}.new`, 0o755);
    renameSync(`${file}.new`, file);
    await tortured.ready(processes, (pids) => pids.every((pid) => !before.includes(pid)));
  }
}

/**
 * Any of the ready instances dies, whatever it does; waits until another has taken its place, and until
 * what was under way has ended: servers ask once more, not for ever, lest one request kill all instances.
 */
async function killInstances(tortured: Tortured, count: number): Promise<void> {
  for (; tortured.events < count; tortured.events += 1) {
    const pids = await tortured.ready(processes);
    const victim = pids[randomInt(pids.length)]!;
    signal(victim, 'SIGKILL');
    const { load } = tortured;
    const { asked } = load;
    await tortured.ready(processes, (now) => !now.includes(victim));
    await eventually('what was under way has ended', () => load.hasEndedBefore(asked), patienceMs);
  }
}

/** Waits until so many events of a kind have been logged. */
async function whileLogged(tortured: Tortured, event: string, count: number): Promise<void> {
  let seen = 0;
  for (let lastMs = performance.now(); seen < count; await sleep(200)) {
    const now = tortured.log.of(event);
    if (now > seen) lastMs = performance.now();
    seen = now;
    if (performance.now() - lastMs > patienceMs) {
      throw new Error(`no ${event} within ${patienceMs / 1000} s, after ${seen}`);
    }
  }
  tortured.events = seen;
}

const lanes = 20;
const turnMs = 40_000;

/**
 * Some classes at a time grow under a burst and shrink under what is left of the load; then it is the
 * turn of others, until `count` instances have been given up.
 */
async function shrinkInTurns(tortured: Tortured, count: number): Promise<void> {
  const { classes, setting } = tortured;
  let turns = 0;
  let isOver = false;
  const until = async (endMs: number, has: (instances: number) => boolean, at: number) => {
    for (; !isOver && performance.now() < endMs; await sleep(250)) {
      const { instances = [] } = (await tortured.classStatus(classes[at])) ?? {};
      if (has(instances.length)) return;
    }
  };
  const lane = async (): Promise<void> => {
    while (!isOver) {
      const at = turns++ % classes.length;
      const load = tortured.loadOn(classes[at]!);
      const endMs = performance.now() + turnMs;
      load.clients = 8 * setting.program.concurrency;
      await until(endMs, (instances) => instances >= 6, at);
      await sleep(500);
      load.clients = 1;
      await until(endMs, (instances) => instances <= 3, at);
      await load.stop();
    }
  };
  const running = Array.from({ length: Math.min(lanes, classes.length) }, lane);
  try {
    await Promise.race([whileLogged(tortured, 'instance.draining', count), ...running]);
  } finally {
    isOver = true;
    await Promise.all(running);
  }
}

/**
 * Each class grows under a burst and shrinks again under what is left of the load, on its own time,
 * until `event` has been logged `count` times.
 */
async function growAndShrink(
  tortured: Tortured,
  count: number,
  base: number,
  isSmall: (instances: number, quietMs: number) => boolean,
  event = 'instance.draining',
): Promise<void> {
  const retired = (): number => tortured.log.of(event);
  let hasFailed = false;
  const oneClass = async (known: (typeof tortured.classes)[number], index: number) => {
    const load = tortured.loadOn(known);
    await sleep(index * 300);
    while (retired() < count && !hasFailed) {
      load.clients = 8 * tortured.setting.program.concurrency;
      await eventually(
        `${known.name} grows`,
        async () => ((await tortured.classStatus(known))?.instances.length ?? 0) > 2,
        patienceMs,
      );
      await sleep(500);
      load.clients = base;
      const quietSinceMs = performance.now();
      await eventually(
        `${known.name} shrinks`,
        async () => {
          if (hasFailed || retired() >= count) return true;
          const { instances = [] } = (await tortured.classStatus(known)) ?? {};
          return isSmall(instances.length, performance.now() - quietSinceMs);
        },
        patienceMs,
      );
    }
  };
  const all = tortured.classes.map(async (known, index) => {
    try {
      await oneClass(known, index);
    } catch (error) {
      hasFailed = true; // the others need not go on
      throw error;
    }
  });
  await Promise.all(all).finally(() => {
    tortured.events = retired();
  });
}

export const instanceScenarios: readonly Scenario[] = [
  {
    name: 'rolling-restart',
    title: '`usher restart CLASS` replaces all instances of a class.',
    programs: [...ownPrograms, 'tomcat'],
    options: () => ({ processes }),
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: 100,
    short: 2,
    run: rollingRestart,
  },
  {
    name: 'scale-down',
    title: 'A class that grew under load gives up instances under the load that is left.',
    programs: ['c', 'perl', 'node', 'php'],
    options: ({ name }) => ({ 'on-demand': 8, ...lastingPhp(name) }),
    // The policy holds longer on to what is missed soon after it was given up: each class has its turn,
    // and with full counts only one.
    classes: (_, count) => Math.min(200, Math.ceil(count / 4)),
    clients: () => 0,
    methods: 'both',
    sleepMs: 100,
    full: 1000,
    short: 4,
    run: shrinkInTurns,
  },
  {
    name: 'idle-stop',
    title: 'All instances of a class end because nobody asked, as somebody asks again.',
    programs: ['c', 'perl', 'php'],
    options: ({ name }) => ({ 'on-demand': 8, 'idle-stop': 1, ...lastingPhp(name) }),
    classes: () => 4,
    clients: () => 0,
    methods: 'both',
    sleepMs: 20,
    full: 1000,
    short: 12,
    // The next burst comes about when the manager finds the class idle.
    run: (tortured, count) =>
      growAndShrink(tortured, count, 0, (instances, quietMs) => {
        return instances === 0 || quietMs > 1000 + randomInt(200);
      }),
  },
  {
    name: 'max-requests',
    title: 'Each instance is replaced after 20 requests.',
    programs: ownPrograms.filter((name) => name !== 'php'),
    options: () => ({ processes, 'max-requests': 20 }),
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: 1000,
    short: 8,
    run: (tortured, count) => whileLogged(tortured, 'instance.stopped', count),
  },
  {
    name: 'max-lifetime',
    title: 'Each instance is replaced when it has run for a second.',
    programs: ['c', 'node', 'perl'],
    options: () => ({ processes, 'max-lifetime': 1 }),
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: 200,
    short: 4,
    run: (tortured, count) => whileLogged(tortured, 'instance.stopped', count),
  },
  {
    name: 'php-ends-itself',
    title: 'php-cgi ends after 50 requests, as PHP_FCGI_MAX_REQUESTS has it, without children.',
    programs: ['php'],
    options: () => ({ processes }),
    clients: saturating,
    methods: 'both',
    sleepMs: 2,
    full: 1000,
    short: 5,
    run: (tortured, count) => whileLogged(tortured, 'instance.exited', count),
  },
  {
    name: 'php-ends-unwanted',
    title: 'php-cgi ends after 50 requests while its class shrinks, and nothing takes its place.',
    programs: ['php'],
    options: () => ({ processes: 1, maxClassProcesses: 8 }),
    classes: () => 4,
    clients: () => 0,
    methods: 'POST',
    sleepMs: 10,
    full: 1000,
    short: 20,
    run: (tortured, count) =>
      growAndShrink(tortured, count, 1, (instances) => instances <= 4, 'instance.exited'),
  },
  {
    name: 'php-children-end',
    title: 'Children of php-cgi end after 50 requests each.',
    programs: ['php-children'],
    options: () => ({ processes: 1 }),
    clients: saturating,
    methods: 'both',
    sleepMs: 2,
    full: 1000,
    short: 5,
    run: async (tortured, count) => {
      const ends = () => Math.floor(tortured.load.answered / 50);
      while (ends() < count && tortured.load.lost < 100) await sleep(50);
      tortured.events = ends();
    },
  },
  {
    name: 'replace-binary',
    title: 'With -autoUpdate, another file takes the place of the program that runs.',
    programs: ['c', 'perl'],
    options: () => ({ processes, autoUpdate: true }),
    clients: saturating,
    methods: 'both',
    sleepMs: 5,
    full: 20,
    short: 1,
    run: replaceBinary,
  },
  {
    name: 'kill-get',
    title: 'An instance is killed with -9; what it served may be asked again, so nothing is lost.',
    programs: ['c', 'perl', 'node', 'php-children'],
    options: () => ({ processes, 'min-server-life': 0 }),
    clients: saturating,
    methods: 'GET',
    sleepMs: 20,
    full: 100,
    short: 4,
    run: killInstances,
  },
  {
    name: 'kill-post',
    title: 'An instance is killed with -9; only what it served itself is lost.',
    programs: ['c', 'perl', 'node', 'php-children'],
    options: () => ({ processes, 'min-server-life': 0 }),
    clients: saturating,
    methods: 'POST',
    sleepMs: 20,
    full: 100,
    short: 4,
    mayLose: (events, { concurrency }) => events * concurrency,
    run: killInstances,
  },
];
