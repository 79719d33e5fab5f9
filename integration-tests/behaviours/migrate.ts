// SPDX-License-Identifier: Apache-2.0
// `usher migrate`: configurations of other modules become ours, load, and serve what they served.

import { copyFileSync, readFileSync, statSync } from 'node:fs';
import type { Test } from 'tap';
import { apps, usher } from '../servers/checkout.ts';
import * as client from '../servers/client.ts';
import { Site } from '../servers/site.ts';
import type { Tomcat } from '../servers/tomcat.ts';
import { run } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

/** The test server's configuration listens itself under Apache, and a port stands in one Listen only. */
function ownPort({ server, ports }: Site): number {
  const [first = 0, second = 0] = ports;
  return server.kind === 'nginx' ? first : second;
}

/** What it has written, and said. */
async function migrate(site: Site, words: string[]): Promise<{ text: string; report: string }> {
  const output = `${site.dir}/migrated.conf`;
  const command = [usher, 'migrate', ...words, '--to', site.server.kind, '--output', output];
  const { status, output: report } = await run(command);
  if (status !== 0) throw new Error(`usher migrate ended with ${status}: ${report}`);
  return { text: readFileSync(output, 'utf8'), report };
}

async function serve(t: Test, site: Site, text: string): Promise<void> {
  const texts = { [site.server.kind]: text };
  const { status, output } = await site.checkConfiguration(texts);
  t.equal(status, 0, `the server takes it: ${output}`);
  await site.start(texts);
}

/** A page of PHP, as mod_fcgid's manual runs it. */
export async function fromFcgid(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const port = ownPort(site);
  copyFileSync(`${apps}/page.php`, `${site.docs}/page.php`);
  copyFileSync(`${apps}/page.php`, `${site.docs}/index.php`);
  site.file('docs/plain.txt', 'no program');
  const listen = server.kind === 'apache' ? `Listen 127.0.0.1:${port}` : '';
  const old = site.file(
    'old.conf',
    `${listen}
<VirtualHost 127.0.0.1:${port}>
    DocumentRoot ${site.docs}
    DirectoryIndex index.php
    FcgidInitialEnv PHP_FCGI_MAX_REQUESTS 1000
    FcgidMaxProcessesPerClass 2
    FcgidIOTimeout 50
    FcgidMaxRequestLen 100000
    <Directory ${site.docs}>
        AddHandler fcgid-script .php
        FcgidWrapper /usr/bin/php-cgi .php
        Options +ExecCGI
        Require all granted
    </Directory>
</VirtualHost>
`,
  );
  const { text, report } = await migrate(site, [old, '--from', 'apache']);
  t.match(report, /FcgidMaxRequestLen 100000\n {4}CHANGED .*413/);
  await serve(t, site, text);

  await site.check('scripts run, files do not', async (t) => {
    const page = await client.request(port, '/page.php/rest?as=text');
    t.equal(page.status, 200);
    t.match(page.fields, { SCRIPT_NAME: '/page.php', PATH_INFO: '/rest' });
    t.equal((await client.request(port, '/?as=text')).status, 200);
    t.equal((await client.request(port, '/plain.txt')).text, 'no program');
    t.equal((await client.request(port, '/missing.php')).status, 404);
  });
  await site.check('limits hold', async (t) => {
    const body = Buffer.alloc(100_001);
    t.equal((await client.request(port, '/page.php', { method: 'POST', body })).status, 413);
    t.match(await site.classStatus('php-cgi'), { state: 'ready' });
    await site.settled();
  });
}

