// SPDX-License-Identifier: Apache-2.0
// The same engines behind mod_jk 1.2.48, whose balancer (worker type lb) crashes with members of ajp12: it
// takes all for workers of AJP 1.3. What it can do is a worker for each engine, chosen by httpd.

import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { Site } from '../servers/site.ts';
import { stockApache } from '../servers/stock.ts';
import { UsherJvm } from '../servers/usher-jvm.ts';
import { begin, routeOf, visit } from './balancing.ts';

export async function byModJk(t: Test): Promise<void> {
  const site = await Site.create(t, stockApache);
  const port = site.ports[1] ?? 0;
  // mod_jk connects to 127.0.0.N from there, and answers no challenge.
  const properties = 'security.allowedAddresses=127.0.0.0/8';
  const hosts = { a: '127.0.0.2', b: '127.0.0.3' };
  const [a] = await Promise.all(
    Object.entries(hosts).map(([route, host]) => {
      return UsherJvm.start(t, site, { route, host, port, properties });
    }),
  );
  const workers = Object.entries(hosts).map(
    ([route, host]) => `
      JkWorkerProperty worker.${route}.type=ajp12
      JkWorkerProperty worker.${route}.host=${host}
      JkWorkerProperty worker.${route}.port=${port}
      SetEnvIf Cookie JSESSIONID=[^;]*\\.${route}(;|$) JK_WORKER_NAME=${route}
      SetEnvIf Request_URI ;jsessionid=[^;/]*\\.${route}([;/]|$) JK_WORKER_NAME=${route}`,
  );
  await site.start({
    apache: `
      JkShmFile ${site.dir}/jk.shm
      JkLogFile ${site.dir}/jk.log
      JkWorkerProperty worker.list=a,b
      SetEnvIfExpr "%{REMOTE_PORT} =~ /[0-4]$/" JK_WORKER_NAME=a
      SetEnvIfExpr "%{REMOTE_PORT} =~ /[5-9]$/" JK_WORKER_NAME=b
      ${workers.join('\n')}
      <Location /servlets>
        SetHandler jakarta-servlet
      </Location>`,
  });

  await site.check('sessions are at both engines, and stay', async (t) => {
    const ids: string[] = [];
    await eventually('sessions at both', async () => {
      ids.push(...(await begin(site, 4)));
      return new Set(ids.map(routeOf)).size === 2;
    });
    for (const id of ids) {
      t.match(await visit(site, id), { session: id, at: routeOf(id), visits: '2' });
      const inPath = await site.request(`/servlets/session;jsessionid=${id}`);
      t.match(inPath.fields, { session: id, at: routeOf(id), visits: '3', pathInfo: '' });
    }
  });

  await site.check('an engine that is killed harms only its own', async (t) => {
    const ids = await eventually('sessions at both', async () => {
      const ids = await begin(site, 4);
      return new Set(ids.map(routeOf)).size === 2 && ids;
    });
    await a?.kill();
    for (const id of ids) {
      const { status } = await site.request('/servlets/session/x', {
        headers: [['Cookie', `JSESSIONID=${id}`]],
      });
      t.equal(status, routeOf(id) === 'a' ? 500 : 200);
    }
    await a?.start();
    await Promise.all(ids.map((id) => visit(site, id)));
  });
  await site.end();
}
