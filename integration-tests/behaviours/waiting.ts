// SPDX-License-Identifier: Apache-2.0
// Requests that wait for a place, that are given up, and clients that keep others from nothing.

import type { Test } from 'tap';
import { RawClient } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { Load } from '../servers/load.ts';
import { descriptorCount, isRunning } from '../servers/processes.ts';
import { Site, type Texts } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';
import { managerStatus } from '../torture/manager.ts';

/** A class of its own under each name; all of them have one place. */
const texts = (site: Site, programs: Record<string, string>): Texts => ({
  nginx: `
      usher_app ${programs.single} processes=1 queue_limit=2000;
      usher_app ${programs.impatient} processes=1;
      usher_app ${programs.hasty} processes=1 request_timeout=3 stop_timeout=1;
      server {
        listen 127.0.0.1:${site.port} backlog=1024;
        include fastcgi_params;
        fastcgi_next_upstream error timeout http_503 non_idempotent;
        location /single { usher_pass ${programs.single}; fastcgi_read_timeout 600s; }
        location /impatient { usher_pass ${programs.impatient}; fastcgi_read_timeout 3s; }
        location /hasty { usher_pass ${programs.hasty}; }
      }`,
  apache: `
      AppClass ${programs.single} -processes 1 -queue-limit 2000 -idle-timeout 600
      AppClass ${programs.impatient} -processes 1 -idle-timeout 3
      AppClass ${programs.hasty} -processes 1 -request-timeout 3 -stop-timeout 1
      <Location /single>
        UsherPass ${programs.single}
      </Location>
      <Location /impatient>
        UsherPass ${programs.impatient}
      </Location>
      <Location /hasty>
        UsherPass ${programs.hasty}
      </Location>`,
});

export async function waiting(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const programs = Object.fromEntries(
    ['single', 'impatient', 'hasty'].map((name) => [name, site.program(`bin/${name}`)]),
  );
  await site.start(texts(site, programs));
  const { single = '', hasty = '' } = programs;
  await readTimeout(site);
  await requestTimeout(site, hasty);
  await aborts(site, single);
  await crowd(site);
  await stalledClients(site);
  await site.settled();
}

async function readTimeout(site: Site): Promise<void> {
  await site.check('a program that was given up keeps its place until it is done', async (t) => {
    t.equal((await site.request('/impatient?requests')).text, '1\n');
    t.equal((await site.request('/impatient?sleep=5000&text=late')).status, 504);
    const next = await site.request('/impatient?requests');
    t.equal(next.status, 200, 'the next request did not wait behind it');
    t.equal(next.text, '3\n');
    await site.settled();
  });
}

async function requestTimeout(site: Site, hasty: string): Promise<void> {
  const pidOf = async () => Number((await site.request('/hasty?pid')).text);

  await site.check('a request beyond its time is 504 and is not made again', async (t) => {
    const pid = await pidOf();
    t.equal((await site.request('/hasty?sleep=60000')).status, 504);
    await eventually('the instance ends', () => !isRunning(pid));
    t.not(await pidOf(), pid, 'another one serves');
    t.equal(site.starts(hasty).length, 2, 'which was not asked the same');
    await site.settled();
  });

  await site.check('the time of a request whose client has left runs on', async (t) => {
    const pid = await pidOf();
    await site.settled(); // so that what is in flight then is the one that leaves
    const client = await RawClient.get(site.port, '/hasty?sleep=60000');
    await eventually('it is served', async () => (await site.classStatus(hasty))?.inFlight === 1);
    client.leave();
    const next = pidOf();
    await eventually('the instance ends', () => !isRunning(pid));
    t.not(await next, pid, 'who waited meanwhile is served by another one');
    await site.settled();
  });
}