/** nginx and programs of spawn-fcgi and fcgiwrap; the port that spawn-fcgi had is nobody's any more. */
export async function fromSpawnFcgi(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const port = ownPort(site);
  const [, , before = 0] = site.ports;
  copyFileSync(`${apps}/page.php`, `${site.docs}/page.php`);
  const program = site.program('bin/words', 'echo');
  const words = site.program('docs/cgi/words.cgi', 'words.cgi');
  const old = site.file(
    'old.conf',
    `upstream php { server 127.0.0.1:${before}; }
server {
    listen 127.0.0.1:${port};
    root ${site.docs};
    location ~ \\.php$ {
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
        fastcgi_param STAGE testing;
        fastcgi_pass php;
    }
    location /app/ {
        include fastcgi_params;
        fastcgi_split_path_info ^(/app)(.*)$;
        fastcgi_param PATH_INFO $fastcgi_path_info;
        fastcgi_pass unix:${site.dir}/app.sock;
    }
    location /cgi/ {
        include fastcgi_params;
        fastcgi_param SCRIPT_FILENAME ${words};
        fastcgi_pass unix:${site.dir}/fcgiwrap.sock;
    }
}
`,
  );
  const start = site.file(
    'start.sh',
    `#!/bin/sh
PHP_FCGI_CHILDREN=2 spawn-fcgi -a 127.0.0.1 -p ${before} -- /usr/bin/php-cgi
spawn-fcgi -s ${site.dir}/app.sock -F 2 -n -- ${program}
spawn-fcgi -s ${site.dir}/fcgiwrap.sock -- /usr/sbin/fcgiwrap
`,
  );
  const { text } = await migrate(site, [old, start, '--from', 'nginx']);
  t.notMatch(text, /fastcgi_pass /, 'nothing goes to the old addresses');
  await serve(t, site, text);

  await site.check('the programs run, started by Usher', async (t) => {
    const page = await client.request(port, '/page.php?as=text');
    t.equal(page.status, 200, page.text);
    t.match(page.fields, { SCRIPT_NAME: '/page.php' });
    const app = await client.request(port, '/app/some/path');
    t.equal(app.status, 200, app.text);
    t.match(app.fields, { PATH_INFO: '/some/path' });
    t.equal(site.starts(program).length, 2, 'as many as -F said');
    t.equal((await client.request(port, '/cgi/words.cgi')).status, 200);
    t.match(await site.classStatus('php-cgi'), { state: 'ready' });
    await site.settled();
  });
}

/** A Tomcat by mod_jk and by mod_proxy_ajp; its secret goes into files. */
export async function fromServletModules(
  t: Test,
  server: WebServer,
  { tomcat, secret }: { tomcat: Tomcat; secret: string },
): Promise<void> {
  const site = await Site.create(t, server);
  const port = ownPort(site);
  const [host = '', number = ''] = tomcat.address.split(':');
  site.file('docs/app/plain.gif', 'no servlet');
  site.file(
    'workers.properties',
    `worker.list=shop
template.type=ajp13
template.secret=${secret}
template.connect_timeout=10000
worker.a.reference=template
worker.a.host=${host}
worker.a.port=${number}
worker.shop.type=lb
worker.shop.balance_workers=a
`,
  );
  const listen = server.kind === 'apache' ? `Listen 127.0.0.1:${port}` : '';
  const old = site.file(
    'old.conf',
    `${listen}
JkWorkersFile workers.properties
<VirtualHost 127.0.0.1:${port}>
    DocumentRoot ${site.docs}
    JkMount /app/* shop
    JkUnMount /app/*.gif shop
    ProxyPass /other ajp://${tomcat.address}/app secret=${secret} timeout=60
    ProxyPassReverse /other ajp://${tomcat.address}/app
</VirtualHost>
`,
  );
  const secrets = `${site.dir}/secrets`;
  site.file('secrets/here', '');
  const { text, report } = await migrate(site, [old, '--from', 'apache', '--secrets', secrets]);
  t.notOk(`${text}${report}`.includes(secret), 'the secret is printed nowhere');
  t.equal(statSync(`${secrets}/shop.secret`).mode & 0o777, 0o600);
  await serve(t, site, text);

  await site.check('servlets answer, what is excepted is a file', async (t) => {
    const mounted = await client.request(port, '/app/echo.jsp?x=1');
    t.equal(mounted.status, 200, mounted.text);
    const passed = await client.request(port, '/other/echo.jsp?x=1');
    t.equal(passed.status, 200, passed.text);
    t.equal((await client.request(port, '/app/plain.gif')).text, 'no servlet');
    t.match(await site.classStatus('shop'), { state: 'ready', protocol: 'ajp' });
    await site.settled();
  });
}
