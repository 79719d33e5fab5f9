// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- rates [--rounds N] [--seconds S] …`: how many requests a second of the same
// program each of five servers passes on, one request a connection to the program. All servers run
// all the time, one at a time is asked, in turns: what disturbs one round disturbs all of them.

import { spawn } from 'node:child_process';
import http from 'node:http';
import { availableParallelism } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import * as machine from './machine.mjs';
import { range, save, table, verdict } from './report.mjs';
import { processesBehind, startAll } from './servers.mjs';
import { eventually, usherStatus, withSite } from './site.mjs';
import { median, spread } from './statistics.mjs';

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

export function parse(args) {
  const names = Object.keys(defaults);
  const { values } = parseArgs({
    args,
    options: {
      ...Object.fromEntries(names.map((name) => [name, { type: 'string' }])),
      only: { type: 'string' },
    },
  });
  const settings = { ...defaults, only: values.only?.split(',') };
  for (const name of names.filter((candidate) => values[candidate] !== undefined)) {
    const value = Number(values[name]);
    if (!(value >= 1 && value <= 10_000 && Number.isInteger(value))) {
      throw new Error(`--${name} ${values[name]}: expected a whole number from 1 to 10000`);
    }
    settings[name] = value;
  }
  return settings;
}

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

/** Requests that Usher still counts a while after the last client has gone: there should be none. */
async function stuck({ runtimeDir }) {
  if (runtimeDir === undefined) return 0;
  let count;
  const none = () => {
    const classes = usherStatus(runtimeDir)?.classes ?? [];
    count = classes.reduce((sum, { inFlight, waiting }) => sum + inFlight + waiting, 0);
    return count === 0;
  };
  await eventually('no request is left', none, 3000).catch(() => {});
  return count;
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
    isValid: sample.requests > 0 && Object.values(sample.errors).every((count) => count === 0),
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

function summarize(server, samples) {
  const of = (field) => spread(samples.map((sample) => sample[field]));
  const errors = {};
  for (const sample of samples) {
    for (const [kind, count] of Object.entries(sample.errors)) {
      if (count > 0) errors[kind] = (errors[kind] ?? 0) + count;
    }
  }
  return {
    id: server.id,
    label: server.label,
    isValid: samples.every(({ isValid }) => isValid),
    errors,
    programs: [...new Set(samples.map(({ programs }) => programs))],
    perSecond: of('perSecond'),
    p50Ms: of('p50Ms'),
    p99Ms: of('p99Ms'),
    serverUs: of('serverUs'),
    managerUs: of('managerUs'),
    programUs: of('programUs'),
    wholeUs: of('wholeUs'),
    samples,
  };
}

/** What a server found worth an error log line; its starting and stopping are not. */
function complaints(site, { name }) {
  const lines = site.said(name).split('\n');
  return lines.filter((line) => line !== '' && !/[:[]notice\]/.test(line));
}

/** Ratios of turns of the same round; of rates, and of processor time with its meaning turned. */
function compare({ of, to, atLeast, aim }, rows) {
  const [ours, theirs] = [of, to].map((id) => rows.find((row) => row.id === id));
  if (ours === undefined || theirs === undefined) return undefined;
  const pairs = ours.samples.map((sample, i) => [sample, theirs.samples[i]]);
  const rate = spread(pairs.map(([a, b]) => a.perSecond / b.perSecond));
  return {
    of,
    to,
    label: `${ours.label} : ${theirs.label}`,
    atLeast,
    aim,
    isValid: ours.isValid && theirs.isValid,
    rate,
    processorTime: spread(pairs.map(([a, b]) => b.wholeUs / a.wholeUs)),
    verdict: verdict(rate.median, { atLeast, aim, better: 'higher' }),
  };
}

function show({ servers, ratios, othersShare }, { processes }) {
  const errorText = ({ isValid, errors }) =>
    isValid
      ? '0'
      : `INVALID: ${Object.entries(errors)
          .map(([kind, count]) => `${count} ${kind}`)
          .join(', ')}`;
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
  console.log(
    table(
      ['ratio, round by round', 'req/s', 'min–max', 'by processor time', 'must', 'aim', ''],
      ratios.map((ratio) => [
        ratio.label,
        ratio.rate.median.toFixed(2),
        range(ratio.rate, 2),
        ratio.processorTime.median.toFixed(2),
        ratio.atLeast.toFixed(2),
        ratio.aim.toFixed(2),
        ratio.isValid ? ratio.verdict : 'INVALID',
      ]),
    ),
  );
  console.log(`others had ${(othersShare.median * 100).toFixed(0)} % of the processors`);
  showOddities(servers, processes);
}

function showOddities(servers, processes) {
  for (const { label, programs, complaints: lines } of servers) {
    if (programs.some((count) => count !== processes)) {
      console.log(`${label}: ${programs.join(', ')} processes of the program, not ${processes}`);
    }
    if (lines.length > 0) console.log(`${label} logged ${lines.length} lines, first: ${lines[0]}`);
  }
}

export async function run(args) {
  const settings = parse(args);
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
    const servers = all.filter(({ id }) => settings.only?.includes(id) ?? true);
    if (servers.length === 0) {
      throw new Error(`--only ${settings.only}: expected some of ${all.map(({ id }) => id)}`);
    }
    for (const server of servers) await startProgram(site, server, settings);
    const samples = new Map(servers.map(({ id }) => [id, []]));
    for (let round = 1; round <= rounds; round++) {
      for (const server of servers) {
        const sample = await measure(site, server, settings);
        samples.get(server.id).push(sample);
        process.stderr.write(
          `bench: round ${round}: ${server.label}: ${sample.perSecond.toFixed(0)} req/s` +
            `${sample.isValid ? '' : ` INVALID ${JSON.stringify(sample.errors)}`}\n`,
        );
        await sleep(200); // what is left to do for the last one
      }
    }
    const rows = servers.map((server) => ({
      ...summarize(server, samples.get(server.id)),
      complaints: complaints(site, server),
    }));
    return {
      conditions,
      settings,
      servers: rows,
      ratios: goals.map((goal) => compare(goal, rows)).filter((ratio) => ratio !== undefined),
      othersShare: { median: median(rows.flatMap((r) => r.samples.map((s) => s.othersShare))) },
      configurations: Object.fromEntries(servers.map((s) => [s.id, s.configuration])),
    };
  });
  show(result, settings);
  console.log(`written: ${save('rates', result)}`);
}