/** A thousand; Apache has as many threads as it has, so in groups. */
async function aborts(site: Site, single: string): Promise<void> {
  await site.check('a thousand clients that leave while they wait are never served', async (t) => {
    const before = Number((await site.request('/single?requests')).text);
    await site.settled();
    const gate = `${site.dir}/gate`;
    const holder = await RawClient.get(site.port, `/single?text=begun&wait=${gate}`);
    const inStatus = (field: 'inFlight' | 'waiting', count: number) =>
      eventually(`${count} ${field}`, async () => {
        // Asked some hundred times: without the weight of a command.
        const { classes } = await managerStatus(site.runtimeDir);
        const found = classes.find(({ name }) => name === single)?.[field];
        if (found === count) return true;
        throw new Error(`${found} ${field}`);
      });
    await inStatus('inFlight', 1);
    /** Of the worker that has most: Apache has more workers or less from one second to the next. */
    const descriptors = () => Math.max(...site.workers.map((pid) => descriptorCount(pid) || 0));
    const size = site.server.kind === 'nginx' ? 250 : 10;
    let first: number | undefined;
    for (let left = 0; left < 1000; left += size) {
      const group = await Promise.all(
        Array.from({ length: size }, () => RawClient.get(site.port, '/single?text=never')),
      );
      await inStatus('waiting', size);
      for (const client of group) client.leave();
      await inStatus('waiting', 0);
      first ??= descriptors();
    }
    await eventually('no more descriptors than after the first of them', () => {
      return descriptors() <= (first ?? 0) + 6;
    });
    site.file('gate', '');
    t.match(await holder.all(), /begun/);
    t.equal(Number((await site.request('/single?requests')).text), before + 2, 'none was run');
    await site.settled();
  });
}

async function crowd(site: Site): Promise<void> {
  await site.check('200 connections at one instance of 5 ms are all answered', async (t) => {
    const statuses = new Map<number, number>();
    const one = async () => {
      for (let i = 0; i < 2; i++) {
        const { status } = await site.request('/single?sleep=5&text=served');
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: 200 }, one));
    t.same([...statuses], [[200, 400]]);
    await site.settled();
  });
}

async function stalledClients(site: Site): Promise<void> {
  await site.check('stalled uploads and readers keep no place', async (t) => {
    const stalled: RawClient[] = [];
    for (let i = 0; i < 4; i++) {
      const upload = await RawClient.connect(site.port);
      upload.send(
        'POST /single?read&text=x HTTP/1.1\r\nHost: a\r\nContent-Length: 9000\r\n\r\nhalf',
      );
      const reader = await RawClient.get(site.port, '/single?bytes=3000000');
      reader.socket.pause();
      stalled.push(upload, reader);
    }
    for (let i = 0; i < 20; i++) {
      t.equal((await site.request('/single?text=served')).text, 'served');
    }
    for (const client of stalled) client.leave();
    await site.settled();
  });
}

/** Two servers at one instance: nginx and Apache where both are here, else the one server twice. */
export async function sharedPlace(t: Test, both: [WebServer, WebServer]): Promise<void> {
  const first = await Site.create(t, both[0]);
  const second = await Site.create(t, both[1], { runtimeDir: first.runtimeDir });
  const single = first.program('bin/single');
  const one = (site: Site): Texts => ({
    nginx: `
      usher_app ${single} processes=1;
      server {
        listen 127.0.0.1:${site.port};
        location / { usher_pass ${single}; include fastcgi_params; }
      }`,
    apache: `
      AppClass ${single} -processes 1
      <Location />
        UsherPass ${single}
      </Location>`,
  });
  await first.start(one(first));
  await second.start(one(second));

  await first.check('both servers get their share of one place', async (t) => {
    const loads = [first, second].map(
      (site) => new Load(site.port, () => ({ path: '/?sleep=1&text=served' })),
    );
    for (const load of loads) load.clients = 8;
    await eventually('hundreds are served', () => {
      return loads.reduce((sum, { answered }) => sum + answered, 0) >= 800;
    });
    const shares = loads.map(({ answered }) => answered);
    await Promise.all(loads.map((load) => load.stop()));
    t.same(
      loads.flatMap(({ losses }) => losses),
      [],
    );
    t.ok(Math.min(...shares) > 200, `a quarter at least: ${shares}`);
    t.equal(first.starts(single).length, 1, 'by one instance');
    await first.settled();
  });
  await second.end('TERM', 'others');
  await first.end();
}
