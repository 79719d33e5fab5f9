// SPDX-License-Identifier: Apache-2.0
// Connections of programs to PostgreSQL: for each request, for each worker, or from a pool. The programs
// are those of examples/databases/.

import { type ChildProcess, spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { root } from '../servers/checkout.ts';
import { ExampleProgram, type Received } from '../servers/example-program.ts';
import type { Database, Postgres } from '../servers/postgres.ts';
import { signal } from '../servers/processes.ts';

const examples = `${root}/examples/databases`;
/** Longer than any test. */
const patientMs = 600_000;
const hastyMs = 1000;

async function bank(postgres: Postgres): Promise<Database> {
  const database = await postgres.database();
  await database.query("INSERT INTO accounts VALUES ('ann', 100), ('bob', 100)");
  return database;
}

function start(
  t: Test,
  file: string,
  database: Database,
  options: Record<string, unknown> = {},
): Promise<ExampleProgram> {
  const env = { ...database.env, OPTIONS: JSON.stringify({ deadlineMs: patientMs, ...options }) };
  return ExampleProgram.start(t, `${examples}/${file}`, env);
}

const transfer = (amount: number) => ({ body: { from: 'ann', to: 'bob', amount } });

async function balances(program: ExampleProgram): Promise<unknown> {
  const { status, text } = await program.request('/accounts');
  return status === 200 ? JSON.parse(text) : { status, text };
}

// ---- for each request

const twoWorkers: Record<string, Record<string, unknown>> = {
  forking: { processes: 2 },
  'process-pool': { processes: 2 },
  'thread-pool': { threads: 2 },
};

export async function perRequest(t: Test, postgres: Postgres, model: string): Promise<void> {
  const database = await bank(postgres);
  const options = { model, ...twoWorkers[model] };
  const program = await start(t, 'per-request.mjs', database, options);
  await database.connections(0);

  t.equal((await program.request('/transfers', transfer(30))).status, 204);
  t.equal((await program.request('/transfers', transfer(71))).status, 409, 'rolled back');
  t.equal((await program.request('/transfers', { body: 'no JSON' })).status, 500);
  t.same(await balances(program), { ann: 70, bob: 130 });
  await database.connections(0);

  await t.test('the client leaves', (t) =>
    database.locked('accounts', async () => {
      const client = new AbortController();
      const gone = program.request('/transfers', { ...transfer(1), signal: client.signal });
      await database.blocked(1);
      client.abort();
      await t.rejects(gone);
      await database.connections(0);
    }),
  );
  await t.test('the deadline passes', (t) =>
    database.locked('accounts', async () => {
      const hasty = await start(t, 'per-request.mjs', database, {
        ...options,
        deadlineMs: hastyMs,
      });
      t.equal((await hasty.request('/transfers', transfer(1))).status, 504);
      await database.connections(0);
    }),
  );
  await t.test('the process is killed', (t) =>
    database.locked('accounts', async () => {
      const lost = program.request('/transfers', transfer(1)).catch(() => null);
      await database.blocked(1);
      const isWorker = program.workers.length > 0;
      for (const pid of isWorker ? program.workers : [program.pid]) signal(pid, 'SIGKILL');
      t.equal((await lost)?.status, isWorker ? 502 : undefined);
      await database.connections(0);
    }),
  );
  t.same(await database.query('SELECT balance FROM accounts WHERE name = $1', ['ann']), [
    { balance: 70 },
  ]);
}

/** As a web server runs it, which ends it with TERM. */
export async function perRequestCgi(t: Test, postgres: Postgres): Promise<void> {
  const database = await bank(postgres);
  const sent = JSON.stringify(transfer(1).body);
  const variables = {
    ...{ GATEWAY_INTERFACE: 'CGI/1.1', REQUEST_METHOD: 'POST', REQUEST_URI: '/transfers' },
    ...{ SERVER_PROTOCOL: 'HTTP/1.1', SERVER_NAME: 'example', SERVER_PORT: '80' },
    ...{ QUERY_STRING: '', SCRIPT_NAME: '', CONTENT_LENGTH: `${sent.length}` },
  };
  const run = (deadlineMs: number): ChildProcess => {
    const OPTIONS = JSON.stringify({ deadlineMs });
    const env = { PATH: process.env.PATH, ...database.env, ...variables, OPTIONS };
    const child = spawn(`${examples}/per-request.mjs`, { env, stdio: ['pipe', 'pipe', 'inherit'] });
    t.teardown(() => child.kill('SIGKILL'));
    child.stdin?.end(sent);
    return child;
  };
  const answer = async (child: ChildProcess): Promise<string> =>
    (await text(child.stdout!)).split('\r\n')[0] ?? '';
  t.equal(await answer(run(patientMs)), 'Status: 204 No Content');
  await database.connections(0);
  await database.locked('accounts', async () => {
    t.equal(await answer(run(hastyMs)), 'Status: 504 Gateway Timeout');
    await database.connections(0);
    const ended = run(patientMs);
    await database.blocked(1);
    ended.kill('SIGTERM');
    t.equal(await answer(ended), '');
    await database.connections(0);
  });
}

// ---- for each worker

async function perWorkerProgram(t: Test, postgres: Postgres, model: string): Promise<Running> {
  const database = await bank(postgres);
  const workers = twoWorkers[model] === undefined ? 1 : 2;
  const program = await start(t, 'per-worker.mjs', database, { model, ...twoWorkers[model] });
  await database.connections(workers);
  return { program, database, workers };
}

interface Running {
  program: ExampleProgram;
  database: Database;
  workers: number;
}

/** The processes that hold the connections. */
function holders({ program }: Running): number[] {
  return program.workers.length > 0 ? program.workers : [program.pid];
}

export async function perWorker(
  t: Test,
  postgres: Postgres,
  models: readonly string[],
): Promise<void> {
  const all = await Promise.all(models.map((model) => perWorkerProgram(t, postgres, model)));
  for (const [i, running] of all.entries()) {
    await t.test(`${models[i]}: one connection serves all requests of a worker`, (t) =>
      sameConnections(t, running),
    );
    await t.test(`${models[i]}: a connection is lost in a transaction`, (t) =>
      lostInTransaction(t, running),
    );
    await t.test(`${models[i]}: connections are lost unnoticed`, (t) => lostUnnoticed(t, running));
  }
  await t.test('the database is restarted', (t) => restarted(t, postgres, all));
  for (const { program, database } of all) {
    t.equal(await program.end(), 0);
    await database.connections(0);
  }
}

async function sameConnections(t: Test, { program, database, workers }: Running): Promise<void> {
  const before = await database.connections(workers);
  const many = Array.from({ length: 30 }, () => program.request('/transfers', transfer(1)));
  t.ok((await Promise.all(many)).every(({ status }) => status === 204));
  t.same(await balances(program), { ann: 70, bob: 130 });
  t.same(await database.connections(workers), before);
}

async function lostInTransaction(t: Test, running: Running): Promise<void> {
  const { program, database } = running;
  const processes = holders(running);
  await database.locked('accounts', async () => {
    const lost = program.request('/transfers', transfer(1));
    const [backend] = await database.blocked(1);
    await database.terminate(backend!);
    t.equal((await lost).status, 500, 'it may not be asked again');
  });
  t.same(await balances(program), { ann: 70, bob: 130 });
  t.same(holders(running), processes, 'in the same processes');
}

/** A request comes before the end of its connection has been read. */
async function lostUnnoticed(t: Test, running: Running): Promise<void> {
  const { program, database, workers } = running;
  const processes = holders(running);
  for (const pid of processes) signal(pid, 'SIGSTOP');
  const before = (await database.sessions()).map(({ pid }) => pid);
  const asked = Array.from({ length: workers }, () => balances(program));
  for (const backend of before) await database.terminate(backend);
  for (const pid of processes) signal(pid, 'SIGCONT');
  for (const answer of await Promise.all(asked)) t.same(answer, { ann: 70, bob: 130 });
  t.same(holders(running), processes, 'in the same processes');
}

async function restarted(t: Test, postgres: Postgres, all: Running[]): Promise<void> {
  const before = all.map(holders);
  await postgres.stop();
  for (const { program } of all) {
    const { status, headers } = await program.request('/accounts');
    t.match({ status, headers }, { status: 503, headers: { 'retry-after': '1' } });
  }
  await postgres.begin();
  for (const { program } of all) t.same(await balances(program), { ann: 70, bob: 130 });
  t.same(all.map(holders), before, 'in the same processes');
}

// ---- from a pool

/** As in pooled.mjs. */
const poolSize = 4;

export async function pooled(t: Test, postgres: Postgres): Promise<void> {
  const database = await bank(postgres);
  const program = await start(t, 'pooled.mjs', database);

  const clients = Array.from({ length: 40 }, () => new AbortController());
  const leaving = clients.filter((_, i) => i % 4 === 0);
  const { answers } = await database.locked('accounts', async () => {
    const asked = clients.map(({ signal }) =>
      program.request('/transfers', { ...transfer(1), signal }).catch(() => null),
    );
    await database.blocked(poolSize);
    for (const client of leaving) client.abort();
    t.equal((await program.request('/else')).status, 404, 'it has seen them leave by now');
    await database.blocked(poolSize);
    return { answers: Promise.all(asked) };
  });
  const stayed = (await answers).filter((one): one is Received => one !== null);
  t.equal(stayed.length, clients.length - leaving.length);
  t.ok(stayed.every(({ status }) => status === 204));
  t.same(await balances(program), { ann: 100 - stayed.length, bob: 100 + stayed.length });

  t.equal(await program.end(), 0);
  await database.connections(0);

  await t.test('who waits for too long', async (t) => {
    const env = { ...database.env, DATABASE_WAIT_MS: '3000' };
    const program = await ExampleProgram.start(t, `${examples}/pooled.mjs`, env);
    const ask = (count: number): Promise<Received>[] =>
      Array.from({ length: count }, () => program.request('/transfers', transfer(1)));
    const { served } = await database.locked('accounts', async () => {
      const first = ask(poolSize);
      await database.blocked(poolSize);
      for (const { status } of await Promise.all(ask(2))) t.equal(status, 503);
      return { served: Promise.all(first) };
    });
    for (const { status } of await served) t.equal(status, 204);
  });
}
