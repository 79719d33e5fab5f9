// SPDX-License-Identifier: Apache-2.0
// Plain CGI programs behind the gateway: what they get, what of their answers arrives, how they end.

import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Test } from 'tap';
import { checksum, pattern } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { isRunning } from '../servers/processes.ts';
import { isRoot, Site, uidOf } from '../servers/site.ts';
import { run } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

export async function cgi(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const docs = site.docs;
  const words = site.program('docs/words.cgi', 'words.cgi');
  site.program('docs/nph-words.cgi', 'words.cgi');
  site.file('docs/plain.txt', 'a plain file\n');
  site.file('docs/not-executable.cgi', '#!/bin/sh\n', 0o644);
  site.file('docs/no-interpreter.cgi', '#!/does/not/exist\n', 0o755);
  site.file('docs/silent.cgi', '#!/bin/sh\nexit 0\n', 0o755);
  site.file('docs/usage.cgi', '#!/bin/sh\necho usage: usage FILE >&2\nexit 64\n', 0o755);
  site.file('docs/garbage.cgi', '#!/bin/sh\necho hello, world\n', 0o755);
  site.file('outside.cgi', '#!/bin/sh\necho Content-Type: text/plain; echo; echo outside\n', 0o755);
  await site.start({
    nginx: `
      usher_app one "command=${words} fixed argument" protocol=cgi initial_env=COLOUR=blue;
      usher_app strict command=${words} protocol=cgi request_timeout=5 stop_timeout=1
                max_output=100K limit=cpu=20;
      server {
        listen 127.0.0.1:${site.port};
        root ${docs};
        client_max_body_size 0;
        location ~ "^/[^/]+[.]cgi(/|$)" {
          fastcgi_split_path_info ^(/[^/]+[.]cgi)(/.*)?$;
          usher_pass $document_root$fastcgi_script_name protocol=cgi;
          include fastcgi_params;
          fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
          fastcgi_param PATH_INFO $fastcgi_path_info;
          fastcgi_param HTTP_PROXY $http_proxy;
        }
        location /outside { usher_pass ${site.dir}/outside.cgi protocol=cgi; include fastcgi_params; }
        location /one/ { usher_pass one; include fastcgi_params; fastcgi_param SCRIPT_NAME ""; }
        location /strict { usher_pass strict; include fastcgi_params; fastcgi_buffering off; }
      }`,
    apache: `
      AppClass one -command "${words} fixed argument" -protocol cgi -initial-env COLOUR=blue
      AppClass strict -command ${words} -protocol cgi -request-timeout 5 -stop-timeout 1 \\
          -max-output 100K -limit cpu=20
      AddHandler usher-cgi .cgi
      <Directory ${docs}>
        Options +ExecCGI
      </Directory>
      <Location /one/>
        UsherPass one
      </Location>
      <Location /strict>
        UsherPass strict
      </Location>`,
  });

  await site.check('a program gets what CGI/1.1 says', async (t) => {
    const headers: [string, string][] = [
      ['X-Some', 'header'],
      ['Proxy', 'http://evil'],
      ['Content-Type', 'text/x-y'],
    ];
    const path = '/words.cgi/some/path%20info?read&env';
    const { status, fields } = await site.request(path, { method: 'POST', body: 'abc', headers });
    t.equal(status, 200);
    t.match(fields, {
      GATEWAY_INTERFACE: 'CGI/1.1',
      SERVER_PROTOCOL: 'HTTP/1.1',
      REQUEST_METHOD: 'POST',
      SCRIPT_NAME: '/words.cgi',
      PATH_INFO: '/some/path info',
      PATH_TRANSLATED: `${docs}/some/path info`,
      QUERY_STRING: 'read&env',
      CONTENT_LENGTH: '3',
      CONTENT_TYPE: 'text/x-y',
      HTTP_X_SOME: 'header',
      REMOTE_ADDR: '127.0.0.1',
      SERVER_PORT: `${site.port}`,
      cwd: docs,
      fds: '0 1 2',
      signals: 'none',
      uid: `${site.instanceUid}`,
    });
    t.notOk('HTTP_PROXY' in fields, 'httpoxy: no Proxy header becomes HTTP_PROXY');
    t.same(
      Object.keys(fields).filter((name) => /^(FCGI_|USHER_|NODE)/.test(name)),
      [],
      'and nothing of ours',
    );
  });

  await site.check('a fixed program, its arguments, its PATH_INFO by the location', async (t) => {
    const { fields } = await site.request('/one/two/three?env');
    t.match(fields, {
      ARGV: 'fixed argument',
      SCRIPT_NAME: '/one',
      PATH_INFO: '/two/three',
      COLOUR: 'blue',
    });
  });

  await site.check('search words become arguments', async (t) => {
    const { fields } = await site.request('/words.cgi?one+two%2Bthree');
    t.equal(fields.ARGV, 'one two+three');
    t.equal((await site.request('/words.cgi?a=b+c')).fields.ARGV, '', 'not what looks like a form');
  });

  await site.check('status, header fields and body arrive', async (t) => {
    const answer = await site.request('/words.cgi?status=404 Gone Fishing&header=X-A: 1&text=here');
    t.match(answer, { status: 404, text: 'here' });
    t.same(answer.header('x-a'), ['1']);
    const redirect = await site.request('/words.cgi?header=Location: http://x/y&no-type');
    t.match(redirect, { status: 302 });
    t.same(redirect.header('location'), ['http://x/y']);
    const local = await site.request('/words.cgi?header=Location: /plain.txt&no-type');
    t.match(
      local,
      { status: 200, text: 'a plain file\n' },
      'a local path is answered in its place',
    );
    const nph = '/nph-words.cgi?raw&text=HTTP/1.1 418 Teapot%0D%0AX-B: 2%0D%0A%0D%0Ashort';
    const teapot = await site.request(nph);
    t.match(teapot, { status: 418, text: 'short' });
    t.same(teapot.header('x-b'), ['2']);
    const none = await site.request('/words.cgi?text=x', { method: 'HEAD' });
    t.match(none, { status: 200, text: '' });
  });

  await site.check('large bodies go through, both ways', async (t) => {
    const body = pattern(3_000_000);
    for (const isChunked of [false, true]) {
      const answer = await site.request('/words.cgi?body', { method: 'POST', body, isChunked });
      t.equal(checksum(answer.body), checksum(body), `chunked: ${isChunked}`);
    }
    const unread = await site.request('/words.cgi?text=early', { method: 'POST', body });
    t.match(unread, { status: 200, text: 'early' }, 'a program need not read what it gets');
    const long = await site.request('/words.cgi?bytes=5000000');
    t.equal(checksum(long.body), checksum(pattern(5_000_000)));
  });

  await site.check('what goes wrong has its status and one line of cause', async (t) => {
    const cases: [path: string, status: number, cause: RegExp][] = [
      ['/missing.cgi', 404, /missing\.cgi|^$/],
      [
        '/not-executable.cgi',
        403,
        /not-executable\.cgi is not executable|deny execution: .*not-executable\.cgi/,
      ],
      ['/no-interpreter.cgi', 502, /no-interpreter\.cgi.*No such file|interpreter/],
      ['/silent.cgi', 502, /silent\.cgi: exited with 0; the program wrote nothing/],
      ['/usage.cgi', 502, /usage\.cgi.*64/],
      ['/garbage.cgi', 502, /garbage\.cgi.*hello, world/],
      ['/words.cgi?abort', 502, /words\.cgi.*SIGABRT/],
    ];
    for (const [path, status, cause] of cases) {
      t.equal((await site.request(path)).status, status, path);
      await eventually(`${path}: ${cause} in the error log`, () => {
        return status === 404 || cause.test(site.newErrors().replaceAll('\n', ' '));
      });
    }
    const spoken = await site.request('/words.cgi?stderr=tell it&text=x');
    t.equal(spoken.status, 200);
    await eventually('stderr is in the error log', () => site.newErrors().includes('tell it'));
    if (server.kind === 'nginx') {
      t.equal((await site.request('/outside')).status, 403, 'a file outside the roots');
    }
  });

  await site.check('time and output have limits', async (t) => {
    const pid = Number((await site.request('/strict?env')).fields.pid);
    t.ok(pid > 0);
    t.equal((await site.request('/strict?sleep=60000&text=late')).status, 504);
    const cut = await site.request('/strict?bytes=10000000').catch(() => null);
    t.ok(cut === null || cut.body.length < 1_000_000, 'no more than a little above -max-output');
  });

  await site.check('nothing outlives its request', async (t) => {
    const file = `${site.dir}/child.pid`;
    writeFileSync(file, '');
    if (isRoot) await run(['chown', `${uidOf('www-data')}`, file]);
    const abort = new AbortController();
    const { port } = site;
    const gone = fetch(`http://127.0.0.1:${port}/strict?child=${file}&sleep=600000`, {
      signal: abort.signal,
    }).catch(() => 'gone');
    const child = await eventually(
      'its child runs',
      () => Number(readFileSync(file, 'utf8')) || false,
    );
    abort.abort();
    t.equal(await gone, 'gone');
    await eventually('a client that leaves ends the whole process group', () => !isRunning(child));
    await site.settled();
  });

  await site.check(
    'a gateway that is killed takes its programs along and is replaced',
    async (t) => {
      const gate = `${site.dir}/gate`;
      const post = { method: 'POST', body: 'not to be sent again' };
      const lost = site.request(`/one/?wait=${gate}&text=x`, post).catch(() => null);
      await eventually('it runs', async () => (await site.classStatus('one'))?.inFlight === 1);
      const [gateway] = (await site.classStatus('one'))?.instances ?? [];
      const { fields } = await site.request('/one/?env');
      const program = Number(fields.pid);
      process.kill(gateway?.pid ?? 0, 'SIGKILL');
      t.not((await lost)?.status, 200);
      await eventually('the program has ended', () => !isRunning(program));
      await eventually('another gateway serves', async () => {
        return (await site.request('/one/?text=again')).text === 'again';
      });
      await site.settled();
    },
  );

  await site.check('a gateway that is replaced loses no request', async (t) => {
    const gate = `${site.dir}/open`;
    const slow = site.request(`/one/?wait=${gate}&text=slow`);
    await eventually('it runs', async () => (await site.classStatus('one'))?.inFlight === 1);
    const restart = run([
      'bin/usher',
      'restart',
      'one',
      '--no-wait',
      '--runtime-dir',
      site.runtimeDir,
    ]);
    t.equal((await restart).status, 0);
    await eventually('a new one serves', async () => {
      const states = (await site.classStatus('one'))?.instances.map(({ state }) => state);
      return states?.includes('ready') && states.includes('draining');
    });
    t.equal((await site.request('/one/?text=new')).text, 'new');
    await sleep(100);
    site.file('open', '');
    t.equal((await slow).text, 'slow');
    await site.settled();
  });

  await site.end();
}
