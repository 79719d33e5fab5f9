// SPDX-License-Identifier: Apache-2.0
// Programs behind the features of their servers: rewriting, fallbacks, error pages, includes,
// subrequests, HTTP/2, per-directory configuration; and clients that do not stay.

import type { Test } from 'tap';
import { checksum, pattern, RawClient, requestHttp2 } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { descriptorCount } from '../servers/processes.ts';
import { Site } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

export async function features(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const echo = site.program('bin/echo');
  const single = site.program('bin/single');
  const narrow = site.program('bin/narrow');
  site.program('docs/front.fcgi');
  site.program('docs/errors.fcgi');
  site.program('docs/dir/index.fcgi');
  site.program('docs/own/old-name');
  site.file('docs/own/.htaccess', 'Options +ExecCGI\nSetHandler fastcgi-script\n');
  site.file('docs/static.txt', 'static text');
  site.file('docs/guarded/secret.txt', 'the secret');
  site.file('docs/files/here.txt', 'a file');
  const include = (query: string) => `<!--#include virtual="/echo?text=${query}" -->`;
  site.file(
    'docs/page.shtml',
    `<p>${[1, 2, 3, 4, 5].map((i) => include(`piece-${i}`)).join(' ')}</p>`,
  );

  const program = `
          include fastcgi_params;
          fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;`;
  await site.start({
    nginx: `
      fastcgi_cache_path ${site.dir}/cache keys_zone=answers:1m;
      usher_app ${echo} processes=2;
      usher_app ${single} processes=1;
      usher_app ${narrow} processes=1 queue_limit=2 queue_timeout=20;
      server {
        listen 127.0.0.1:${site.ports[0]};
        listen 127.0.0.1:${site.ports[1]} http2;
        root ${site.docs};
        index index.fcgi;
        location / { try_files $uri $uri/ @front; }
        location @front { usher_pass ${site.docs}/front.fcgi; include fastcgi_params; }
        location /old/ { rewrite ^/old/(.*)$ /front.fcgi/$1 last; }
        location /files/ { error_page 404 /errors.fcgi; }
        location /page.shtml { ssi on; default_type text/html; }
        location /echo { usher_pass ${echo}; include fastcgi_params; }
        location /single {
          usher_pass ${single};
          include fastcgi_params;
          fastcgi_buffering off;
        }
        location /narrow {
          usher_pass ${narrow};
          include fastcgi_params;
          fastcgi_buffering off;
        }
        location /guarded/ { set $verdict $arg_verdict; auth_request /guard; }
        location = /guard {
          internal;
          usher_pass ${echo};
          fastcgi_param QUERY_STRING "status=$verdict Said&text=verdict";
          fastcgi_param REQUEST_METHOD GET;
          fastcgi_pass_request_body off;
        }
        location /intercepted {
          usher_pass ${echo};
          include fastcgi_params;
          fastcgi_intercept_errors on;
          error_page 404 /errors.fcgi;
        }
        location /cached {
          usher_pass ${echo};
          include fastcgi_params;
          fastcgi_cache answers;
          fastcgi_cache_key $request_uri;
          fastcgi_cache_valid 200 1m;
        }
        location ~ \\.fcgi(/|$) {
          fastcgi_split_path_info ^(.+?\\.fcgi)(/.*)?$;
          usher_pass $document_root$fastcgi_script_name;${program}
          fastcgi_param PATH_INFO $fastcgi_path_info;
        }
      }`,
    apache: `
      AppClass ${echo} -processes 2
      AppClass ${single} -processes 1 -flush
      AppClass ${narrow} -processes 1 -flush -queue-limit 2 -queue-timeout 20
      <IfModule http2_module>
        Protocols h2c http/1.1
      </IfModule>
      RewriteEngine On
      RewriteRule ^/old/(.*)$ /front.fcgi/$1 [PT]
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI +Includes
        AllowOverride All
        DirectoryIndex index.fcgi
        FallbackResource /front.fcgi
        AddOutputFilter INCLUDES .shtml
        AddType text/html .shtml
      </Directory>
      <Directory ${site.docs}/files>
        FallbackResource disabled
        ErrorDocument 404 /errors.fcgi
      </Directory>
      <Location /echo>
        UsherPass ${echo}
      </Location>
      <Location /single>
        UsherPass ${single}
      </Location>
      <Location /narrow>
        UsherPass ${narrow}
      </Location>`,
  });

  await whatBothHave(site);
  if (server.kind === 'nginx') await whatNginxHas(site);
  else await whatApacheHas(site);
  if (server.hasHttp2) await http2(site);
  await clientsThatLeave(site, single);
  await fullClass(site, narrow);
  await descriptorsStayFlat(site);
  await site.end();
}

