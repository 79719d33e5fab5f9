// SPDX-License-Identifier: Apache-2.0
import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

const BYTES = 32;
const derive = promisify(scrypt);
/** In place of users that there are not: they take as long. */
const NOBODY = { salt: Buffer.alloc(BYTES), password_hash: Buffer.alloc(BYTES) };

export async function isPassword(query, name, password) {
  const { rows } = await query('SELECT salt, password_hash FROM users WHERE name = $1', [name]);
  const { salt, password_hash: expected } = rows[0] ?? NOBODY;
  return timingSafeEqual(await derive(password, salt, BYTES), expected);
}

export async function addUser(query, name, password) {
  const salt = randomBytes(BYTES);
  const hash = await derive(password, salt, BYTES);
  await query('INSERT INTO users VALUES ($1, $2, $3)', [name, salt, hash]);
}
