// SPDX-License-Identifier: Apache-2.0
// Sessions in PostgreSQL, and CGI programs that use it, behind nginx and Usher: examples/databases/.

import { execFileSync } from 'node:child_process';
import type { Test } from 'tap';
import { root } from '../servers/checkout.ts';
import type { Answer } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import type { Database, Postgres } from '../servers/postgres.ts';
import { childrenOf, isRunning, signal } from '../servers/processes.ts';
import { Site } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

const examples = `${root}/examples/databases`;

interface Page {
  user: string | null;
  items: string[];
  process: number;
}

/** A browser with its cookies of one host. */
class Visitor {
  readonly #site: Site;
  readonly #mount: string;
  /** NAME=VALUE */
  cookie = '';
  /** As it was set last, with its rules. */
  setCookie = '';

  constructor(site: Site, mount = '/shop') {
    this.#site = site;
    this.#mount = mount;
  }

  async look(): Promise<Page> {
    return pageOf(await this.#ask('/', {}));
  }

  async add(item: string): Promise<Page> {
    return pageOf(await this.post('/items', { item }));
  }

  post(path: string, form: Record<string, string>): Promise<Answer> {
    const type: [string, string] = ['Content-Type', 'application/x-www-form-urlencoded'];
    const body = new URLSearchParams(form).toString();
    return this.#ask(path, { method: 'POST', headers: [type], body });
  }

  async #ask(
    path: string,
    options: { method?: string; headers?: [string, string][]; body?: string },
  ): Promise<Answer> {
    const { headers = [] } = options;
    if (this.cookie !== '') headers.push(['Cookie', `some=thing; ${this.cookie}`]);
    const answer = await this.#site.request(`${this.#mount}${path}`, { ...options, headers });
    const [setCookie] = answer.header('Set-Cookie');
    if (setCookie !== undefined) {
      this.setCookie = setCookie;
      this.cookie = setCookie.split(';')[0] ?? '';
    }
    return answer;
  }
}

