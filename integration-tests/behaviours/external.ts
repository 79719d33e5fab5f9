// SPDX-License-Identifier: Apache-2.0
// Programs that somebody else runs: Usher only shares out the requests.

import { copyFileSync } from 'node:fs';
import type { Test } from 'tap';
import { apps } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { accepts, isRoot, Site } from '../servers/site.ts';
import { startInBackground } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

export async function external(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const [, first = 0, second = 0, nobodyThere = 0] = site.ports;
  const page = `${site.docs}/page.php`;
  copyFileSync(`${apps}/page.php`, page);
  const socket = `${site.dir}/php.sock`;
  for (const address of [`127.0.0.1:${first}`, `127.0.0.1:${second}`, socket]) {
    const php = startInBackground(['php-cgi', '-b', address]);
    t.teardown(() => php.kill('SIGKILL'));
  }

  await site.start({
    nginx: `
      usher_external_app pair host=127.0.0.1:${first} host=127.0.0.1:${second};
      usher_external_app half host=127.0.0.1:${nobodyThere} host=127.0.0.1:${first};
      usher_external_app local socket=${socket};
      usher_external_app nobody host=127.0.0.1:${nobodyThere} app_conn_timeout=2;
      fastcgi_param SCRIPT_FILENAME ${page};
      fastcgi_param REQUEST_METHOD GET;
      fastcgi_param QUERY_STRING $query_string;
      server {
        listen 127.0.0.1:${site.port};
        location /pair { usher_pass pair; }
        location /half { usher_pass half; }
        location /local { usher_pass local; }
        location /nobody { usher_pass nobody; }
      }`,
    apache: `
      ExternalAppClass pair -host 127.0.0.1:${first} -host 127.0.0.1:${second}
      ExternalAppClass half -host 127.0.0.1:${nobodyThere} -host 127.0.0.1:${first}
      ExternalAppClass local -socket ${socket}
      ExternalAppClass nobody -host 127.0.0.1:${nobodyThere} -appConnTimeout 2
      ${['pair', 'half', 'local', 'nobody']
        .map(
          (name) => `
      AliasMatch ^/${name} ${page}
      <Location /${name}>
        UsherPass ${name}
      </Location>`,
        )
        .join('\n')}`,
  });
  if (isRoot) {
    await eventually('the socket is there', () => {
      site.open(socket);
      return true;
    });
  }
  await eventually(
    'php-cgi listens',
    async () => (await accepts(first)) && (await accepts(second)),
  );

  await site.check('both addresses of a class get requests', async (t) => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => site.request('/pair?as=text&sleep=50')),
    );
    t.same([...new Set(answers.map(({ status }) => status))], [200]);
    t.equal(new Set(answers.map(({ fields }) => fields.pid)).size, 2);
    await site.settled();
  });

  await site.check('an address that does not answer is passed over', async (t) => {
    for (let i = 0; i < 5; i++) t.equal((await site.request('/half?as=text')).status, 200);
  });

  await site.check('a UNIX socket', async (t) => {
    t.match((await site.request('/local?as=text')).fields.language, /^php/);
  });

  await site.check('when nobody is there the answer says so, and the log', async (t) => {
    const { status } = await site.request('/nobody?as=text');
    t.equal(status, 503);
    t.ok(await site.errorLine(new RegExp(`127.0.0.1:${nobodyThere}: connection refused`)));
    await site.settled();
  });

  await site.end();
}
