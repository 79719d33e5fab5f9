// SPDX-License-Identifier: Apache-2.0
// -keep-conn: requests that share a connection to the program, and lose nothing by it.

import http from 'node:http';
import type { Test } from 'tap';
import { pattern, RawClient } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { Load, underLoad } from '../servers/load.ts';
import { descriptorCount } from '../servers/processes.ts';
import { Site, type Texts } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

const texts = (site: Site, kept: string, plain: string, echo: string, more = ''): Texts => ({
  nginx: `
      usher_app ${kept} processes=1 concurrency=8 stop_timeout=2 keep_conn ${more};
      usher_app ${plain} processes=1 concurrency=8 stop_timeout=2;
      usher_app ${echo} processes=1 request_timeout=3 stop_timeout=1;
      server {
        listen 127.0.0.1:${site.port};
        include fastcgi_params;
        fastcgi_next_upstream error timeout non_idempotent;
        location /kept { usher_pass ${kept}; }
        location /plain { usher_pass ${plain}; }
        location /stream { usher_pass ${echo}; fastcgi_buffering off; }
      }`,
  apache: `
      AppClass ${kept} -processes 1 -concurrency 8 -stop-timeout 2 -keep-conn ${more.replace(/(\S+)=/, '-$1 ')}
      AppClass ${plain} -processes 1 -concurrency 8 -stop-timeout 2
      AppClass ${echo} -processes 1 -request-timeout 3 -stop-timeout 1 -flush
      <Location /kept>
        UsherPass ${kept}
      </Location>
      <Location /plain>
        UsherPass ${plain}
      </Location>
      <Location /stream>
        UsherPass ${echo}
      </Location>`,
});

export async function keepConn(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const kept = site.program('bin/kept', 'threads');
  const plain = site.program('bin/plain', 'threads');
  const echo = site.program('bin/echo');
  await site.start(texts(site, kept, plain, echo));

  await sharing(site);
  await closing(site, kept);
  await changing(site, kept, plain, echo);
  await streaming(site);
  await site.settled();
  await site.end();
}

/** One client that keeps its connection makes that many requests; what the last one was told. */
async function inARow(site: Site, path: string, count: number): Promise<Record<string, string>> {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  let fields: Record<string, string> = {};
  try {
    for (let i = 0; i < count; i++) fields = (await site.request(path, { agent })).fields;
  } finally {
    agent.destroy();
  }
  return fields;
}

async function sharing(site: Site): Promise<void> {
  await site.check('requests share connections with -keep-conn, and only then', async (t) => {
    const kept = await inARow(site, '/kept', 40);
    t.equal(kept.requests, '40');
    t.ok(Number(kept.connections) < 40, `${kept.connections} connections`);
    t.match(await inARow(site, '/plain', 40), { requests: '40', connections: '40' });
  });

  await site.check('bodies and answers stay apart', async (t) => {
    const body = pattern(70_000);
    const load = new Load(site.port, (i) =>
      i % 2 === 0
        ? { path: `/kept?${i}`, problemOf: ({ fields }) => differs(fields.body_bytes, '0') }
        : {
            path: `/kept?${i}`,
            options: { method: 'POST', body },
            problemOf: ({ fields }) => differs(fields.body_bytes, '70000'),
          },
    );
    load.clients = 8;
    await eventually('three hundred answers', () => load.answered >= 300);
    await load.stop();
    t.same(load.losses, []);
    await site.settled();
  });
}

function differs(found: string | undefined, expected: string): string | undefined {
  return found === expected ? undefined : `${found}, not ${expected}`;
}

async function closing(site: Site, kept: string): Promise<void> {
  await site.check('a program that closes kept connections loses no request', async (t) => {
    const load = new Load(site.port, (i) => ({ path: i % 3 === 0 ? '/kept?drop' : '/kept' }));
    load.clients = 6;
    await eventually('three hundred answers', () => load.answered >= 300);
    await load.stop();
    t.same(load.losses, []);
  });

  await site.check('a connection that nobody uses is closed soon', async () => {
    await site.settled();
    const pid = (await site.classStatus(kept))?.instances[0]?.pid ?? 0;
    const before = descriptorCount(pid);
    await Promise.all(Array.from({ length: 6 }, () => site.request('/kept?sleep=50')));
    await eventually('it is closed', () => descriptorCount(pid) <= before);
  });
}

async function changing(site: Site, kept: string, plain: string, echo: string): Promise<void> {
  await site.check('a restart of the class loses nothing', async (t) => {
    const before = (await site.request('/kept')).fields.pid;
    const { answered, lost } = await underLoad(site, '/kept', async () => {
      const { status, output } = await usherCommand(site.runtimeDir, 'restart', kept);
      t.equal(status, 0, output);
    });
    t.same(lost, []);
    t.ok(answered > 0);
    t.not((await site.request('/kept')).fields.pid, before);
  });

  await site.check('neither do a reload and other options', async (t) => {
    const before = (await site.request('/kept')).fields.pid;
    const { lost } = await underLoad(site, '/kept', async () => {
      site.reload(texts(site, kept, plain, echo, 'priority=1'));
      await eventually('another instance serves', async () => {
        return (await site.request('/kept')).fields.pid !== before;
      });
    });
    t.same(lost, []);
    await site.settled();
  });
}

async function streaming(site: Site): Promise<void> {
  await site.check('-request-timeout ends an answer that goes on and on', async (t) => {
    const pid = (await site.request('/stream?pid')).text;
    const pieces = Array.from({ length: 100 }, () => 'text=more&flush&sleep=100').join('&');
    const client = await RawClient.get(site.port, `/stream?text=begun&flush&${pieces}`);
    const answer = await client.all();
    t.match(answer, /begun/);
    t.notMatch(answer, /\r\n0\r\n\r\n$/, 'the client sees that it is not complete');
    t.ok(await site.errorLine(/request.timeout/));
    t.not((await site.request('/stream?pid')).text, pid, 'the program was replaced');
  });
}
