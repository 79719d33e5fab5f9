// SPDX-License-Identifier: Apache-2.0
// A program of usher/runtime as a class of every protocol: the same file.

import type { Test } from 'tap';
import { checksum, pattern } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { runtimeProgram } from '../servers/runtime-program.ts';
import { Site } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

/** Location, and what the program says that it is asked by. */
const protocols = { fcgi: 'fastcgi', pool: 'fastcgi', cgi: 'cgi', ajp: 'ajp13', jserv: 'ajp12' };

/** What any client finds below a path. */
export async function served(
  site: Site,
  t: Test,
  path: string,
  protocol: string,
  { takesChunked = true, keepsErrors = true } = {},
): Promise<void> {
  const get = await site.request(`${path}/a%20b?x=%20y`, { headers: [['X-Some', 'field']] });
  t.equal(get.status, 200, `${path}: ${get.text.slice(0, 200)}`);
  t.match(get.fields, {
    protocol,
    method: 'GET',
    url: `${path}/a%20b?x=%20y`,
    remoteAddress: '127.0.0.1',
    bytes: '0',
    some: 'field',
  });
  t.same(get.header('Set-Cookie'), ['a=1', 'b=2']);
  const body = pattern(200_000);
  const crc = checksum(body).toString(16);
  const sent = { method: 'POST', body };
  t.match((await site.request(path, sent)).fields, { bytes: '200000', crc }, 'a body');
  if (takesChunked) {
    const chunked = await site.request(path, { ...sent, isChunked: true });
    t.match(chunked.fields, { bytes: '200000', crc }, 'a body in chunks');
  }
  const large = await site.request(`${path}/large?bytes=1000000`);
  t.equal(large.body.length, 1_000_000);
  const nothing = await site.request(`${path}/nothing`);
  t.same([nothing.status, nothing.header('X-Why')], [404, keepsErrors ? ['nothing'] : []]);
  const head = await site.request(path, { method: 'HEAD' });
  t.same([head.status, head.body.length], [200, 0]);
  const many = await Promise.all(Array.from({ length: 20 }, () => site.request(path)));
  t.same(
    many.filter(({ status }) => status !== 200),
    [],
  );
}

export async function runtime(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const program = await runtimeProgram(site);
  const pool = '{"model":"process-pool","processes":2}';
  const pooled = site.file(
    'bin/pooled',
    `#!/bin/sh\nRUNTIME_OPTIONS='${pool}' exec ${program}\n`,
    0o755,
  );
  const [, ajp, jserv] = site.ports;
  await site.start({
    nginx: `
      usher_app fcgi command=${program} processes=1;
      usher_app pool command=${pooled} processes=1;
      usher_app cgi command=${program} protocol=cgi;
      usher_app ajp command=${program} protocol=ajp host=127.0.0.1:${ajp},route=r1;
      usher_app jserv command=${program} protocol=ajp12 host=127.0.0.1:${jserv};
      server {
        listen 127.0.0.1:${site.port};
        client_max_body_size 0;
        include fastcgi_params;
        ${Object.keys(protocols)
          .map((name) => `location /${name} { usher_pass ${name}; }`)
          .join('\n')}
      }`,
    apache: `
      AppClass fcgi -command ${program} -processes 1
      AppClass pool -command ${pooled} -processes 1
      AppClass cgi -command ${program} -protocol cgi
      AppClass ajp -command ${program} -protocol ajp -host 127.0.0.1:${ajp},route=r1
      AppClass jserv -command ${program} -protocol ajp12 -host 127.0.0.1:${jserv}
      ${Object.keys(protocols)
        .map((name) => `<Location /${name}>\n  UsherPass ${name}\n</Location>`)
        .join('\n')}`,
  });
  for (const name of ['ajp', 'jserv']) {
    await eventually(`the engine of ${name}`, async () => {
      return (await site.classStatus(name))?.backends[0]?.state === 'up';
    });
  }
  for (const [name, protocol] of Object.entries(protocols)) {
    await site.check(`${name}: ${protocol}`, async (t) => {
      await served(site, t, `/${name}`, protocol);
      await site.settled();
    });
  }
  await site.check('the pool of a program is behind one instance', async (t) => {
    const pid = (await site.classStatus('pool'))?.instances[0]?.pid;
    const answers = await Promise.all(Array.from({ length: 20 }, () => site.request('/pool')));
    const pids = new Set(answers.map(({ fields }) => fields.pid));
    t.notOk(pids.has(`${pid}`));
    t.ok(pids.size >= 1 && pids.size <= 2);
  });
  await site.end();
}
