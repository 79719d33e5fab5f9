// SPDX-License-Identifier: Apache-2.0
// Two engines of AJP 1.2 behind one class: what arrives, where sessions live, what happens when one is
// gone, secrets, and uploads of unknown length.

import { writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { apps } from '../servers/checkout.ts';
import { checksum, hex, pattern, RawClient } from '../servers/client.ts';
import { Engine } from '../servers/engine.ts';
import { eventually } from '../servers/eventually.ts';
import { underLoad } from '../servers/load.ts';
import { Site, type Texts } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

function configuration(site: Site, a: Engine, b: Engine): Texts {
  const hosts = [`${a.address},route=a`, `${b.address},route=b`];
  const { dir } = site;
  return {
    nginx: `
      usher_external_app old protocol=ajp12 ${hosts.map((host) => `host=${host}`).join(' ')}
                         secret_file=${dir}/secret mount=/old context=/app recover_time=1;
      usher_external_app wrong protocol=ajp12 host=${a.address} secret_file=${dir}/wrong;
      usher_app started protocol=ajp12 command=${dir}/engine host=127.0.0.1:${site.ports[1]};
      server {
        listen 127.0.0.1:${site.port};
        client_max_body_size 0;
        include fastcgi_params;
        location /old/ { usher_pass old; }
        location /old/unbuffered/ { usher_pass old; fastcgi_request_buffering off; }
        location /app/ { usher_pass wrong; }
        location /started/ { usher_pass started; }
      }`,
    apache: `
      ExternalAppClass old -protocol ajp12 ${hosts.map((host) => `-host ${host}`).join(' ')} \\
          -secret-file ${dir}/secret -mount /old -context /app -recover-time 1
      ExternalAppClass wrong -protocol ajp12 -host ${a.address} -secret-file ${dir}/wrong
      AppClass started -protocol ajp12 -command ${dir}/engine -host 127.0.0.1:${site.ports[1]}
      <Location /started>
        UsherPass started
      </Location>
      <Location /old>
        UsherPass old
      </Location>
      <Location /app>
        UsherPass wrong
      </Location>`,
  };
}

export async function ajp12(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const secret = site.file('secret', 'all of it\nevery line\n', 0o600);
  site.file('wrong', 'all of it\n', 0o600);
  const options = `'{"protocol":"ajp12","port":'"$USHER_PORT"'}'`;
  site.file('engine', `#!/bin/sh\nexec ${process.execPath} ${apps}/engine.mjs ${options}\n`, 0o755);
  const [a, b] = await Promise.all([
    Engine.start(t, { protocol: 'ajp12', key: secret }),
    Engine.start(t, { protocol: 'ajp12', key: secret }),
  ]);
  await site.start(configuration(site, a, b));
  const inSession = (route: string) =>
    site.request('/old/x', { headers: [['Cookie', `JSESSIONID=1.${route}`]] });

  await site.check('a request arrives whole', async (t) => {
    const answer = await site.request('/old/x%20y?a=%20b&status=418&field=X-A:b', {
      method: 'POST',
      body: 'abc',
      headers: [
        ['Host', 'old.example:8080'],
        ['X-Some', 'field'],
        ['Cookie', 'c=1; JSESSIONID=1.b'],
        ['Content-Type', 'text/x-y'],
      ],
    });
    t.equal(answer.status, 418);
    t.same(answer.header('X-A'), ['b']);
    t.match(answer.fields, {
      method: 'POST',
      uri: '/app/x%20y',
      query: 'a=%20b&status=418&field=X-A:b',
      protocol: 'HTTP/1.1',
      remoteAddr: '127.0.0.1',
      route: 'b',
      bodyBytes: '3',
      bodyCrc: hex(checksum('abc')),
      'header.content-length': '3',
      'header.host': 'old.example:8080',
      'header.x-some': 'field',
      'header.content-type': 'text/x-y',
      'attribute.JK_LB_ACTIVATION': 'ACT',
    });
    t.ok(Number(answer.fields['attribute.REMOTE_PORT']) > 1024);
    t.match(answer.fields.serverSoftware, server.kind === 'nginx' ? /nginx/ : /Apache/);
    const ours = answer.headers.filter(([name]) => /^x-usher/i.test(name));
    t.same(ours, [], 'what the gateway tells the server does not reach the client');
    t.ok(
      [...(await a.of('signal')), ...(await b.of('signal'))].every((one) => one.isAuthenticated),
    );
  });

  await site.check('methods, redirects and errors', async (t) => {
    const head = await site.request('/old/x', { method: 'HEAD' });
    t.equal(head.status, 200);
    t.equal(head.body.length, 0);
    t.equal((await site.request('/old/x', { method: 'PATCH' })).fields.method, 'PATCH');
    const moved = await site.request('/old/x?field=Location:/app/next');
    t.equal(moved.status, 302);
    t.match(moved.header('Location')[0], /\/old\/next$/);
    t.equal((await site.request('/old/x?status=500&error=no+such+class')).status, 500);
    t.match(await site.errorLine(/no such class/), /backend 127\.0\.0\.1/);
  });

  await site.check('large bodies go through, both ways', async (t) => {
    const body = pattern(3_000_000);
    const sent = await site.request('/old/x', { method: 'POST', body });
    t.match(sent.fields, { bodyBytes: '3000000', bodyCrc: hex(checksum(body)) });
    const got = await site.request('/old/x?bytes=3000000');
    t.equal(checksum(got.body), checksum(body));
    const unread = await site.request('/old/x?unread=1&bytes=10', { method: 'POST', body: 'abc' });
    t.equal(unread.body.length, 10);
  });

  await site.check('uploads of unknown length', async (t) => {
    const path = '/old/unbuffered/x';
    for (const bytes of [1, 1_000_000]) {
      const body = pattern(bytes);
      const { fields } = await site.request(path, { method: 'POST', body, isChunked: true });
      t.match(fields, { bodyBytes: String(bytes), bodyCrc: hex(checksum(body)) });
    }
    const body = pattern(1_100_000);
    const long = await site.request(path, { method: 'POST', body, isChunked: true });
    if (server.kind === 'nginx') {
      t.equal(long.status, 411);
      await site.errorLine(/without Content-Length/);
    } else {
      t.match(long.fields, { bodyBytes: '1100000' }, 'httpd has it whole before it passes it on');
    }
  });

  await site.check('sessions stay at their engine', async (t) => {
    for (const [route, engine] of [
      ['a', a],
      ['b', b],
    ] as const) {
      const before = (await engine.of('request')).length;
      for (let i = 0; i < 4; i++) t.equal((await inSession(route)).fields.route, route);
      t.equal((await engine.of('request')).length, before + 4);
    }
  });

  await site.check('a client that leaves', async (t) => {
    const client = await RawClient.get(site.port, '/old/left?parts=100000&size=1000&ms=20');
    const engine = await eventually('the request at an engine', async () => {
      if ((await a.of('request', '/app/left')).length > 0) return a;
      return (await b.of('request', '/app/left')).length > 0 && b;
    });
    const [request] = await engine.of('request', '/app/left');
    client.leave();
    const end = await eventually('the end of its connection', async () =>
      (await engine.of('closed')).find(({ connection }) => connection === request?.connection),
    );
    t.ok(end);
  });

  await site.check('another secret is told as such', async (t) => {
    const before = (await a.of('request')).length;
    t.equal((await site.request('/app/x')).status, 503);
    const line = await site.errorLine(/-secret-file/);
    t.match(line, a.address);
    t.notMatch(line, 'all of it');
    t.equal((await a.of('request')).length, before);
    await eventually('the engine to tell it', async () =>
      (await a.of('refused')).some(({ message }) =>
        /wrong answer to the challenge/.test(message ?? ''),
      ),
    );
  });

  await site.check('an engine that the class starts', async (t) => {
    const engines = async () => (await site.classStatus('started'))?.backends ?? [];
    await eventually('it is up', async () => (await engines())[0]?.state === 'up');
    const { fields } = await site.request('/started/x');
    t.match(fields, { method: 'GET', uri: '/started/x' });
    t.equal((await usherCommand(site.runtimeDir, 'restart', 'started')).status, 0);
    t.match((await site.request('/started/y')).fields, { uri: '/started/y' });
  });

  await site.check('engines go and come', async (t) => {
    const { lost, answered } = await underLoad(site, '/old/x', async () => {
      const usher = (word: string) =>
        usherCommand(site.runtimeDir, 'backend', 'old', a.address, word);
      t.equal((await usher('stopped')).status, 0);
      await eventually('it has nothing to do', async () => {
        const before = (await a.of('request')).length;
        for (let i = 0; i < 10; i++) await site.request('/old/x');
        return (
          (await a.of('request')).length === before &&
          (await a.of('closed')).length === (await a.of('connection')).length
        );
      });
      await a.stop();
      t.equal((await usher('active')).status, 0);
      for (let i = 0; i < 5; i++) await site.request('/old/x');
    });
    t.same(lost, [], 'nothing is lost');
    t.ok(answered > 0);
    t.equal((await inSession('a')).fields.route, 'b', 'its sessions begin anew');
    await b.stop();
    t.equal((await site.request('/old/x')).status, 503);
    t.match(await site.errorLine(/refused/), b.address);
    await Promise.all([a.start(), b.start()]);
    for (const route of ['a', 'b']) {
      await eventually(`sessions at ${route}`, async () => {
        return (await inSession(route)).fields.route === route;
      });
    }
    t.match(await site.classStatus('old'), { protocol: 'ajp12', state: 'ready' });
  });

  await site.check('a secret file that has changed counts after a restart', async (t) => {
    writeFileSync(`${site.dir}/wrong`, 'all of it\nevery line\n');
    await usherCommand(site.runtimeDir, 'restart', 'wrong');
    await eventually('it is served', async () => (await site.request('/app/x')).status === 200);
    t.pass();
  });

  await site.end();
}
