// SPDX-License-Identifier: Apache-2.0
// Two Tomcats behind one class: what arrives, where sessions live, who gets requests, what happens when
// one is gone, and what is told of it.

import { readFileSync } from 'node:fs';
import type { Test } from 'tap';
import { type Answer, checksum, hex, pattern } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { underLoad } from '../servers/load.ts';
import { processesOf } from '../servers/processes.ts';
import { readAgain } from '../servers/reading-again.ts';
import { Site, type Texts } from '../servers/site.ts';
import type { Tomcat } from '../servers/tomcat.ts';
import { type BackendStatus, run, usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

export interface Engines {
  /** Their routes are their names here, their application's context is /app. */
  a: Tomcat;
  b: Tomcat;
  secret: string;
}

/** @param more Another backend, as -host takes it. */
function configuration(site: Site, { a, b }: Engines, more: string[] = []): Texts {
  const hosts = [`${a.address},route=a`, `${b.address},route=b`, ...more];
  const { dir } = site;
  return {
    nginx: `
      usher_external_app shop protocol=ajp ${hosts.map((host) => `host=${host}`).join(' ')}
                         secret_file=${dir}/secret mount=/shop context=/app recover_time=1;
      usher_external_app wrong protocol=ajp host=${a.address} secret_file=${dir}/wrong;
      log_format backend '$request_uri $usher_backend $usher_route';
      server {
        listen 127.0.0.1:${site.port};
        client_max_body_size 0;
        access_log ${dir}/backends.log backend;
        include fastcgi_params;
        location /shop/ { usher_pass shop; }
        location /app/ { usher_pass wrong; }
      }`,
    apache: `
      ExternalAppClass shop -protocol ajp ${hosts.map((host) => `-host ${host}`).join(' ')} \\
          -secret-file ${dir}/secret -mount /shop -context /app -recover-time 1
      ExternalAppClass wrong -protocol ajp -host ${a.address} -secret-file ${dir}/wrong
      CustomLog ${dir}/backends.log "%U%q %{USHER_BACKEND}e %{USHER_ROUTE}e"
      <Location /shop>
        UsherPass shop
      </Location>
      <Location /app>
        UsherPass wrong
      </Location>`,
  };
}

export async function ajp(t: Test, server: WebServer, engines: Engines): Promise<void> {
  const { a, b, secret } = engines;
  const site = await Site.create(t, server);
  site.file('secret', `${secret}\n`, 0o600);
  site.file('wrong', `not-${secret}\n`, 0o600);
  await site.start(configuration(site, engines));

  const usher = async (...words: string[]): Promise<void> => {
    const { status, output } = await usherCommand(site.runtimeDir, ...words);
    if (status !== 0) throw new Error(`usher ${words.join(' ')}: ${status} ${output}`);
  };
  const shop = async () => (await site.classStatus('shop')) ?? { backends: [], instances: [] };
  const gatewayPid = async () => (await shop()).instances.map(({ pid }) => pid).join();
  const backend = async ({ address }: Tomcat): Promise<Partial<BackendStatus>> =>
    (await shop()).backends.find((one) => one.address === address) ?? {};
  const inSession = (id: string): Promise<Answer> =>
    site.request('/shop/session.jsp', { headers: [['Cookie', `JSESSIONID=${id}`]] });
  const newSession = async (): Promise<string> => {
    const { status, fields } = await site.request('/shop/session.jsp');
    if (status !== 200 || fields.id === undefined) throw new Error(`no session: ${status}`);
    return fields.id;
  };
  const routesOfNew = async (): Promise<string> => {
    const ids = await Promise.all(Array.from({ length: 8 }, newSession));
    return [...new Set(ids.map((id) => id.slice(id.lastIndexOf('.') + 1)))].sort().join();
  };
  /** The gateways hear of it a moment after the command has ended. */
  const goTo = async (routes: string): Promise<void> => {
    await eventually(`new sessions at ${routes}`, async () => (await routesOfNew()) === routes);
  };
  const lossesDuring = async (action: () => Promise<unknown>) =>
    (await underLoad(site, '/shop/echo.jsp', action)).lost;

  await site.check('a request arrives whole', async (t) => {
    const answer = await site.request('/shop/echo.jsp?a=%20b&c=d%2F', {
      method: 'POST',
      body: 'abc',
      headers: [
        ['Host', 'shop.example:8080'],
        ['X-Some', 'field'],
        ['Cookie', 'c=1; d="2"'],
        ['Content-Type', 'text/x-y'],
      ],
    });
    t.equal(answer.status, 200);
    t.match(answer.fields, {
      method: 'POST',
      uri: '/app/echo.jsp',
      query: 'a=%20b&c=d%2F',
      protocol: 'HTTP/1.1',
      scheme: 'http',
      secure: 'false',
      remoteAddr: '127.0.0.1',
      contentLength: '3',
      bodyBytes: '3',
      'header.host': 'shop.example:8080',
      'header.x-some': 'field',
      'header.cookie': 'c=1; d="2"',
      'header.content-type': 'text/x-y',
    });
    t.ok(Number(answer.fields.remotePort) > 1024);
    const ours = answer.headers.filter(([name]) => /^x-usher/i.test(name));
    t.same(ours, [], 'what the gateway tells the server does not reach the client');
    t.match((await site.request('/shop/echo.jsp?status=418')).status, 418);
    const [moved] = (await site.request('/shop/echo.jsp?location=/app/next')).header('Location');
    t.match(moved, /\/shop\/next$/, 'a redirect is translated back');
  });

  await site.check('large bodies go through, both ways', async (t) => {
    const body = pattern(3_000_000);
    const crc = hex(checksum(body));
    for (const isChunked of [false, true]) {
      const sent = await site.request('/shop/echo.jsp', { method: 'POST', body, isChunked });
      t.match(sent.fields, { bodyBytes: '3000000', bodyCrc: crc }, `chunked: ${isChunked}`);
    }
    const got = await site.request('/shop/stream.jsp?bytes=3000000');
    t.equal(got.body.length, 3_000_000);
    t.equal(hex(checksum(got.body)), crc);
  });

  await site.check('sessions stay at their backend, which is logged', async (t) => {
    t.equal(await routesOfNew(), 'a,b', 'both get some');
    const ids = await Promise.all(Array.from({ length: 4 }, newSession));
    for (const id of ids) {
      for (const count of ['2', '3']) t.match((await inSession(id)).fields, { id, count });
      const path = `/shop/session.jsp;jsessionid=${id}`;
      t.match((await site.request(path)).fields, { id, count: '4' }, 'by its path');
    }
    const [cookie] = (await site.request('/shop/session.jsp')).header('Set-Cookie');
    t.match(cookie, /Path=\/shop(;|$)/);
    for (const [route, { address }] of Object.entries({ a, b })) {
      const line = `/shop/session.jsp ${address} ${route}\n`;
      const log = `${site.dir}/backends.log`;
      await eventually(`${line} is logged`, () => readFileSync(log, 'utf8').includes(line));
    }
  });

  await site.check('usher status tells of class and backends', async (t) => {
    const status = await eventually('requests at both', async () => {
      const status = await site.classStatus('shop');
      return status?.backends.every(({ requests }) => requests > 0) && status;
    });
    t.match(status, { protocol: 'ajp', state: 'ready' });
    t.equal(status.instances.length, 1, 'one gateway');
    t.match(status.backends, [
      { address: a.address, route: 'a', activation: 'active', state: 'up', lastError: null },
      { address: b.address, route: 'b', activation: 'active', state: 'up', lastError: null },
    ]);
  });

  await site.check('what cannot be sent has its status and one line of cause', async (t) => {
    t.equal((await site.request('/shop/x/..;/echo.jsp')).status, 400);
    t.match(await site.errorLine(/\.\.;/), /segment/);
    const headers: [string, string][] = [
      ['Connection', 'Upgrade'],
      ['Upgrade', 'websocket'],
    ];
    t.equal((await site.request('/shop/echo.jsp', { headers })).status, 501);
    await site.errorLine(/Upgrade/i);
  });

  await site.check('a wrong secret is told as such', async (t) => {
    t.equal((await site.request('/app/echo.jsp')).status, 403);
    const line = await site.errorLine(/-secret-file/);
    t.match(line, a.address);
    t.notMatch(line, secret);
    const lines = site.newErrors().split('\n');
    t.equal(lines.filter((line) => line.includes('-secret-file')).length, 1, 'once');
  });

  await site.check('the secret is nowhere to be read', async (t) => {
    const processes = processesOf(site.runtimeDir).map(({ pid }) => pid);
    t.ok(processes.includes(Number(await gatewayPid())));
    const places = processes.flatMap((pid) => [`/proc/${pid}/cmdline`, `/proc/${pid}/environ`]);
    // Not in the channel: it is large, and has only counters and names.
    const wrong = `${site.dir}/wrong`;
    const options = ['-rslaF', '--exclude-dir=channel', '-f', `${site.dir}/secret`];
    const search = ['grep', ...options, wrong, site.runtimeDir, ...places];
    t.equal((await run(search)).output, `${wrong}\n`, 'only where it must be found');
    t.notMatch(JSON.stringify(await site.status()), secret);
    t.notMatch((await usherCommand(site.runtimeDir, 'status')).output, secret);
    t.notMatch(readFileSync(`${site.dir}/error.log`, 'utf8'), secret);
  });

  await site.check(
    'a backend that is disabled keeps its sessions, and gets no new ones',
    async (t) => {
      let old = await newSession();
      await eventually(
        'a session at the first one',
        async () => {
          for (let tries = 0; tries < 100 && !old.endsWith('.a'); tries += 1) {
            old = await newSession();
          }
          return old.endsWith('.a');
        },
        60_000,
      );
      await usher('backend', 'shop', a.address, 'disabled');
      await goTo('b');
      t.match((await inSession(old)).fields, { id: old, count: '2' });
      t.match(await backend(a), { activation: 'disabled', state: 'draining' });

      const { pid } = (await site.status()).manager;
      const before = await gatewayPid();
      const lost = await lossesDuring(async () => {
        process.kill(pid, 'SIGKILL');
        await eventually('another manager', async () => (await site.status()).manager.pid !== pid);
        await eventually('it knows the class', async () => (await backend(a)).state !== undefined);
      });
      t.same(lost, [], 'nothing is lost when the manager is killed');
      t.match(await backend(a), { activation: 'disabled', state: 'draining' });
      t.equal(await routesOfNew(), 'b', 'it holds');
      t.match((await inSession(old)).fields, { id: old, count: '3' });
      t.equal(await gatewayPid(), before, 'the gateway stays');

      await usher('backend', 'shop', a.address, 'stopped');
      await eventually('its sessions go elsewhere', async () => {
        return /\.b$/.test((await inSession(old)).fields.id ?? '');
      });
      t.match(await backend(a), { activation: 'stopped', state: 'disabled' });
      t.equal(await routesOfNew(), 'b');
      await usher('backend', 'shop', a.address, 'active');
      await goTo('a,b');
      await eventually('it is up', async () => (await backend(a)).state === 'up');
      t.match(await backend(a), { activation: 'active' });
    },
  );

  await site.check('a third backend is added, and the gateway stays', async (t) => {
    const before = await gatewayPid();
    const name = `localhost:${a.address.split(':')[1]}`;
    await readAgain(site, () => site.reload(configuration(site, engines, [`${name},route=c`])));
    await eventually('it gets requests', async () => {
      await Promise.all(Array.from({ length: 6 }, newSession));
      const third = (await shop()).backends.find(({ address }) => address === name);
      return third?.route === 'c' && third.requests > 0;
    });
    await readAgain(site, () => site.reload(configuration(site, engines)));
    await eventually('it goes again', async () => (await shop()).backends.length === 2);
    t.equal(await gatewayPid(), before);
  });

  await site.check('usher restart loses nothing', async (t) => {
    const before = await gatewayPid();
    const { lost, answered } = await underLoad(site, '/shop/echo.jsp', () =>
      usher('restart', 'shop'),
    );
    t.same(lost, []);
    t.ok(answered > 0);
    await eventually('another gateway alone', async () => {
      const now = await gatewayPid();
      return now !== before && /^\d+$/.test(now);
    });
  });

  await site.check('Tomcats go and come', async (t) => {
    const lost = await lossesDuring(async () => {
      await usher('backend', 'shop', a.address, 'stopped');
      await goTo('b');
      await a.stop();
      await usher('backend', 'shop', a.address, 'active');
      for (let i = 0; i < 5; i++) await goTo('b');
    });
    t.same(lost, [], 'nothing is lost');
    await eventually('it is down, and why', async () => {
      const { state, lastError } = await backend(a);
      return state === 'down' && /refused/.test(lastError ?? '');
    });

    await b.stop('SIGKILL');
    t.equal((await site.request('/shop/echo.jsp')).status, 503);
    const line = await site.errorLine(/refused/);
    t.match(line, a.address);
    t.match(line, b.address);
    const lines = site.newErrors().split('\n');
    t.equal(lines.filter((line) => line.includes(b.address)).length, 1, 'one line for one request');

    await Promise.all([a.start(), b.start()]);
    await goTo('a,b');
    await eventually('both are up', async () => {
      return (await shop()).backends.every((one) => one.state === 'up' && one.lastError === null);
    });
  });

  await site.end();
}
