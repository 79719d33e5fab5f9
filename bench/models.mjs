// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- models [--rounds N] [--seconds S] …`: the execution models of usher/runtime on the
// questions of who chooses one. All run the same program, behind nginx with Usher, which starts them again
// when they end: an answer at once, after 5 ms of work, after a wait of 20 ms; answers beside one that takes
// a second; memory; what a crash costs others; and with an initialisation of a second, the first request.

import { spawnSync } from 'node:child_process';
import http from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../scripts/run.mjs';
import { accountsOf, measure } from './load.mjs';
import * as machine from './machine.mjs';
import { work } from './model-program.mjs';
import { save, table } from './report.mjs';
import { instancesReady, loadUsher, startServer } from './servers.mjs';
import { usherStatus, withSite } from './site.mjs';
import { median } from './statistics.mjs';
import { choose, othersShare, parseSettings, showOthersShare, takeTurns } from './turns.mjs';

const defaults = {
  rounds: 3,
  seconds: 3,
  'warm-up': 1,
  connections: 32,
  workers: 1, // of nginx
  crashes: 3, // in a turn
};

/** Workers of pools; programs at a time where each request has a process. */
const WORKERS = 2;
const PROCESSES = 8;
const INITIALISE_MS = 1000;
/** Beside a slow request, and of programs that take long to start. */
const FEW_CONNECTIONS = 4;

const models = [
  { id: 'cgi', label: 'CGI' },
  { id: 'cgi-snapshot', label: 'CGI, snapshot', hasSnapshot: true },
  { id: 'forking', label: 'forking', model: 'forking' },
  { id: 'forking-snapshot', label: 'forking, snapshot', model: 'forking', hasSnapshot: true },
  { id: 'sequential', label: 'sequential', model: 'sequential' },
  { id: 'process-pool', label: `process-pool, ${WORKERS}`, model: 'process-pool' },
  { id: 'thread-pool', label: `thread-pool, ${WORKERS}`, model: 'thread-pool' },
  { id: 'concurrent', label: 'concurrent', model: 'concurrent' },
];

const optionsOf = {
  forking: { processes: PROCESSES, maxProcesses: 64 },
  'process-pool': { processes: WORKERS },
  'thread-pool': { threads: WORKERS },
};

const startsProcesses = ({ model }) => model === undefined || model === 'forking';

/** More at once would only wait, and longer than a client does. */
function settingsOf(model, settings) {
  return startsProcesses(model) ? { ...settings, connections: PROCESSES } : settings;
}

/** Turns of the loop of work() that take a ms. */
function calibrate() {
  const turns = 20_000_000;
  work(turns);
  const took = [0, 1, 2, 3, 4].map(() => {
    const beganMs = performance.now();
    work(turns);
    return performance.now() - beganMs;
  });
  return Math.round(turns / Math.min(...took));
}

// ---- programs and their server

function writeProgram(site, { id, model, hasSnapshot }, turnsPerMs, initialiseMs) {
  const options = { turnsPerMs, initialiseMs, ...(model && { model }), ...optionsOf[model] };
  const text = `#!${process.execPath}
import { run } from '${root}/bench/model-program.mjs';
await run(${JSON.stringify(options)});
`;
  const file = site.write(`${id}-${initialiseMs}/program.mjs`, text, 0o755);
  if (!hasSnapshot) return model === undefined ? file : `${process.execPath} ${file}`;
  const executable = file.replace(/mjs$/, 'cgi');
  const words = ['snapshot', file, '--executable', executable];
  const { status, stderr } = spawnSync(`${root}/bin/usher`, words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`usher snapshot: ${stderr}`);
  return model === undefined ? executable : `${process.execPath} ${file}`;
}

function appText({ id, model }, command, more) {
  const protocol = model === undefined ? ' protocol=cgi' : '';
  const concurrency = model === undefined ? PROCESSES : 256;
  return `usher_app ${id} "command=${command}"${protocol} concurrency=${concurrency} ${more};`;
}

/** @param apps id, model, command, and options of their classes */
async function startNginx(site, name, apps, workers) {
  const runtimeDir = site.runtimeDir(`${name}-run`);
  const server = await startServer(
    site,
    'nginx',
    name,
    { workers },
    {
      modules: loadUsher,
      http: [
        `usher_runtime_dir ${runtimeDir};`,
        ...apps.map((app) => appText(app, app.command, app.options)),
      ].join('\n'),
      location: apps.map(({ id }) => `location /${id}/ { usher_pass ${id}; }`).join('\n'),
    },
  );
  return { ...server, runtimeDir };
}

function processesOf(runtimeDir, id) {
  const { classes } = usherStatus(runtimeDir);
  return classes.find(({ name }) => name === id).instances.map(({ pid }) => pid);
}

