// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- runtime [--rounds N] [--seconds S] …`: how many requests a second of a small program in
// Node are answered behind nginx: under node:http with kept-alive connections, and with usher/runtime over
// FastCGI, in its execution models.

import { existsSync } from 'node:fs';
import { root } from '../scripts/run.mjs';
import { accountsOf, measure, warmUp } from './load.mjs';
import * as machine from './machine.mjs';
import { range, save, table } from './report.mjs';
import { startServer } from './servers.mjs';
import { eventually, withSite } from './site.mjs';
import {
  choose,
  compare,
  complaints,
  errorText,
  othersShare,
  parseSettings,
  ratioTable,
  showComplaints,
  showOthersShare,
  summarize,
  takeTurns,
} from './turns.mjs';

const defaults = {
  rounds: 5,
  seconds: 4,
  'warm-up': 1,
  connections: 32,
  workers: 1, // of nginx, and workers of pools: 2
};

/** What a program could reach that costs nothing but Node's own reading and writing. */
const bound = { id: 'constant', label: 'constant answer', kind: 'constant' };

const goals = [
  { of: 'node', to: 'http', atLeast: 1.2, aim: 1.5 },
  { of: 'fetch', to: 'http' },
  { of: bound.id, to: 'http' },
];

const programs = [
  { id: 'http', label: 'node:http', kind: 'http' },
  { id: 'node', label: 'runtime (req, res)', kind: 'node' },
  { id: 'fetch', label: 'runtime fetch', kind: 'fetch' },
  bound,
  { id: 'sequential', label: 'sequential', kind: 'node', options: { model: 'sequential' } },
  {
    id: 'process-pool',
    label: 'process-pool, 2',
    kind: 'node',
    options: { model: 'process-pool', processes: 2 },
  },
  {
    id: 'thread-pool',
    label: 'thread-pool, 2',
    kind: 'node',
    options: { model: 'thread-pool', threads: 2 },
  },
  {
    id: 'forking',
    label: 'forking, 8',
    kind: 'node',
    options: { model: 'forking', processes: 8, maxProcesses: 64 },
  },
];

const page = ({ port }) => ({ port, method: 'GET', path: '/page', length: 1000 });

function nginxText({ kind }, socket) {
  const upstream = `upstream program { server unix:${socket}; keepalive 64; keepalive_requests 1000000000; }`;
  const http = 'proxy_pass http://program; proxy_http_version 1.1; proxy_set_header Connection "";';
  const fastcgi = 'fastcgi_pass program; fastcgi_keep_conn on;';
  return { http: upstream, location: `location / { ${kind === 'http' ? http : fastcgi} }` };
}

async function startAll(site, { workers, connections }, chosen) {
  const servers = [];
  for (const program of chosen) {
    const { id, label, kind, options = {} } = program;
    const socket = `${site.dir}/${id}.sock`;
    const words = [`${root}/bench/program.mjs`, kind, socket, JSON.stringify(options)];
    const pid = site.start(`${id}-program`, process.execPath, words);
    await eventually(`${label} listens`, () => existsSync(socket)).catch((error) => {
      throw new Error(`${error.message}; it said: ${site.said(`${id}-program`)}`);
    });
    const settings = { workers, threads: connections };
    const started = await startServer(site, 'nginx', id, settings, nginxText(program, socket));
    servers.push({ ...started, id, label, ancestors: [started.pid, pid] });
  }
  return servers;
}

const fields = ['perSecond', 'p50Ms', 'p99Ms', 'serverUs', 'betweenUs', 'ownUs'];

function show(servers) {
  console.log(
    table(
      ['program', 'req/s', 'min–max', 'p50 ms', 'p99 ms', 'nginx µs', 'program µs', 'errors'],
      servers.map((row) => [
        row.label,
        row.perSecond.median.toFixed(0),
        range(row.perSecond),
        row.p50Ms.median.toFixed(1),
        row.p99Ms.median.toFixed(1),
        row.serverUs.median.toFixed(0),
        row.betweenUs.median.toFixed(0),
        errorText(row),
      ]),
    ),
  );
}

export async function run(args) {
  const settings = parseSettings(args, defaults);
  const conditions = machine.conditions();
  const { rounds, seconds, connections, workers } = settings;
  console.log(machine.describe(conditions));
  console.log(
    `${rounds} rounds of ${seconds} s; ${connections} connections; ${workers} workers of nginx\n`,
  );
  const result = await withSite(async (site) => {
    const servers = await startAll(site, settings, choose(programs, settings.only));
    for (const one of servers) {
      await warmUp(one, page(one), settings, settings['warm-up']);
      one.accounts = accountsOf(site, one);
    }
    const samples = await takeTurns(rounds, servers, (one) => measure(one, page(one), settings));
    const rows = servers.map((one) => summarize(one, samples.get(one.id), fields));
    return {
      conditions,
      settings,
      servers: rows,
      ratios: goals.map((goal) => compare(goal, rows, 'betweenUs')).filter(Boolean),
      othersShare: othersShare(rows),
      logged: servers.map((one) => ({ label: one.label, complaints: complaints(site, one) })),
      configurations: Object.fromEntries(servers.map((s) => [s.id, s.configuration])),
    };
  });
  show(result.servers);
  if (result.ratios.length > 0) console.log(`\n${ratioTable(result.ratios)}`);
  console.log("(µs: processor time a request; by processor time: the program's)");
  showOthersShare(result.othersShare);
  showComplaints(result.logged);
  console.log(`written: ${save('runtime', result)}`);
}
