// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- runtime [--rounds N] [--seconds S] …`: how many requests a second of a small program in
// Node are answered behind nginx: under node:http with kept-alive connections, and with usher/runtime over
// FastCGI, in its execution models.

import { existsSync } from 'node:fs';
import { root } from '../scripts/run.mjs';
import { contest } from './contest.mjs';
import { startServer } from './servers.mjs';
import { eventually } from './site.mjs';

const defaults = { workers: 1 }; // of nginx; workers of pools: 2

/** What a program could reach that costs nothing but Node's own reading and writing. */
const bound = { id: 'constant', label: 'constant answer', kind: 'constant' };

const goals = [
  { of: 'node', to: 'http', atLeast: 1.2, aim: 1.5, by: 'betweenUs' },
  { of: 'fetch', to: 'http', by: 'betweenUs' },
  { of: bound.id, to: 'http', by: 'betweenUs' },
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

async function startAll(site, { workers, connections, only }) {
  const servers = [];
  for (const program of programs.filter(({ id }) => only?.includes(id) ?? true)) {
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

export function run(args) {
  return contest('runtime', args, {
    defaults,
    title: ({ connections, workers }) => `${connections} connections; ${workers} workers of nginx`,
    start: async (site, settings) => ({ servers: await startAll(site, settings) }),
    cases: () => [{ id: 'page', label: 'a page of 1 kB', ask: page, goals }],
    notes: ["(gateway: the program; by time: the program's)"],
  });
}
