// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- growth [--rounds N] [--seconds S] [--of connections,sizes,instances,classes]`: what becomes
// of the rate with more connections, longer answers, more instances, more classes; beside servers without
// Usher.

import { contest, takeOf } from './contest.mjs';
import {
  instancesReady,
  loadUsher,
  startAll,
  startProcesses,
  startProgram,
  startServer,
} from './servers.mjs';
import { launcherOf } from './site.mjs';

const defaults = { rounds: 3, seconds: 2, processes: 8, workers: 2 };

const pairs = [
  { of: 'nginx-usher', to: 'nginx-stock' },
  { of: 'apache-usher', to: 'apache-proxy' },
  { of: 'apache-usher', to: 'apache-fcgid' },
];

const echo = ({ port }, query, length) => ({ port, path: `/echo?${query}`, length });
const hello = (server) => echo(server, 'text=hello', 5);
const number = (value) => value.toLocaleString('en').replaceAll(',', ' ');

// ---- more connections, longer answers: the same five servers

const connectionCounts = [1, 2, 8, 32, 128, 512];
const sizes = [0, 1000, 10_000, 100_000, 1_000_000, 10_000_000];

const five = {
  start: async (site, settings) => ({
    servers: await startAll(site, { ...settings, threads: 600 / settings.workers }),
  }),
  prepare: (server, settings) => startProcesses(server, hello(server), settings),
};

const connections = {
  ...five,
  title: ({ processes }) => `${processes} processes of the program`,
  cases: () =>
    connectionCounts.map((count) => ({
      ...{ id: `connections-${count}`, label: `${count} connections`, goals: pairs },
      ask: (server) => ({ ...hello(server), connections: count }),
    })),
};

const lengths = {
  ...five,
  title: ({ processes }) => `${processes} processes of the program, as many connections`,
  cases: ({ processes }) =>
    sizes.map((bytes) => ({
      ...{ id: `bytes-${bytes}`, label: `answers of ${number(bytes)} bytes`, goals: pairs },
      ask: (server) => ({ ...echo(server, `bytes=${bytes}`, bytes), connections: processes }),
    })),
};

// ---- more instances, more classes: a pair of servers for each number

const instanceCounts = [1, 4, 16, 64];
const classCounts = [1, 10, 100, 1000];

const goal = (count) => [{ of: `usher-${count}`, to: `stock-${count}` }];
const only = (count, ask) => (server) => (server.count === count ? ask(server) : undefined);

/** A stock nginx and one with Usher, which run `names`, each in `processes` processes. */
async function startPair(site, program, { count, names, processes, workers }) {
  const stock = names.map((name) =>
    startProgram(site, program, processes, [], `stock-${count}-${name}`),
  );
  const places = (pass) => names.map((name, at) => `location = /${name} { ${pass(name, at)} }`);
  const stockServer = await startServer(
    site,
    'nginx',
    `stock-${count}`,
    { workers },
    {
      location: places((_name, at) => `fastcgi_pass unix:${stock[at].socket};`).join('\n'),
    },
  );
  const runtimeDir = site.runtimeDir(`usher-${count}-run`);
  const app = (name) => `usher_app ${name} command=${program} processes=${processes};`;
  const usherServer = await startServer(
    site,
    'nginx',
    `usher-${count}`,
    { workers },
    {
      modules: loadUsher,
      http: [
        `usher_runtime_dir ${runtimeDir};`,
        `usher_config max_processes=${names.length * processes + 10};`,
        ...names.map(app),
      ].join('\n'),
      location: places((name) => `usher_pass ${name};`).join('\n'),
    },
  );
  for (const name of names) await instancesReady(runtimeDir, name, processes);
  const programs = stock.flatMap(({ pids }) => pids);
  return [
    {
      ...{ ...stockServer, id: `stock-${count}`, label: `nginx fastcgi_pass, ${number(count)}` },
      ...{ count, program, ancestors: [stockServer.pid, ...programs] },
    },
    {
      ...{ ...usherServer, id: `usher-${count}`, label: `nginx + Usher, ${number(count)}` },
      ...{ count, program, ancestors: [usherServer.pid, launcherOf(runtimeDir)], runtimeDir },
    },
  ];
}

async function startPairs(site, counts, describe) {
  const program = site.program('echo.fcgi');
  const servers = [];
  for (const count of counts) servers.push(...(await startPair(site, program, describe(count))));
  return { servers };
}

const instances = {
  title: () => 'requests of 5 ms; twice as many connections as instances',
  start: (site, { workers }) =>
    startPairs(site, instanceCounts, (count) => ({
      ...{ count, names: ['a'], processes: count, workers },
    })),
  cases: () =>
    instanceCounts.map((count) => ({
      ...{ id: `instances-${count}`, label: `${count} instances`, goals: goal(count) },
      ask: only(count, ({ port }) => ({
        ...{ port, path: '/a?sleep=5&text=hello', length: 5, connections: 2 * count },
      })),
    })),
};

const classes = {
  title: ({ connections: count }) => `${count} connections; an instance a class; all in turns`,
  start: (site, { workers }) =>
    startPairs(site, classCounts, (count) => ({
      ...{ count, processes: 1, workers },
      names: Array.from({ length: count }, (_, i) => `c${i}`),
    })),
  cases: () =>
    classCounts.map((count) => ({
      ...{ id: `classes-${count}`, label: `${number(count)} classes`, goals: goal(count) },
      ask: only(count, ({ port }) => ({
        ...{ port, path: count === 1 ? '/c0' : '/c', count, length: 1 },
      })),
    })),
};

const curves = { connections, sizes: lengths, instances, classes };

export async function run(args) {
  const { of: chosen, rest } = takeOf(args, Object.keys(curves));
  const results = {};
  for (const name of chosen) {
    console.log(`\n-- ${name}`);
    results[name] = await contest(`growth-${name}`, rest, { defaults, ...curves[name] });
  }
  return results;
}
