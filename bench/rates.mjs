// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- rates [--rounds N] [--seconds S] …`: how many requests a second of the same
// program each of five servers passes on, one request a connection to the program. All servers run
// all the time, one at a time is asked, in turns: what disturbs one round disturbs all of them.

import { spawn } from 'node:child_process';
import http from 'node:http';
import { availableParallelism } from 'node:os';
import * as machine from './machine.mjs';
import { range, save, table } from './report.mjs';
import { processesBehind, startAll } from './servers.mjs';
import { withSite } from './site.mjs';
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
  stuck,
  summarize,
  takeTurns,
} from './turns.mjs';

const defaults = {
  rounds: 5,
  seconds: 4,
  'warm-up': 1,
  connections: 32,
  threads: 1, // of wrk
  processes: 4, // of the program
  concurrency: 1, // requests at once that Usher lends one of them
  workers: Math.min(2, availableParallelism()), // processes of the web server
};

const goals = [
  { of: 'nginx-usher', to: 'nginx-stock', atLeast: 0.97, aim: 1.0 },
  { of: 'apache-usher', to: 'apache-proxy', atLeast: 1.0, aim: 1.3 },
  { of: 'apache-usher', to: 'apache-fcgid', atLeast: 1.3, aim: 1.5 },
];

// ---- one measurement

