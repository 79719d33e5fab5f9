// SPDX-License-Identifier: Apache-2.0
// Programs as people run them: PHP, Perl, Python, gitweb and MapServer.

import { copyFileSync } from 'node:fs';
import type { Test } from 'tap';
import { apps } from '../servers/checkout.ts';
import { checksum, hex, pattern } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { isRoot, Site } from '../servers/site.ts';
import { run } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

/** A repository with one commit, readable for git under the user of the instances. */
async function makeRepository(site: Site): Promise<void> {
  site.file('git/first/README', 'a first file\n');
  const git = ['git', '-C', `${site.dir}/git/first`, '-c', 'user.name=A', '-c', 'user.email=a@b'];
  for (const words of [
    ['init', '-q'],
    ['add', '.'],
    ['commit', '-qm', 'a first commit'],
  ]) {
    const { status, output } = await run([...git, ...words]);
    if (status !== 0) throw new Error(`git ${words[0]}: ${output}`);
  }
  if (isRoot) await run(['chown', '-R', `${site.instanceUid}`, `${site.dir}/git`]);
}

export async function programs(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  for (const [name, app] of [
    ['docs/echo.pl', 'echo.pl'],
    ['docs/form.pl', 'form.pl'],
    ['docs/hello.py', 'hello.py'],
  ] as const) {
    site.program(name, app);
  }
  copyFileSync(`${apps}/page.php`, `${site.docs}/page.php`);
  copyFileSync(`${apps}/places.map`, `${site.dir}/places.map`);
  copyFileSync(`${apps}/mapserver.conf`, `${site.dir}/mapserver.conf`);
  await makeRepository(site);
  const gitwebConf = site.file('gitweb.conf', `our $projectroot = "${site.dir}/git";\n`);
  const mapserv = '/usr/lib/cgi-bin/mapserv';
  const gitweb = '/usr/share/gitweb/gitweb.cgi';

  await site.start({
    nginx: `
      usher_app php command=php-cgi on_demand=2;
      usher_app gitweb "command=${gitweb} --fastcgi" on_demand=1;
      usher_app ${mapserv} on_demand=1 stop_timeout=2
                initial_env=MAPSERVER_CONFIG_FILE=${site.dir}/mapserver.conf;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location ~ \\.php(/|$) {
          fastcgi_split_path_info ^(.+?\\.php)(/.*)?$;
          try_files $fastcgi_script_name =404;
          usher_pass php;
          include fastcgi_params;
          fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        }
        location ~ \\.(pl|py)$ { usher_pass $document_root$uri; include fastcgi_params; }
        location /git {
          usher_pass gitweb;
          include fastcgi_params;
          fastcgi_param SCRIPT_NAME /git;
          fastcgi_param GITWEB_CONFIG ${gitwebConf};
        }
        location /map { usher_pass ${mapserv}; include fastcgi_params; }
      }`,
    apache: `
      AppClass php -command php-cgi -on-demand 2
      AppClass gitweb -command "${gitweb} --fastcgi" -on-demand 1
      AppClass ${mapserv} -on-demand 1 -stop-timeout 2 \\
          -initial-env MAPSERVER_CONFIG_FILE=${site.dir}/mapserver.conf
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      <FilesMatch "\\.php$">
        UsherPass php
      </FilesMatch>
      AddHandler fastcgi-script .pl .py
      <Location /git>
        UsherPass gitweb
        SetEnv GITWEB_CONFIG ${gitwebConf}
      </Location>
      <Location /map>
        UsherPass ${mapserv}
      </Location>`,
  });

  await site.check('PHP runs a page', async (t) => {
    const { status, fields } = await site.request('/page.php?as=text');
    t.equal(status, 200);
    t.match(fields, {
      SCRIPT_FILENAME: `${site.docs}/page.php`,
      SCRIPT_NAME: '/page.php',
      QUERY_STRING: 'as=text',
      PHP_SELF: '/page.php',
    });
    t.match(fields.language, /^php 8/);
    t.equal((await site.request('/missing.php')).status, 404);
  });

  await site.check('PHP gets a body of 70 kB, in chunks and not', async (t) => {
    const body = pattern(70_000);
    for (const isChunked of [false, true]) {
      const headers: [string, string][] = [['Content-Type', 'application/octet-stream']];
      const path = '/page.php?as=text';
      const { fields } = await site.request(path, { method: 'POST', body, isChunked, headers });
      t.match(fields, { body_bytes: '70000', body_crc32: hex(checksum(body)) });
    }
  });

  await site.check('PHP runs in no more processes than it may have', async (t) => {
    const answers = await Promise.all(
      Array.from({ length: 40 }, () => site.request('/page.php?as=text')),
    );
    const pids = new Set(answers.map(({ fields }) => fields.pid));
    t.ok(pids.size <= 2, [...pids].join(' '));
    t.same([...new Set(answers.map(({ status }) => status))], [200]);
  });

  await site.check('Perl with FCGI.pm', async (t) => {
    const { fields } = await site.request('/echo.pl?x=1', {
      method: 'POST',
      body: 'x'.repeat(5000),
    });
    t.match(fields, { REQUEST_METHOD: 'POST', QUERY_STRING: 'x=1', body_bytes: '5000' });
  });

  await site.check('Perl with CGI::Fast', async (t) => {
    const headers: [string, string][] = [['Content-Type', 'application/x-www-form-urlencoded']];
    const greet = async () =>
      (await site.request('/form.pl', { method: 'POST', body: 'name=Ada', headers })).text;
    t.match(await greet(), 'Hello, Ada: guest 1 of process');
    // It may have been started more than once: each has its own count.
    await eventually('one greets its second guest', async () =>
      (await greet()).includes('Hello, Ada: guest 2 of process'),
    );
  });

  await site.check('Python', async (t) => {
    const body = pattern(70_000);
    const { fields } = await site.request('/hello.py?as=text', { method: 'POST', body });
    t.match(fields, { body_bytes: '70000', body_crc32: hex(checksum(body)) });
    t.match(fields.language, /^python 3/);
  });

  await site.check('gitweb', async (t) => {
    t.match((await site.request('/git')).text, /first\/\.git/);
    t.match((await site.request('/git?p=first/.git;a=shortlog')).text, /a first commit/);
  });

  await site.check('MapServer', async (t) => {
    const answer = await site.request(`/map?map=${site.dir}/places.map&mode=map`);
    t.same(answer.header('content-type'), ['image/png']);
    t.same(answer.body.subarray(0, 8), Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'));
  });

  await site.check('all of them are known to the manager', async (t) => {
    const { classes } = await site.status();
    const running = classes.filter(({ instances }) => instances.length > 0);
    t.ok(running.length >= 6, running.map(({ name }) => name).join(' '));
    await site.settled();
  });

  await site.end();
}
