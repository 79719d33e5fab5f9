#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// add-user.mjs NAME PASSWORD: somebody who can log in to shop.mjs.
import { lend, openPool } from './database.mjs';
import { addUser } from './passwords.mjs';

const [, , name, password] = process.argv;
const pool = openPool({ max: 1 });
await lend(pool, new AbortController().signal, (query) => addUser(query, name, password));
await pool.end();