function pageOf(answer: Answer): Page {
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text}`);
  return JSON.parse(answer.text) as Page;
}

export async function databaseSessions(
  t: Test,
  server: WebServer,
  postgres: Postgres,
): Promise<void> {
  const database = await postgres.database();
  await database.query("INSERT INTO accounts VALUES ('ann', 100), ('bob', 100)");
  const env = Object.entries(database.env).map(([name, value]) => `initial_env=${name}=${value}`);
  const place = `${env.join(' ')} initial_env=PATH=${process.env.PATH}`;
  const site = await Site.create(t, server);
  await site.start({
    nginx: `
      usher_app shop command=${examples}/shop.mjs on_demand=1 concurrency=32 ${place};
      usher_app bank command=${examples}/per-request.mjs protocol=cgi ${place};
      usher_app hasty command=${examples}/per-request.mjs protocol=cgi ${place}
                'initial_env=OPTIONS={"deadlineMs":1000}';
      server {
        listen 127.0.0.1:${site.port};
        include fastcgi_params;
        location /shop/ { usher_pass shop; }
        location /secure/ { usher_pass shop; include fastcgi_params; fastcgi_param HTTPS on; }
        location /bank/ { usher_pass bank; }
        location /hasty/ { usher_pass hasty; }
      }`,
  });
  await site.check('CGI: a connection for each request', (t) => cgi(t, site, database));
  await site.check('cookies', (t) => cookies(t, site, database));
  await site.check('requests of one session at a time', (t) => parallel(t, site, database));
  await site.check('login', (t) => login(t, site, database));
  await site.check('a worker is killed', (t) => workerKilled(t, site, database));
  await site.check('a rolling restart', (t) => rollingRestart(t, site));
  await site.check('expiry', (t) => expiry(t, site, database));
  await site.end();
  await database.connections(0);
}

const transfer = { method: 'POST', body: JSON.stringify({ from: 'ann', to: 'bob', amount: 1 }) };

async function cgi(t: Test, site: Site, database: Database): Promise<void> {
  t.equal((await site.request('/bank/transfers', transfer)).status, 204);
  t.same(JSON.parse((await site.request('/bank/accounts')).text), { ann: 99, bob: 101 });
  await database.connections(0);
  await database.locked('accounts', async () => {
    t.equal((await site.request('/hasty/transfers', transfer)).status, 504);
    await database.connections(0);
  });
  t.same(JSON.parse((await site.request('/bank/accounts')).text), { ann: 99, bob: 101 });
}

async function cookies(t: Test, site: Site, database: Database): Promise<void> {
  const visitor = new Visitor(site);
  t.match(await visitor.look(), { user: null, items: [] });
  t.equal(visitor.setCookie, '', 'nothing to be remembered');
  await visitor.add('tea');
  t.match(visitor.setCookie, /^session=[\w-]{43}; Path=\/; Max-Age=1800; HttpOnly; SameSite=Lax$/);
  t.same((await visitor.look()).items, ['tea']);
  const secure = new Visitor(site, '/secure');
  await secure.add('tea');
  t.match(
    secure.setCookie,
    /^__Host-session=[\w-]{43}; Path=\/; Max-Age=1800; HttpOnly; SameSite=Lax; Secure$/,
  );
  const id = visitor.cookie.slice('session='.length);
  const [{ found } = { found: '' }] = await database.query<{ found: string }>(
    `SELECT count(*) AS found FROM sessions
     WHERE encode(id_hash, 'escape') LIKE $1 OR data::text LIKE $1`,
    [`%${id}%`],
  );
  t.equal(found, '0', 'the table has no ids');
  const intruder = new Visitor(site);
  const invented = `session=${'A'.repeat(43)}`;
  intruder.cookie = invented;
  await intruder.add('tea');
  t.not(intruder.cookie, invented, 'invented ids become no sessions');
}

async function parallel(t: Test, site: Site, database: Database): Promise<void> {
  const visitor = new Visitor(site);
  await visitor.add('0');
  const { pages } = await database.locked('sessions', async () => {
    const asked = [visitor.add('1'), visitor.add('2')];
    await database.blocked(2);
    return { pages: Promise.all(asked) };
  });
  const processes = new Set((await pages).map((page) => page.process));
  t.equal(processes.size, 2, 'in both workers');
  const more = Array.from({ length: 40 }, (_, i) => visitor.add(`${i + 3}`));
  for (const { process } of await Promise.all(more)) processes.add(process);
  t.equal(processes.size, 2);
  const { items } = await visitor.look();
  const numbers = items.map(Number).sort((a, b) => a - b);
  t.same(
    numbers,
    Array.from({ length: 43 }, (_, i) => i),
    'no update is lost',
  );
}

/** As an administrator adds one. */
function addUser(database: Database, name: string, password: string): void {
  execFileSync(process.execPath, [`${examples}/add-user.mjs`, name, password], {
    env: { PATH: process.env.PATH, ...database.env },
  });
}

async function login(t: Test, site: Site, database: Database): Promise<void> {
  addUser(database, 'anna', 'secret');
  const visitor = new Visitor(site);
  await visitor.add('tea');
  const before = visitor.cookie;
  for (const form of [
    { name: 'anna', password: 'wrong' },
    { name: 'nobody', password: '' },
  ]) {
    t.equal((await visitor.post('/login', form)).status, 403);
  }
  t.equal(visitor.cookie, before);
  t.equal((await visitor.post('/login', { name: 'anna', password: 'secret' })).status, 200);
  t.not(visitor.cookie, before, 'another id');
  t.match(await visitor.look(), { user: 'anna', items: ['tea'] });
  const former = new Visitor(site);
  former.cookie = before;
  t.match(await former.look(), { user: null, items: [] }, 'the former one is no use');
  const loggedIn = visitor.cookie;
  await visitor.post('/logout', {});
  t.match(visitor.setCookie, /^session=; Path=\/; Max-Age=0;/);
  former.cookie = loggedIn;
  t.match(await former.look(), { user: null, items: [] });
}

async function programOf(site: Site): Promise<number> {
  return (await site.classStatus('shop'))?.instances[0]?.pid ?? 0;
}

async function workerKilled(t: Test, site: Site, database: Database): Promise<void> {
  const visitor = new Visitor(site);
  const { process: before } = await visitor.add('tea');
  const workers = childrenOf(await programOf(site));
  t.ok(workers.includes(before));
  await database.locked('sessions', async () => {
    const lost = visitor.post('/items', { item: 'milk' });
    await database.blocked(1);
    for (const pid of workers) signal(pid, 'SIGKILL');
    t.equal((await lost).status, 502);
  });
  const after = await visitor.look();
  t.same(after.items, ['tea']);
  t.notOk(workers.includes(after.process));
}

async function rollingRestart(t: Test, site: Site): Promise<void> {
  const visitor = new Visitor(site);
  await visitor.add('0');
  const program = await programOf(site);
  let added = 1;
  let isOver = false;
  const add = async (): Promise<void> => {
    // Not more than a cart takes.
    while (!isOver && added < 90) await visitor.add(`${added++}`);
  };
  const restart = async (): Promise<void> => {
    const { status, output } = await usherCommand(site.runtimeDir, 'restart', 'shop');
    t.equal(status, 0, output);
    isOver = true;
  };
  await Promise.all([add(), restart()]);
  await eventually('the old program has ended', () => !isRunning(program));
  const { items } = await visitor.add('last');
  t.equal(items.length, added + 1, 'no update is lost');
  t.not(await programOf(site), program);
}

async function expiry(t: Test, site: Site, database: Database): Promise<void> {
  const visitor = new Visitor(site);
  await visitor.add('tea');
  await database.query("UPDATE sessions SET expires_at = now() - interval '1 second'");
  t.same((await visitor.look()).items, []);
  await usherCommand(site.runtimeDir, 'restart', 'shop');
  await site.request('/shop/');
  await eventually('workers delete what has expired', async () => {
    return (await database.query('SELECT FROM sessions')).length === 0;
  });
}