async function whatBothHave(site: Site): Promise<void> {
  await site.check('a file is served without any program', async (t) => {
    t.equal((await site.request('/static.txt')).text, 'static text');
  });

  await site.check('what is no file goes to the front controller', async (t) => {
    const { status, fields } = await site.request('/no/such/page?a=1');
    t.equal(status, 200);
    t.match(fields, { REQUEST_URI: '/no/such/page?a=1', QUERY_STRING: 'a=1' });
  });

  await site.check('a rewritten address reaches the program with its path', async (t) => {
    const { fields } = await site.request('/old/a/b?c=1');
    t.match(fields, {
      SCRIPT_NAME: '/front.fcgi',
      PATH_INFO: '/a/b',
      QUERY_STRING: 'c=1',
      REQUEST_URI: '/old/a/b?c=1',
    });
  });

  await site.check('a program makes the page for a missing file', async (t) => {
    t.equal((await site.request('/files/here.txt')).text, 'a file');
    const answer = await site.request('/files/missing.txt');
    t.equal(answer.status, 404);
    t.equal(answer.fields.SCRIPT_NAME, '/errors.fcgi');
    t.equal(answer.fields.REQUEST_URI, '/files/missing.txt');
  });

  await site.check('a program is the index of its directory', async (t) => {
    const { status, fields } = await site.request('/dir/?x=1');
    t.equal(status, 200);
    t.match(fields, { SCRIPT_NAME: '/dir/index.fcgi', QUERY_STRING: 'x=1' });
  });

  await site.check('five includes in one page (SSI) are answered in their order', async (t) => {
    const answer = await site.request('/page.shtml');
    t.equal(answer.text, '<p>piece-1 piece-2 piece-3 piece-4 piece-5</p>');
    await site.settled();
  });
}

async function whatNginxHas(site: Site): Promise<void> {
  await site.check('a program decides who gets a file (auth_request)', async (t) => {
    const ask = (verdict: number) => site.request(`/guarded/secret.txt?verdict=${verdict}`);
    t.equal((await ask(204)).text, 'the secret');
    for (const verdict of [401, 403, 500]) t.equal((await ask(verdict)).status, verdict);
    const body = pattern(70_000);
    const posted = await site.request('/guarded/secret.txt?verdict=200', {
      method: 'POST',
      body,
    });
    t.equal(posted.status, 405, 'a file takes no POST, but the guard was asked and said yes');
  });

  await site.check('the error status of a program gets the page of another', async (t) => {
    const answer = await site.request('/intercepted?status=404 Gone&text=own page');
    t.equal(answer.status, 404);
    t.equal(answer.fields.SCRIPT_NAME, '/errors.fcgi');
  });

  await site.check('a program hands over to a file (X-Accel-Redirect)', async (t) => {
    const answer = await site.request('/echo?header=X-Accel-Redirect: /static.txt');
    t.equal(answer.text, 'static text');
  });

  await site.check('what is in the cache needs no program', async (t) => {
    const ask = async () => (await site.request('/cached?requests')).text;
    // It is there a moment after the first answer; each answer of the program is another one.
    t.match(
      await eventually('the same again', async () => {
        const first = await ask();
        return first === (await ask()) && first;
      }),
      /^\d+\n$/,
    );
  });
}

async function whatApacheHas(site: Site): Promise<void> {
  await site.check('.htaccess makes a program of a file', async (t) => {
    const { status, fields } = await site.request('/own/old-name/rest?x=1');
    t.equal(status, 200);
    t.match(fields, { SCRIPT_NAME: '/own/old-name', PATH_INFO: '/rest', QUERY_STRING: 'x=1' });
  });

  await site.check('.htaccess rewrites to a program', async (t) => {
    site.file('docs/pretty/.htaccess', 'RewriteEngine On\nRewriteRule ^(.+)$ /front.fcgi/$1 [L]\n');
    const { fields } = await site.request('/pretty/a/b?x=1');
    t.match(fields, {
      SCRIPT_NAME: '/front.fcgi',
      PATH_INFO: '/a/b',
      QUERY_STRING: 'x=1',
      REQUEST_URI: '/pretty/a/b?x=1',
    });
  });

  await site.check('the page for a missing file knows what was asked for', async (t) => {
    const { fields } = await site.request('/files/missing.txt?x=1');
    t.match(fields, { REDIRECT_STATUS: '404', REDIRECT_URL: '/files/missing.txt' });
  });
}

async function http2(site: Site): Promise<void> {
  const port = site.server.kind === 'nginx' ? site.ports[1]! : site.port;

  await site.check('thirty HTTP/2 streams at once are answered', async (t) => {
    const paths = Array.from({ length: 30 }, (_, i) => `/echo?text=stream-${i}`);
    const answers = await requestHttp2(port, paths);
    t.same(
      answers.map(({ status, body }) => `${status} ${body}`),
      paths.map((_, i) => `200 stream-${i}`),
    );
    await site.settled();
  });

  await site.check('a body of 70 kB comes and goes over HTTP/2', async (t) => {
    const body = pattern(70_000);
    const [answer] = await requestHttp2(port, ['/echo?body'], body);
    t.equal(answer?.body.length, body.length);
    t.equal(checksum(answer?.body ?? ''), checksum(body));
  });
}

