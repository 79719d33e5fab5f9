// SPDX-License-Identifier: Apache-2.0
// Whom instances run as: under a server that root started, and under one that anybody started.

import { statSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { signal, userOf } from '../servers/processes.ts';
import { isRoot, Site, type SiteOptions } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

const nobody = 65534;

async function siteWith(
  t: Test,
  server: WebServer,
  options: SiteOptions,
  directives: (path: string) => { nginx: string; apache: string },
): Promise<Site> {
  const site = await Site.create(t, server, options);
  const echo = site.program('bin/echo');
  const other = site.program('bin/other');
  site.program('docs/dynamic.fcgi');
  const { nginx, apache } = directives(other);
  await site.start({
    nginx: `
      usher_app ${echo} processes=1;
      ${nginx}
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location /echo { usher_pass ${echo}; include fastcgi_params; }
        location /other { usher_pass ${other}; include fastcgi_params; }
        location / { usher_pass $document_root$uri; include fastcgi_params; }
      }`,
    apache: `
      AppClass ${echo} -processes 1
      ${apache}
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      <Location /echo>
        UsherPass ${echo}
      </Location>
      <Location /other>
        UsherPass ${other}
      </Location>`,
  });
  return site;
}

async function uidBehind(site: Site, path: string): Promise<number> {
  return userOf(Number((await site.request(`${path}?pid`)).text));
}

export async function users(t: Test, server: WebServer): Promise<void> {
  await t.test('a server that root started', { skip: !isRoot && 'needs root' }, async (t) => {
    const site = await siteWith(t, server, {}, (other) => ({
      nginx: `usher_app ${other} user=nobody group=nogroup;`,
      apache: `AppClass ${other} -user nobody -group nogroup`,
    }));
    await site.check('runs instances as its workers’ user, or as configured', async (t) => {
      t.equal(await uidBehind(site, '/echo'), site.instanceUid);
      t.equal(await uidBehind(site, '/dynamic.fcgi'), site.instanceUid);
      t.equal(await uidBehind(site, '/other'), nobody);
      t.not(site.instanceUid, 0);
    });
    await site.end();
  });

  const options = isRoot ? { startAs: { uid: nobody, gid: nobody } } : {};
  await t.test('a server that an ordinary user started', async (t) => {
    const site = await siteWith(t, server, options, (other) => ({
      nginx: `usher_app ${other} on_demand=2;`,
      apache: `AppClass ${other} -on-demand 2`,
    }));
    await site.check('runs everything as that user', async (t) => {
      for (const path of ['/echo', '/other', '/dynamic.fcgi']) {
        t.equal(await uidBehind(site, path), site.instanceUid, path);
      }
      t.equal(userOf((await site.status()).manager.pid), site.instanceUid);
      t.equal(statSync(site.runtimeDir).mode & 0o777, 0o700);
    });
    await site.check('has another manager when one is killed', async (t) => {
      const { pid } = (await site.status()).manager;
      signal(pid, 'SIGKILL');
      await eventually('another manager answers', async () => {
        return (await site.status()).manager.pid !== pid;
      });
      t.equal((await site.request('/dynamic.fcgi?text=served')).text, 'served');
      await site.settled();
    });
    await site.end();
  });
}
