// SPDX-License-Identifier: Apache-2.0
// What a handler leaves on its worker's connection to the database does not reach the next request there:
// apps/careless.mjs, whose only worker has one connection.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { apps } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { ExampleProgram } from '../servers/example-program.ts';
import type { Database, Postgres } from '../servers/postgres.ts';

const patientMs = 600_000;
const hastyMs = 1000;

const oneWorker: Record<string, Record<string, unknown>> = {
  'process-pool': { processes: 1 },
  'thread-pool': { threads: 1 },
};

/** What a request finds: apps/careless.mjs has the list. */
interface Look {
  process: number;
  backend: number;
  names: string[] | null;
}

async function look(program: ExampleProgram): Promise<Look | null> {
  const { status, text } = await program.request('/look');
  return status === 200 ? (JSON.parse(text) as Look) : null;
}

export async function careless(t: Test, postgres: Postgres, model: string): Promise<void> {
  const database = await postgres.database();
  const start = (deadlineMs: number) => {
    const OPTIONS = JSON.stringify({ model, ...oneWorker[model], deadlineMs });
    return ExampleProgram.start(t, `${apps}/careless.mjs`, { ...database.env, OPTIONS });
  };
  const [patient, hasty] = await Promise.all([start(patientMs), start(hastyMs)]);
  await t.test('handlers that end', (t) => ending(t, patient));
  await t.test('a connection is lost while nothing is asked', (t) =>
    lostBetweenQueries(t, patient, database),
  );
  await t.test('the deadline passes', (t) => deadlines(t, hasty, database, model));
}

/** Each on the same connection. */
async function ending(t: Test, program: ExampleProgram): Promise<void> {
  await program.request('/prepares');
  const clean = await look(program);
  const found = async (deed: string): Promise<[status: number, Look | null]> => {
    const { status } = await program.request(`/${deed}`);
    return [status, await look(program)];
  };
  t.match(clean, { names: null, prepared: '1' });
  t.same(await found('forgets'), [200, clean], 'no COMMIT, no ROLLBACK');
  t.same(await found('throws'), [500, clean], 'an exception');
  t.same(await found('fails'), [500, clean], 'an exception in transaction()');
  t.same(await found('swallows'), [500, clean], 'a failed query that nobody looks at');
  t.same(await found('litters'), [200, clean], 'settings, a role, temporary tables, locks …');
  t.same(await found('prepares'), [200, clean], 'what pg has prepared is still there');
  await program.request('/keeps');
  t.same(await found('reuses'), [500, clean], 'another request’s query()');
  t.same(await found('commits'), [200, { ...clean, names: ['commits'] }]);
  t.same(await found('inserts'), [200, { ...clean, names: ['commits', 'inserts'] }]);
}

async function lostBetweenQueries(
  t: Test,
  program: ExampleProgram,
  database: Database,
): Promise<void> {
  const before = await look(program);
  const dir = mkdtempSync('/tmp/usher-careless-');
  t.teardown(() => rmSync(dir, { recursive: true }));
  const lost = program.request(`/waits?for=${dir}/file`);
  const waiting = await eventually('it waits', async () => {
    const sessions = await database.sessions();
    return sessions.find(({ state }) => state === 'idle in transaction');
  });
  await database.terminate(waiting.pid);
  writeFileSync(`${dir}/file`, '');
  t.equal((await lost).status, 500);
  const after = await look(program);
  t.match(after, { process: before!.process, names: before!.names }, 'in the same process');
  t.not(after!.backend, before!.backend);
}

async function deadlines(
  t: Test,
  program: ExampleProgram,
  database: Database,
  model: string,
): Promise<void> {
  const names = await namesIn(database);
  // What computes on and on ends the process where there are no workers.
  const deeds = model === 'sequential' ? ['hangs', 'sleeps'] : ['hangs', 'sleeps', 'computes'];
  for (const deed of deeds) {
    t.equal((await program.request(`/${deed}`)).status, 504, deed);
    const after = await eventually('an answer in time', () => look(program));
    t.same([after.names, await namesIn(database)], [names, names], 'no rows');
    await eventually(`${deed} has no connection any more`, async () => {
      const sessions = await database.sessions();
      if (sessions.every(({ state }) => state === 'idle')) return true;
      throw new Error(JSON.stringify(sessions));
    });
  }
}

async function namesIn(database: Database): Promise<string[]> {
  const rows = await database.query<{ name: string }>('SELECT name FROM accounts ORDER BY name');
  return rows.map(({ name }) => name);
}
