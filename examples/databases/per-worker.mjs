#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// One connection for each worker, for all of its requests. For sequential, process-pool and thread-pool.
import { serve } from 'usher/runtime';
import { bank } from './bank.mjs';
import { openPool } from './database.mjs';

const pool = openPool({ max: 1, idleTimeoutMillis: 0 });

await serve(bank(pool), {
  model: 'process-pool',
  deadlineMs: 10_000,
  // A worker that finds no database takes no requests, and is started again.
  onWorkerStart: async () => void (await pool.query('SELECT 1')),
  onWorkerStop: () => pool.end(),
  // To try others: OPTIONS='{"model":"thread-pool"}'
  ...JSON.parse(process.env.OPTIONS ?? '{}'),
});