async function clientsThatLeave(site: Site, single: string): Promise<void> {
  await site.check('a client that leaves an endless answer frees its place', async (t) => {
    const client = await RawClient.get(site.port, '/single?text=begun&flush&endless');
    await client.until('begun');
    client.leave();
    await site.settled();
    t.equal((await site.request('/single?text=next')).text, 'next');
  });

  await site.check('a client that leaves before the answer frees its place', async (t) => {
    const gate = `${site.dir}/gate-left`;
    const client = await RawClient.get(site.port, `/single?text=begun&flush&wait=${gate}`);
    await client.until('begun');
    client.leave();
    site.file('gate-left', '');
    await site.settled();
    t.equal((await site.request('/single?text=next')).text, 'next');
  });

  await site.check('twenty clients that leave while they wait are never served', async (t) => {
    const before = Number((await site.request('/single?requests')).text);
    const gate = `${site.dir}/gate-queue`;
    const holder = await RawClient.get(site.port, `/single?text=begun&flush&wait=${gate}`);
    await holder.until('begun');
    const waiting = await Promise.all(
      Array.from({ length: 20 }, () => RawClient.get(site.port, '/single?text=never')),
    );
    await eventually('twenty requests wait', async () => {
      const status = await site.classStatus(single);
      if (status?.waiting === 20) return true;
      throw new Error(`${status?.waiting} wait`);
    });
    for (const client of waiting) client.leave();
    await eventually('nobody waits', async () => (await site.classStatus(single))?.waiting === 0);
    site.file('gate-queue', '');
    t.match(await holder.all(), /begun/);
    t.equal(Number((await site.request('/single?requests')).text), before + 2);
    await site.settled();
  });

  await site.check('those who stay are served in the end', async (t) => {
    const gate = `${site.dir}/gate-patient`;
    const holder = await RawClient.get(site.port, `/single?text=begun&flush&wait=${gate}`);
    await holder.until('begun');
    const patient = Array.from({ length: 10 }, () => site.request('/single?text=served'));
    await eventually('ten requests wait', async () => {
      return (await site.classStatus(single))?.waiting === 10;
    });
    site.file('gate-patient', '');
    for (const answer of await Promise.all(patient)) t.equal(answer.text, 'served');
    t.ok(await site.accessLine(/text=served.* state=queued wait_ms=\d+/));
    await holder.all();
    await site.settled();
  });
}

async function fullClass(site: Site, narrow: string): Promise<void> {
  await site.check('a full class answers 503 at once, and serves those who wait', async (t) => {
    const gate = `${site.dir}/gate-narrow`;
    const holder = await RawClient.get(site.port, `/narrow?text=begun&flush&wait=${gate}`);
    await holder.until('begun');
    const waiting = [1, 2].map(() => site.request('/narrow?text=served'));
    await eventually('two requests wait', async () => {
      return (await site.classStatus(narrow))?.waiting === 2;
    });
    const refused = await site.request('/narrow?text=refused');
    t.equal(refused.status, 503);
    t.equal(refused.header('retry-after').length, 1);
    t.ok(await site.errorLine(/narrow/));
    t.ok(await site.accessLine(/text=refused.* 503 .*state=refused/));
    site.file('gate-narrow', '');
    for (const answer of await Promise.all(waiting)) t.equal(answer.text, 'served');
    await holder.all();
    await site.settled();
  });
}

async function descriptorsStayFlat(site: Site): Promise<void> {
  await site.check('a thousand requests, many of them left, leave no descriptors', async (t) => {
    const counts = () => new Map(site.workers.map((pid) => [pid, descriptorCount(pid)]));
    const some = async (path: string) => {
      const leaving = await Promise.all(
        Array.from({ length: 10 }, () => RawClient.get(site.port, '/single?sleep=5')),
      );
      const answers = await Promise.all(Array.from({ length: 40 }, () => site.request(path)));
      for (const client of leaving) client.leave();
      return answers.filter(({ status }) => status !== 200).length;
    };
    await some('/echo?text=first');
    await site.settled();
    const before = counts();
    let failed = 0;
    for (let round = 0; round < 20; round++) failed += await some('/echo?bytes=20000');
    await site.settled();
    t.equal(failed, 0);
    await eventually('as many descriptors as before', () => {
      const grown = [...counts()].filter(([pid, now]) => now > (before.get(pid) ?? now) + 3);
      if (grown.length === 0) return true;
      throw new Error(JSON.stringify({ grown, before: [...before] }));
    });
  });
}