const asked = ({ port, id }, path) => ({
  port,
  method: 'GET',
  path: `/${id}${path}`,
  length: 1000,
});

// ---- one request

/** ms, or null when the answer is none. */
function request(port, path) {
  const beganMs = performance.now();
  return new Promise((resolve) => {
    http
      .get({ host: '127.0.0.1', port, path, agent: false, timeout: 60_000 }, (response) => {
        response.on('error', () => resolve(null));
        response.on('end', () => {
          resolve(response.statusCode === 200 ? performance.now() - beganMs : null);
        });
        response.resume();
      })
      .on('timeout', (asking) => asking?.destroy())
      .on('error', () => resolve(null));
  });
}

/** While `during` goes on, this path is asked again and again, one at a time. */
async function besides({ port, id }, path, during) {
  let isOver = false;
  const asking = (async () => {
    while (!isOver) await request(port, `/${id}${path}`);
  })();
  try {
    return await during();
  } finally {
    isOver = true;
    await asking;
  }
}

// ---- the questions

/** A turn, and the memory in the middle of it. */
async function measureWithMemory(one, settings) {
  const middleMs = (settings['warm-up'] + settings.seconds / 2) * 1000;
  const looking = sleep(middleMs).then(() =>
    machine.memoryOf(machine.families(processesOf(one.runtimeDir, one.id))),
  );
  const sample = await measure(one, asked(one, '/page'), settings);
  return { ...sample, memoryMb: await looking };
}

/** A request of ours may be left when all of the load is answered. */
const unwatched = (one) => ({ ...one, runtimeDir: undefined });

/** Long enough for several slow requests, as some models answer others only between them. */
function measureBesides(one, path, settings) {
  const seconds = Math.max(settings.seconds, 4);
  const slow = { ...settings, connections: FEW_CONNECTIONS, 'warm-up': 3, seconds };
  return besides(one, path, () => measure(unwatched(one), asked(one, '/page'), slow));
}

/** Other requests that failed, for each crash. */
async function measureCrashes(one, settings) {
  const { seconds, crashes } = settings;
  const crashing = async () => {
    await sleep(settings['warm-up'] * 1000);
    for (let i = 0; i < crashes; i++) {
      await sleep((seconds * 1000) / (crashes + 1));
      await request(one.port, `/${one.id}/crash`);
    }
  };
  const [sample] = await Promise.all([
    measure(unwatched(one), asked(one, '/page'), settings),
    crashing(),
  ]);
  const count = Object.values(sample.errors).reduce((sum, some) => sum + some, 0);
  return { ...sample, lostPerCrash: count / crashes, errors: {} };
}

const questions = [
  { id: 'page', measure: measureWithMemory },
  { id: 'compute', measure: (one, settings) => measure(one, asked(one, '/compute'), settings) },
  { id: 'wait', measure: (one, settings) => measure(one, asked(one, '/wait'), settings) },
  ...['slow-compute', 'slow-wait'].map((id) => ({
    id,
    measure: (one, settings) => measureBesides(one, `/${id}`, settings),
  })),
  { id: 'crash', measure: measureCrashes },
];

/** Of programs that take no time to start; the ones with snapshots differ in nothing then. */
async function askAll(site, settings, turnsPerMs, chosen) {
  const apps = chosen.map((model) => ({
    ...model,
    command: writeProgram(site, model, turnsPerMs, 0),
    options: 'processes=1',
  }));
  const nginx = await startNginx(site, 'models', apps, settings.workers);
  const servers = [];
  for (const { id, label, model } of apps) {
    await instancesReady(nginx.runtimeDir, id, 1);
    await request(nginx.port, `/${id}/page`);
    const ancestors = [nginx.pid, ...processesOf(nginx.runtimeDir, id)];
    const one = { ...nginx, id, label, model, ancestors };
    servers.push({ ...one, accounts: accountsOf(site, one) });
  }
  const answers = {};
  for (const { id, measure: ask } of questions) {
    const turn = (one) => ask(one, settingsOf(one, settings));
    answers[id] = await takeTurns(settings.rounds, servers, turn, `${id}: `);
  }
  return { answers, configuration: nginx.configuration };
}

/**
 * Of programs that initialise for a second: the first request, to a class of which nothing runs; one alone
 * later; and many, where each has a process.
 */
