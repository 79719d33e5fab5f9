// SPDX-License-Identifier: Apache-2.0
// usher reload with a web server: checked first, reloaded by its own master, and told what changed.

import { readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { eventually } from '../servers/eventually.ts';
import { Site, type Texts } from '../servers/site.ts';
import { usherCommand } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

export async function serverReload(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const program = site.program('bin/echo');
  const texts: Texts = {
    nginx: `
      usher_app former-app command=${program} on_demand=1;
      server {
        listen 127.0.0.1:${site.port};
        location / { usher_pass former-app; include fastcgi_params; }
      }`,
    apache: `
      AppClass former-app -command ${program} -on-demand 1
      <Location />
        UsherPass former-app
      </Location>`,
  };
  const configuration = `${site.dir}/server.conf`;
  await site.start(texts);
  t.equal((await site.request('/')).status, 200);
  const [registered] = (await site.status()).servers;

  await site.check('a change is taken over, and told', async (t) => {
    const text = readFileSync(configuration, 'utf8');
    writeFileSync(configuration, text.replaceAll('former-app', 'later-app'));
    const { status, output } = await usherCommand(site.runtimeDir, 'reload');
    t.equal(status, 0, output);
    t.match(output, `${registered?.name}: reloaded (`);
    t.match(output, /^added: later-app$/m);
    t.equal((await site.request('/')).status, 200);
  });

  await site.check('usher request takes no place from anybody, and is not counted', async (t) => {
    const before = await site.classStatus('later-app');
    const asked = Array.from({ length: 3 }, () =>
      usherCommand(site.runtimeDir, 'request', 'later-app', '/?pid'),
    );
    const answers = Array.from({ length: 60 }, () => site.request('/'));
    for (const { status } of await Promise.all(answers)) t.equal(status, 200);
    for (const { status, output } of await Promise.all(asked)) {
      t.equal(status, 0, output);
      t.match(output, /^< 200$/m);
    }
    await site.settled();
    const after = await eventually('the instance is there again for the server', async () => {
      const one = await site.classStatus('later-app');
      return one?.instances[0]?.state === 'ready' && one;
    });
    t.equal(after.totals.finished - (before?.totals.finished ?? 0), 60);
    t.equal((await site.request('/')).status, 200);
  });

  await site.check('a mistake is told, and the server goes on as it is', async (t) => {
    const good = readFileSync(configuration, 'utf8');
    writeFileSync(configuration, `${good}\nno_such_directive on;\n`);
    const { status, output } = await usherCommand(site.runtimeDir, 'reload');
    t.equal(status, 1);
    t.match(output, /failed: its configuration cannot be used:[\s\S]*no_such_directive/);
    writeFileSync(configuration, good);
    t.equal((await site.request('/')).status, 200);
  });
}