function answer(url) {
  return new Promise((resolve, reject) => {
    const request = http.get(url, { agent: false, timeout: 10_000 }, (response) => {
      const pieces = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('error', reject);
      response.on('end', () =>
        resolve({ status: response.statusCode, body: Buffer.concat(pieces).toString() }),
      );
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 10 s')));
    request.on('error', reject);
  });
}

async function checkAnswer({ label, url }) {
  const { status, body } = await answer(url);
  if (status !== 200 || body !== 'hello') {
    throw new Error(`${label} answers ${status} ${JSON.stringify(body.slice(0, 200))}`);
  }
}

const inMs = { us: 0.001, ms: 1, s: 1000, m: 60_000 };

function time(text, pattern) {
  const [, number, unit] = pattern.exec(text) ?? [];
  return number === undefined ? Number.NaN : Number(number) * inMs[unit];
}

function parseWrk(text) {
  const count = (pattern) => Number(pattern.exec(text)?.[1] ?? 0);
  const socketErrors = /Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)/.exec(
    text,
  );
  const [connect, read, write, timeout] = (socketErrors?.slice(1) ?? [0, 0, 0, 0]).map(Number);
  return {
    perSecond: count(/^Requests\/sec:\s+([\d.]+)/m),
    requests: count(/^\s+(\d+) requests in /m),
    p50Ms: time(text, /^\s+50%\s+([\d.]+)(us|ms|s|m)\b/m),
    p99Ms: time(text, /^\s+99%\s+([\d.]+)(us|ms|s|m)\b/m),
    errors: { status: count(/Non-2xx or 3xx responses: (\d+)/), connect, read, write, timeout },
  };
}

function wrk(site, { url }, seconds, { threads, connections }) {
  return new Promise((resolve, reject) => {
    const load = [`-t${threads}`, `-c${connections}`, `-d${seconds}`];
    const child = spawn(machine.installed().wrk, [...load, '--timeout', '10', '--latency', url], {
      detached: true,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    if (child.pid !== undefined) site.watch(child.pid, machine.installed().wrk);
    const pieces = [];
    child.stdout.on('data', (piece) => pieces.push(piece));
    child.stderr.on('data', (piece) => pieces.push(piece));
    child.on('error', reject);
    child.on('close', (status) => {
      const text = Buffer.concat(pieces).toString();
      if (status === 0) resolve(parseWrk(text));
      else reject(new Error(`wrk ended with ${status}: ${text}`));
    });
  });
}

/** One turn of one server: its rate, and who took how much processor time for it. */
async function measure(site, server, settings) {
  await checkAnswer(server);
  await wrk(site, server, settings['warm-up'], settings);

  const { programs, server: own, manager } = processesBehind(server);
  const look = () => ({
    server: machine.timeOf(own),
    manager: machine.timeOf(manager),
    program: machine.timeOf(programs),
    client: machine.timeOfEndedChildren(),
    all: machine.busyTime(),
    atMs: performance.now(),
  });
  const before = look();
  const sample = await wrk(site, server, settings.seconds, settings);
  const after = look();
  sample.errors.stuck = await stuck(server);
  await checkAnswer(server);

  const took = (who) => after[who] - before[who];
  const perRequest = (ms) => (ms * 1000) / sample.requests;
  const ours = took('server') + took('manager') + took('program') + took('client');
  const capacity = (after.atMs - before.atMs) * availableParallelism();
  return {
    ...sample,
    programs: programs.length,
    serverUs: perRequest(took('server')),
    managerUs: perRequest(took('manager')),
    programUs: perRequest(took('program')),
    wholeUs: perRequest(ours),
    /** Share of the processors that others had meanwhile. */
    othersShare: Math.max(0, (took('all') - ours) / capacity),
  };
}

/** mod_fcgid starts its processes one by one, when requests have waited. */
async function startProgram(site, server, settings) {
  for (let tries = 0; tries < 10; tries++) {
    await wrk(site, server, 1, settings);
    if (processesBehind(server).programs.length >= settings.processes) return;
  }
}

// ---- the result

const fields = ['perSecond', 'p50Ms', 'p99Ms', 'serverUs', 'managerUs', 'programUs', 'wholeUs'];

function show({ servers, ratios, othersShare: share }, { processes }) {
  console.log(
    table(
      [
        ...['server', 'req/s', 'min–max', 'p50 ms', 'p99 ms'],
        ...['server µs', 'manager µs', 'program µs', 'with client', 'errors'],
      ],
      servers.map((row) => [
        row.label,
        row.perSecond.median.toFixed(0),
        range(row.perSecond),
        row.p50Ms.median.toFixed(2),
        row.p99Ms.median.toFixed(2),
        row.serverUs.median.toFixed(1),
        row.managerUs.median.toFixed(1),
        row.programUs.median.toFixed(1),
        row.wholeUs.median.toFixed(1),
        errorText(row),
      ]),
    ),
  );
  console.log('(µs: processor time a request)\n');
  console.log(ratioTable(ratios));
  showOthersShare(share);
  for (const { label, programs } of servers) {
    if (programs.some((count) => count !== processes)) {
      console.log(`${label}: ${programs.join(', ')} processes of the program, not ${processes}`);
    }
  }
  showComplaints(servers);
}

export async function run(args) {
  const settings = parseSettings(args, defaults);
  const conditions = machine.conditions();
  const { rounds, seconds, connections, threads, processes, concurrency, workers } = settings;
  console.log(machine.describe(conditions));
  console.log(
    `${rounds} rounds of ${seconds} s; wrk with ${threads} threads, ${connections} connections; ` +
      `${processes} processes of the program × ${concurrency} places; ${workers} workers of the server\n`,
  );

  const result = await withSite(async (site) => {
    const all = await startAll(site, {
      processes,
      concurrency,
      workers,
      threads: 2 * connections,
    });
    const servers = choose(all, settings.only);
    for (const server of servers) await startProgram(site, server, settings);
    const samples = await takeTurns(rounds, servers, (one) => measure(site, one, settings));
    const rows = servers.map((server) => ({
      ...summarize(server, samples.get(server.id), fields),
      programs: [...new Set(samples.get(server.id).map(({ programs }) => programs))],
      complaints: complaints(site, server),
    }));
    return {
      conditions,
      settings,
      servers: rows,
      ratios: goals.map((goal) => compare(goal, rows, 'wholeUs')).filter(Boolean),
      othersShare: othersShare(rows),
      configurations: Object.fromEntries(servers.map((s) => [s.id, s.configuration])),
    };
  });
  show(result, settings);
  console.log(`written: ${save('rates', result)}`);
}
