// SPDX-License-Identifier: Apache-2.0
// A connection to PostgreSQL that belongs to one request at a time, and is clean for the next one.
import pg from 'pg';

/** All that a session of PostgreSQL can leave behind: DISCARD ALL, but the statements that pg has prepared
 * and relies upon. */
const CLEAN = `
  ROLLBACK; CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; UNLISTEN *;
  SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES`;

/** There is no connection to be had: nothing was done yet. */
export class DatabaseUnavailable extends Error {
  constructor(cause) {
    super(`no connection to the database: ${cause.message}`, { cause });
  }
}

/** Where the database is: PGHOST, PGDATABASE, PGUSER … */
export function openPool(options) {
  const pool = new pg.Pool({
    // For a connection to be made, or given back by another request.
    connectionTimeoutMillis: Number(process.env.DATABASE_WAIT_MS ?? 5000),
    // The server also looks after its client while it computes or waits for a lock (from PostgreSQL 14).
    options: '-c client_connection_check_interval=1s',
    ...options,
  });
  // Connections get lost. The pool drops idle ones; else the next query fails.
  pool.on('error', () => undefined);
  pool.on('connect', (client) => client.on('error', () => undefined));
  return pool;
}

/** Calls `work` with query(text, values) of a connection that nobody else has. Whatever it leaves open is
 * rolled back. When the signal (of the request) is aborted, the connection is closed at once. */
export function lend(pool, signal, work) {
  return lendAfter('SELECT 1', pool, signal, work);
}

/** lend() in a transaction, which is committed when `work` is done and rolled back when it throws. */
export function transaction(pool, signal, work) {
  return lendAfter('BEGIN', pool, signal, async (query) => {
    const result = await work(query);
    const { command } = await query('COMMIT');
    if (command !== 'COMMIT') throw new Error('a query had failed: nothing was committed');
    return result;
  });
}

/** A handler that answers 503 when there is no connection to be had. */
export function refusingWithoutDatabase(handler) {
  return async (request) => {
    try {
      return await handler(request);
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable)) throw error;
      const text = 'The database cannot be reached; try again later.\n';
      return new Response(text, { status: 503, headers: { 'Retry-After': '1' } });
    }
  };
}

async function lendAfter(first, pool, signal, work) {
  const client = await borrow(pool, first);
  let isBack = false;
  const close = () => {
    isBack = true;
    client.release(true);
  };
  const query = async (...args) => {
    if (isBack) throw new Error('the connection was given back');
    return client.query(...args);
  };
  try {
    signal.throwIfAborted();
    signal.addEventListener('abort', close);
    return await work(query);
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    signal.removeEventListener('abort', close);
    if (!isBack) void clean(client);
    isBack = true;
  }
}

/** A connection that has answered `first`: one that was lost since its last request is replaced. */
async function borrow(pool, first) {
  for (let maybeLost = pool.options.max; ; maybeLost--) {
    let client;
    try {
      client = await pool.connect();
      await client.query(first);
      return client;
    } catch (error) {
      client?.release(true);
      if (client === undefined || maybeLost === 0) throw new DatabaseUnavailable(error);
    }
  }
}

/** The answer does not wait for it, the next request does. */
async function clean(client) {
  try {
    await client.query(CLEAN);
    client.release();
  } catch {
    client.release(true);
  }
}
