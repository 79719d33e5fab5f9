// SPDX-License-Identifier: Apache-2.0
// A program whose handlers do what they should not with the connection of examples/databases/. /DEED does
// it, and inserts an account of this name before; /look tells what the request finds on its connection.
// Its options of serve() come from OPTIONS, as JSON.

import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../dist/runtime/index.js';
import { lend, openPool, transaction } from '../../examples/databases/database.mjs';

const pool = openPool({ max: 1, idleTimeoutMillis: 0 });

const insert = (query, name) => query('INSERT INTO accounts VALUES ($1, 1)', [name]);

/** Of an earlier request. */
let kept = null;

/** On a connection with autocommit, as old programs have it. */
const deeds = {
  async commits(query) {
    await query('BEGIN');
    await insert(query, 'commits');
    await query('COMMIT');
  },
  async forgets(query) {
    await query('BEGIN');
    await insert(query, 'forgets');
  },
  async throws(query) {
    await query('BEGIN');
    await insert(query, 'throws');
    throw new Error('thrown on purpose');
  },
  async hangs(query) {
    await query('BEGIN');
    await insert(query, 'hangs');
    await new Promise(() => undefined);
  },
  async sleeps(query) {
    await query('BEGIN');
    await insert(query, 'sleeps');
    await query('SELECT pg_sleep(600)');
  },
  async computes(query) {
    await query('BEGIN');
    await insert(query, 'computes');
    for (;;);
  },
  /** Goes on when there is a file. */
  async waits(query, url) {
    await query('BEGIN');
    await insert(query, 'waits');
    while (!existsSync(url.searchParams.get('for'))) await sleep(10);
    await query('COMMIT');
  },
  async litters(query) {
    await query("SET work_mem = '123kB'");
    await query('SET ROLE pg_monitor');
    await query('CREATE TEMP TABLE litter ()');
    await query('DECLARE litter CURSOR WITH HOLD FOR SELECT 1');
    await query('SELECT pg_advisory_lock(1)');
    await query('LISTEN litter');
  },
  async prepares(query) {
    await query({ name: 'prepared', text: 'SELECT $1::int + 1 AS sum', values: [1] });
  },
  async keeps(query) {
    kept = query;
  },
  async reuses() {
    await insert(kept, 'reuses');
  },
};

/** In transaction(). */
const inTransactions = {
  inserts: (query) => insert(query, 'inserts'),
  async fails(query) {
    await insert(query, 'fails');
    throw new Error('thrown on purpose');
  },
  async swallows(query) {
    await insert(query, 'swallows');
    await query('SELECT 1 / 0').catch(() => undefined);
  },
};

const STATE = `
  SELECT pg_backend_pid() AS backend, current_setting('work_mem') AS memory,
    current_user AS role, to_regclass('pg_temp.litter') AS "table",
    (SELECT count(*) FROM pg_cursors WHERE name = 'litter') AS cursors,
    (SELECT count(*) FROM pg_locks
     WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks,
    (SELECT count(*) FROM pg_listening_channels()) AS channels,
    (SELECT count(*) FROM pg_prepared_statements) AS prepared,
    pg_current_xact_id_if_assigned() AS transaction,
    (SELECT array_agg(name ORDER BY name) FROM accounts) AS names`;

async function look(query) {
  const { rows } = await query(STATE);
  return { process: process.pid, ...rows[0] };
}

async function handle(request) {
  const url = new URL(request.url);
  const name = url.pathname.slice(1);
  const { signal } = request;
  if (name === 'look') return Response.json(await lend(pool, signal, look));
  if (name in inTransactions) await transaction(pool, signal, inTransactions[name]);
  else await lend(pool, signal, (query) => deeds[name](query, url));
  return new Response('done\n');
}

await serve(handle, {
  ...JSON.parse(process.env.OPTIONS),
  onWorkerStart: async () => void (await pool.query('SELECT 1')),
  onWorkerStop: () => pool.end(),
});
