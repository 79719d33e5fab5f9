// SPDX-License-Identifier: Apache-2.0
// Two servers with one runtime directory: one manager, one set of instances.

import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { servers } from '../servers/index.ts';
import { Site, type Texts } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

const texts = (site: Site, program: string): Texts => ({
  nginx: `
      usher_app ${program} on_demand=1;
      server {
        listen 127.0.0.1:${site.port};
        location / { usher_pass ${program}; include fastcgi_params; }
      }`,
  apache: `
      AppClass ${program} -on-demand 1
      <Location />
        UsherPass ${program}
      </Location>`,
});

/** nginx and Apache where both are here, else the one server twice. */
function pair(): [WebServer, WebServer] {
  const [first = undefined, second = first] = servers;
  if (first === undefined || second === undefined) throw new Error('no server is chosen');
  return [first, second];
}

export async function sharing(t: Test): Promise<void> {
  const [firstServer, secondServer] = pair();
  const first = await Site.create(t, firstServer);
  const second = await Site.create(t, secondServer, { runtimeDir: first.runtimeDir });
  const program = first.program('bin/echo');
  await Promise.all([first.start(texts(first, program)), second.start(texts(second, program))]);

  await first.check('both are known to the one manager', async (t) => {
    const { servers } = await eventually('both are registered', async () => {
      const status = await first.status();
      return status.servers.length === 2 && status;
    });
    t.same(
      new Set(servers.map(({ kind }) => kind)),
      new Set([firstServer.kind, secondServer.kind]),
    );
  });

  await first.check('one instance serves both', async (t) => {
    const sites = [first, second, first, second];
    const answers = await Promise.all(sites.map((site) => site.request('/?pid')));
    t.equal(new Set(answers.map(({ text }) => text)).size, 1);
    t.equal(first.starts(program).length, 1);
    const { classes } = await first.status();
    t.same(
      classes.map(({ name }) => name),
      [program],
      'equal options make one class',
    );
  });

  await second.check('when one server stops, the other is served on', async (t) => {
    await first.end('TERM', 'others');
    await eventually('the first is forgotten', async () => {
      return (await second.status()).servers.length === 1;
    });
    t.equal((await second.request('/?text=still here')).text, 'still here');
    t.equal(second.starts(program).length, 1);
  });

  await second.end();
}
