#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// A few connections for one process with many requests at a time: a request has one while it needs it.
import { serve } from 'usher/runtime';
import { bank } from './bank.mjs';
import { openPool } from './database.mjs';

const pool = openPool({ max: 4 });

await serve(bank(pool), {
  model: 'concurrent',
  deadlineMs: 10_000,
  onWorkerStop: () => pool.end(),
});
