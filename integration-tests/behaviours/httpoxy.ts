// SPDX-License-Identifier: Apache-2.0
// A client's header "Proxy" must not become HTTP_PROXY, which many programs take for the proxy of
// their own requests. An administrator's HTTP_PROXY, and headers of other names, stay.

import type { Test } from 'tap';
import { fieldsOf, RawClient, requestHttp2 } from '../servers/client.ts';
import { Site } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

const evil = 'http://evil.example:3128';
const proxy = 'http://squid.example:3128';

/** What each of them must leave of HTTP_PROXY: nothing. Others are sent beside it and must arrive. */
const spellings: [title: string, headers: string[]][] = [
  ['Proxy', [`Proxy: ${evil}`]],
  ['in lower case', [`proxy: ${evil}`]],
  ['in upper case', [`PROXY: ${evil}`]],
  ['in mixed case', [`pRoXy: ${evil}`]],
  ['without a blank', [`Proxy:${evil}`]],
  ['with blanks', [`Proxy: \t ${evil}  `]],
  ['empty', ['Proxy:']],
  ['twice the same', [`Proxy: ${evil}`, `Proxy: ${evil}`]],
  ['twice, spelled and said differently', [`Proxy: ${evil}`, 'pROXY: http://worse.example']],
  ['three times, one of them empty', [`Proxy: ${evil}`, 'Proxy:', 'proxy: c']],
  ['of 127 bytes', [`Proxy: ${'p'.repeat(127)}`]],
  ['of 128 bytes', [`Proxy: ${'p'.repeat(128)}`]],
  ['of 7000 bytes', [`Proxy: ${'p'.repeat(7000)}`]],
];

const beside = [
  'Proxy-Foo: foo',
  'X-Proxy: x',
  'Proxy-Connection: keep-alive',
  `X-Long: ${'l'.repeat(300)}`,
];

/** Asks whoever is in front of a page, and tells the program behind what the first one has seen. */
const gate = `#!/usr/bin/perl
# SPDX-License-Identifier: Apache-2.0
use FCGI;
my $request = FCGI::Request();
while ($request->Accept() >= 0) {
  my $seen = join ' ', map { "$_=$ENV{$_}" } grep { /PROXY$/ } sort keys %ENV;
  print "Status: 200\\r\\nVariable-SEEN: $seen\\r\\nX-Seen: $seen\\r\\n\\r\\n";
}
`;

