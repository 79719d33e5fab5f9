#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// A connection for each request: opened when it is needed, closed after it. In every model, and as CGI.
import { serve } from 'usher/runtime';
import { bank } from './bank.mjs';
import { openPool } from './database.mjs';

const pool = openPool({ maxUses: 1 });

await serve(bank(pool), {
  model: 'forking',
  deadlineMs: 10_000,
  // To try others: OPTIONS='{"model":"thread-pool"}'
  ...JSON.parse(process.env.OPTIONS ?? '{}'),
});
