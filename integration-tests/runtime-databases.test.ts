// SPDX-License-Identifier: Apache-2.0
// Programs of usher/runtime and a database: connections, transactions and sessions, as
// docs/runtime-databases.md has them, in PostgreSQL.

import t from 'tap';
import { careless } from './behaviours/careless-handlers.ts';
import { perRequest, perRequestCgi, perWorker, pooled } from './behaviours/database-connections.ts';
import { databaseSessions } from './behaviours/database-sessions.ts';
import { nginx, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { Postgres } from './servers/postgres.ts';

const postgres = await Postgres.start(t);
const models = ['concurrent', 'sequential', 'forking', 'process-pool', 'thread-pool'];
const withWorkers = ['sequential', 'process-pool', 'thread-pool'];

await t.test('side by side', async (t) => {
  t.jobs = 4; // they wait most of the time
  for (const model of models) {
    t.test(`${model}: a connection for each request`, (t) => perRequest(t, postgres, model));
  }
  t.test('CGI: a connection for each request', (t) => perRequestCgi(t, postgres));
  for (const model of withWorkers) {
    t.test(`${model}: careless handlers`, (t) => careless(t, postgres, model));
  }
  t.test('a few connections for a process', (t) => pooled(t, postgres));
  if (servers.includes(nginx)) {
    t.test('sessions, and CGI', (t) => databaseSessions(t, nginx, postgres));
  }
});
// The database is restarted.
await t.test('a connection for each worker', (t) => perWorker(t, postgres, withWorkers));
t.test('after the end', nothingLeft);
