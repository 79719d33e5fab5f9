// SPDX-License-Identifier: Apache-2.0
// What a program remembers of a visitor, in a table: any worker of any host can serve the next request.
import { createHash, randomBytes } from 'node:crypto';
import { metadataOf } from 'usher/runtime';

/** Of a session that has no requests. */
const LIFETIME_S = 1800;

const STORE = `
  INSERT INTO sessions (id_hash, data, expires_at)
  VALUES ($1, $2, now() + $3 * interval '1 second')
  ON CONFLICT (id_hash) DO UPDATE SET data = excluded.data, expires_at = excluded.expires_at`;

export class Session {
  /** JSON; an empty object is not stored. */
  data = {};
  #query;
  #cookie;
  /** null: of a visitor whom nothing is known of. */
  #id = null;

  /** Of the visitor who asks, locked until the end of the transaction: of two requests the second one waits,
   * and finds what the first has stored. An id that nobody was given opens a new session, under another id. */
  static async of(request, query) {
    const session = new Session(query, cookieFor(request));
    await session.#load(valueIn(request.headers.get('Cookie') ?? '', session.#cookie.name));
    return session;
  }

  constructor(query, cookie) {
    this.#query = query;
    this.#cookie = cookie;
  }

  /** At each login: it is no use then to have known the id before. */
  async renewId() {
    await this.#forget();
    this.#id = newId();
  }

  /** Last of all: the cookie goes into these fields of the answer. */
  async save(headers) {
    if (Object.keys(this.data).length > 0) {
      this.#id ??= newId();
      await this.#query(STORE, [hashOf(this.#id), JSON.stringify(this.data), LIFETIME_S]);
      this.#setCookie(headers, this.#id, LIFETIME_S);
    } else if (this.#id !== null) {
      await this.#forget();
      this.#setCookie(headers, '', 0);
    }
  }

  async #load(id) {
    const { rows } = await this.#query(
      'SELECT data FROM sessions WHERE id_hash = $1 AND expires_at > now() FOR UPDATE',
      [hashOf(id)],
    );
    if (rows.length === 0) return;
    this.#id = id;
    this.data = rows[0].data;
  }

  async #forget() {
    if (this.#id === null) return;
    await this.#query('DELETE FROM sessions WHERE id_hash = $1', [hashOf(this.#id)]);
    this.#id = null;
  }

  #setCookie(headers, value, lifetimeS) {
    const { name, isSecure } = this.#cookie;
    const rules = `Path=/; Max-Age=${lifetimeS}; HttpOnly; SameSite=Lax`;
    headers.append('Set-Cookie', `${name}=${value}; ${rules}${isSecure ? '; Secure' : ''}`);
  }
}

/** Now and then: expired sessions are of no use to anybody. */
export function deleteExpiredSessions(pool) {
  return pool.query('DELETE FROM sessions WHERE expires_at <= now()');
}

/** With "__Host-" browsers take it over TLS only, and from no other host of the domain. */
function cookieFor(request) {
  const { isSecure } = metadataOf(request);
  return { name: isSecure ? '__Host-session' : 'session', isSecure };
}

function valueIn(cookies, name) {
  const pairs = cookies.split(';').map((pair) => pair.trim().split('='));
  return pairs.find(([key]) => key === name)?.[1] ?? '';
}

function newId() {
  return randomBytes(32).toString('base64url');
}

function hashOf(id) {
  return createHash('sha256').update(id).digest();
}
