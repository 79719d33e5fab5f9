// SPDX-License-Identifier: Apache-2.0
// An application: accounts, and transfers between them, one transaction a request.
//   GET /accounts                                          {"name": balance, …}
//   POST /transfers  {"from": …, "to": …, "amount": …}     204; 409 when there is not enough
import { refusingWithoutDatabase, transaction } from './database.mjs';

/** @see https://www.postgresql.org/docs/current/errcodes-appendix.html */
const CHECK_VIOLATION = '23514';

/** The handler, on this pool of connections. */
export function bank(pool) {
  return refusingWithoutDatabase(async (request) => {
    const { pathname } = new URL(request.url);
    switch (`${request.method} ${pathname.slice(pathname.lastIndexOf('/'))}`) {
      case 'GET /accounts':
        return Response.json(await transaction(pool, request.signal, balances));
      case 'POST /transfers':
        return order(pool, request);
      default:
        return refusal(404, 'There are GET /accounts and POST /transfers.');
    }
  });
}

async function balances(query) {
  const { rows } = await query('SELECT name, balance FROM accounts ORDER BY name');
  return Object.fromEntries(rows.map(({ name, balance }) => [name, balance]));
}

async function order(pool, request) {
  const wanted = await request.json();
  try {
    return await transaction(pool, request.signal, (query) => transfer(query, wanted));
  } catch (error) {
    if (error.code !== CHECK_VIOLATION) throw error;
    return refusal(409, 'There is not enough.');
  }
}

async function transfer(query, { from, to, amount }) {
  if (!Number.isSafeInteger(amount) || amount <= 0) return refusal(400, 'What amount is that?');
  // Locked in the same order by all, so that no two transfers wait for each other.
  const locked = 'SELECT FROM accounts WHERE name IN ($1, $2) ORDER BY name FOR UPDATE';
  if ((await query(locked, [from, to])).rowCount !== 2) return refusal(404, 'Whose account?');
  const added = 'UPDATE accounts SET balance = balance + $2 WHERE name = $1';
  await query(added, [to, amount]);
  await query(added, [from, -amount]);
  return new Response(null, { status: 204 });
}

function refusal(status, text) {
  return new Response(`${text}\n`, { status });
}
