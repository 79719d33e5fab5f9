#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// An application with sessions: a cart, and who has logged in. All answers tell both, and which process
// has answered.
//   GET /    POST /items (item=…)    POST /login (name=…&password=…)    POST /logout
import { serve } from 'usher/runtime';
import { openPool, refusingWithoutDatabase, transaction } from './database.mjs';
import { isPassword } from './passwords.mjs';
import { deleteExpiredSessions, Session } from './sessions.mjs';

const MOST_ITEMS = 100;
const SWEEP_MS = 60_000;

const pool = openPool({ max: 1, idleTimeoutMillis: 0 });

async function shop(request) {
  // Before there is a transaction: clients may be slow.
  const form = request.method === 'POST' ? await request.formData() : new FormData();
  return transaction(pool, request.signal, async (query) => {
    const session = await Session.of(request, query);
    const status = await act(request, form, session, query);
    const { user = null, items = [] } = session.data;
    const headers = new Headers({ 'Cache-Control': 'no-store' });
    await session.save(headers);
    return Response.json({ user, items, process: process.pid }, { status, headers });
  });
}

/** @returns the status of the answer */
async function act(request, form, session, query) {
  const { pathname } = new URL(request.url);
  const { items = [] } = session.data;
  switch (`${request.method} ${pathname.slice(pathname.lastIndexOf('/'))}`) {
    case 'GET /':
      return 200;
    case 'POST /items':
      if (items.length >= MOST_ITEMS) return 409;
      session.data.items = [...items, String(form.get('item'))];
      return 200;
    case 'POST /login': {
      const name = String(form.get('name'));
      if (!(await isPassword(query, name, String(form.get('password'))))) return 403;
      await session.renewId();
      session.data.user = name;
      return 200;
    }
    case 'POST /logout':
      session.data = {};
      return 200;
    default:
      return 404;
  }
}

let sweptMs = Number.NEGATIVE_INFINITY;

async function sweep() {
  if (performance.now() - sweptMs < SWEEP_MS) return;
  sweptMs = performance.now();
  await deleteExpiredSessions(pool);
}

await serve(refusingWithoutDatabase(shop), {
  model: 'process-pool',
  processes: 2,
  deadlineMs: 10_000,
  onWorkerStart: async () => void (await pool.query('SELECT 1')),
  onWorkerIdle: sweep,
  onWorkerStop: () => pool.end(),
});