async function askStarting(site, settings, turnsPerMs, chosen) {
  const rounds = Array.from({ length: settings.rounds }, (_, round) => round);
  const apps = chosen.flatMap((model) => {
    const command = writeProgram(site, model, turnsPerMs, INITIALISE_MS);
    return rounds.map((round) => ({ ...model, id: `${model.id}-${round}`, command }));
  });
  const options = 'on_demand=1';
  const nginx = await startNginx(
    site,
    'starting',
    apps.map((app) => ({ ...app, options })),
    settings.workers,
  );
  const samples = new Map(chosen.map(({ id }) => [id, []]));
  for (const round of rounds) {
    for (const model of chosen) {
      const id = `${model.id}-${round}`;
      const firstMs = await request(nginx.port, `/${id}/page`);
      await sleep(3 * INITIALISE_MS); // spares start
      const laterMs = await request(nginx.port, `/${id}/page`);
      const sample = startsProcesses(model) ? await rateOf(nginx.port, `/${id}/page`) : {};
      samples.get(model.id).push({ ...sample, firstMs, laterMs });
      process.stderr.write(
        `bench: starting: round ${round + 1}: ${model.label}: ${firstMs?.toFixed(0)} ms\n`,
      );
    }
  }
  return { samples, configuration: nginx.configuration };
}

/** Requests a second, a few at a time, however long each takes. */
async function rateOf(port, path) {
  const beganMs = performance.now();
  const ask = async () => [await request(port, path), await request(port, path)];
  const taken = await Promise.all(Array.from({ length: FEW_CONNECTIONS }, ask));
  const answered = taken.flat().filter((ms) => ms !== null).length;
  return { perSecond: (answered * 1000) / (performance.now() - beganMs) };
}

// ---- the table

const headings = [
  'model',
  'req/s',
  'p50 ms',
  'µs',
  '5 ms work: req/s',
  '20 ms wait: req/s',
  'p99 ms beside work of 1 s',
  'beside wait of 1 s',
  'MB',
  'lost a crash',
  'init 1 s: first ms',
  'later ms',
  'req/s',
];

function cell(samples, field, digits = 0) {
  const values = (samples ?? []).map((sample) => sample[field]).filter(Number.isFinite);
  return values.length === 0 ? '–' : median(values).toFixed(digits);
}

function rowOf({ id, label }, answers, starting) {
  const of = (question) => answers[question].get(id);
  return [
    label,
    cell(of('page'), 'perSecond'),
    cell(of('page'), 'p50Ms', 1),
    cell(of('page'), 'betweenUs'),
    cell(of('compute'), 'perSecond'),
    cell(of('wait'), 'perSecond'),
    cell(of('slow-compute'), 'p99Ms', 1),
    cell(of('slow-wait'), 'p99Ms', 1),
    cell(of('page'), 'memoryMb'),
    cell(of('crash'), 'lostPerCrash', 1),
    cell(starting.get(id), 'firstMs'),
    cell(starting.get(id), 'laterMs'),
    cell(starting.get(id), 'perSecond', 1),
  ];
}

function failures(chosen, answers) {
  const lines = [];
  for (const [question, samples] of Object.entries(answers)) {
    for (const { id, label } of chosen) {
      const errors = (samples.get(id) ?? []).flatMap((sample) => Object.entries(sample.errors));
      const found = errors.filter(([, count]) => count > 0).map(([kind, n]) => `${n} ${kind}`);
      if (found.length > 0) lines.push(`FAILED: ${label}, ${question}: ${found.join(', ')}`);
    }
  }
  return lines;
}

const plain = (samples) => Object.fromEntries(samples);

export async function run(args) {
  const settings = parseSettings(args, defaults);
  const chosen = choose(models, settings.only);
  const conditions = machine.conditions();
  const turnsPerMs = calibrate();
  const { rounds, seconds, connections, workers } = settings;
  console.log(machine.describe(conditions));
  console.log(
    `${rounds} rounds of ${seconds} s; ${connections} connections; ${workers} workers of nginx; ` +
      `CGI: ${PROCESSES} programs at a time, forking: ${PROCESSES} spares, ${PROCESSES} connections\n`,
  );
  const result = await withSite(async (site) => {
    const steady = chosen.filter(({ hasSnapshot }) => !hasSnapshot);
    const { answers, ...asking } = await askAll(site, settings, turnsPerMs, steady);
    const starting = await askStarting(site, settings, turnsPerMs, chosen);
    return { answers, asking, starting };
  });
  const { answers, starting } = result;
  console.log(
    table(
      headings,
      chosen.map((model) => rowOf(model, answers, starting.samples)),
    ),
  );
  console.log(
    '(medians. µs: processor time of the program a request; MB: proportional set size of all its processes\n' +
      ' under load; lost a crash: failed requests of others; p99 of requests that are answered at once)',
  );
  for (const line of failures(chosen, answers)) console.log(line);
  const turns = Object.values(answers).flatMap((samples) => [...samples.values()].flat());
  showOthersShare(othersShare([{ samples: turns }]));
  const written = {
    conditions,
    settings,
    turnsPerMs,
    answers: Object.fromEntries(Object.entries(answers).map(([id, some]) => [id, plain(some)])),
    starting: plain(starting.samples),
    configurations: [result.asking.configuration, starting.configuration],
  };
  console.log(`written: ${save('models', written)}`);
}