export async function httpoxy(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const echo = site.program('bin/echo');
  const gatekeeper = site.file('bin/gate', gate, 0o755);
  site.file('docs/page.shtml', '<!--#include virtual="/echo" -->');
  const pass = `usher_pass ${echo}; include fastcgi_params;`;
  await site.start({
    nginx: `
      usher_app ${echo} processes=1;
      usher_app ${gatekeeper} processes=1;
      server {
        listen 127.0.0.1:${site.ports[0]};
        listen 127.0.0.1:${site.ports[1]} http2;
        root ${site.docs};
        location /echo { ${pass} }
        location /bare { usher_pass ${echo}; fastcgi_param REQUEST_METHOD $request_method; }
        location /unbuffered {
          ${pass}
          fastcgi_request_buffering off;
          fastcgi_buffering off;
        }
        location /own { ${pass} fastcgi_param HTTP_PROXY ${proxy}; }
        location /copied { ${pass} fastcgi_param HTTP_PROXY $http_proxy; }
        location /headerless { ${pass} fastcgi_pass_request_headers off; }
        location /page.shtml { ssi on; default_type text/html; }
        location /redirected { rewrite ^ /echo last; }
        location /guarded {
          auth_request /gate;
          auth_request_set $seen $upstream_http_x_seen;
          ${pass}
          fastcgi_param SEEN $seen;
        }
        location = /gate {
          internal;
          usher_pass ${gatekeeper};
          include fastcgi_params;
          fastcgi_pass_request_body off;
        }
      }`,
    apache: `
      <IfModule http2_module>
        Protocols h2c http/1.1
      </IfModule>
      Listen 127.0.0.1:${site.ports[1]}
      AppClass ${echo} -processes 1 -pass-header Proxy -pass-header Authorization
      AppClass own -command ${echo} -processes 1 -initial-env HTTP_PROXY=${proxy}
      AppClass ${gatekeeper} -processes 1
      <Directory ${site.docs}>
        Options +Includes
        AddOutputFilter INCLUDES .shtml
      </Directory>
      RewriteEngine on
      RewriteRule ^/redirected /echo [PT]
      <LocationMatch ^/(echo|bare|unbuffered|guarded)>
        UsherPass ${echo}
      </LocationMatch>
      <Location /own>
        UsherPass own
      </Location>
      <Location /guarded>
        FastCgiAccessChecker ${gatekeeper}
      </Location>`,
  });

  const ask = async (path: string, headers: string[], body?: string): Promise<string> => {
    const client = await RawClient.connect(site.port);
    const method = body === undefined ? 'GET' : 'POST';
    const length = body === undefined ? [] : [`Content-Length: ${body.length}`];
    const lines = ['Host: 127.0.0.1', ...headers, ...beside, ...length, 'Connection: close'];
    client.send(`${method} ${path} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n${body ?? ''}`);
    return client.all();
  };
  const sees = (t: Test, said: string, title: string): void => {
    t.notMatch(said, /^HTTP_PROXY=/m, `${title}: no HTTP_PROXY`);
    t.match(said, /^HTTP_PROXY_FOO=foo$/m, `${title}: Proxy-Foo stays`);
    t.match(said, /^HTTP_X_PROXY=x$/m, `${title}: X-Proxy stays`);
    t.match(said, /^HTTP_PROXY_CONNECTION=keep-alive$/m, `${title}: Proxy-Connection stays`);
    t.match(said, /^HTTP_X_LONG=l{300}$/m, `${title}: what comes behind stays`);
  };

  await site.check('a client’s header Proxy never is HTTP_PROXY, however spelled', async (t) => {
    for (const [title, headers] of spellings) sees(t, await ask('/echo', headers), title);
    sees(t, await ask('/echo', []), 'none');
    sees(t, await ask('/echo', ['X-First: 1', `Proxy: ${evil}`]), 'behind another');
  });
  await site.check('nor with few parameters, unbuffered, after a rewrite', async (t) => {
    for (const path of ['/bare', '/unbuffered', '/redirected']) {
      sees(t, await ask(path, [`Proxy: ${evil}`]), path);
      const said = await ask(path, [`Proxy: ${evil}`, `proxy: ${evil}`], 'a body');
      sees(t, said, `${path}, with a body`);
      t.match(said, /^body_bytes=6$/m, `${path}: the body is whole`);
    }
  });
  await site.check('nor in a subrequest, nor for a program that decides', async (t) => {
    const page = await ask('/page.shtml', [`Proxy: ${evil}`]);
    sees(t, page, 'included');
    const guarded = await ask('/guarded', [`Proxy: ${evil}`]);
    t.match(guarded, /^SEEN=HTTP_X_PROXY=x$/m, 'the gate keeper has seen X-Proxy only');
    sees(t, guarded, 'guarded');
  });
  await site.check('an HTTP_PROXY of the administrator’s own stays', async (t) => {
    for (const headers of [[], [`Proxy: ${evil}`], [`Proxy: ${evil}`, 'proxy: b']]) {
      const fields = fieldsOf(await ask('/own', headers));
      t.equal(fields.HTTP_PROXY, proxy, `with ${headers.length} headers Proxy`);
    }
  });
  if (server.kind === 'nginx') {
    await site.check('a copy of the header that the configuration makes is dropped', async (t) => {
      t.notMatch(await ask('/copied', [`Proxy: ${evil}`]), /^HTTP_PROXY=/m);
      t.match(await ask('/headerless', [`Proxy: ${evil}`]), /^SERVER_PROTOCOL=HTTP/m);
    });
    await site.check('what was dropped is there as USHER_DROP', async (t) => {
      t.match(await ask('/echo', [`Proxy: ${evil}`]), new RegExp(`^USHER_DROP=${evil}$`, 'm'));
    });
  }
  if (server.hasHttp2) {
    await site.check('nor over HTTP/2', async (t) => {
      const more = Object.fromEntries(
        beside.filter((line) => !line.startsWith('Proxy-C')).map((line) => line.split(': ')),
      );
      const ports = server.kind === 'nginx' ? site.ports[1] : site.port;
      for (const sent of [evil, [evil, 'b', '']]) {
        const headers = { proxy: sent, ...more };
        const [answer] = await requestHttp2(ports!, ['/echo'], undefined, headers);
        const said = `${answer?.body}`;
        t.notMatch(said, /^HTTP_PROXY=/m, `${sent}`);
        t.match(said, /^HTTP_X_PROXY=x$/m, 'X-Proxy stays');
        t.match(said, /^HTTP_PROXY_FOO=foo$/m, 'Proxy-Foo stays');
      }
    });
  }
  await site.end();
}
