// SPDX-License-Identifier: Apache-2.0
// A program of usher/runtime that decides who gets what another one answers, as docs/authorizers.md has it.

import type { Test } from 'tap';
import { checksum, pattern, type RequestOptions } from '../servers/client.ts';
import { runtimeProgram } from '../servers/runtime-program.ts';
import { Site } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

type Header = [name: string, value: string];

const modules = '/usr/lib/apache2/modules';
const authModules = 'auth_basic authn_core authz_user'
  .split(' ')
  .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`)
  .join('\n');

const as = (user: string, password: string): Header => [
  'Authorization',
  `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
];
const ada = as('ada', 'lovelace');
const bob = as('bob', 'builder');
const asking = (...headers: Header[]): RequestOptions => ({ headers });

export async function runtimeAuthorizer(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const program = await runtimeProgram(site);
  const gate = await runtimeProgram(site, 'bin/gate.mjs', 'runtime-gate.mjs');
  const options = '{"model":"process-pool","processes":1}';
  const text = `#!/bin/sh\nRUNTIME_OPTIONS='${options}' exec ${gate}\n`;
  const pooled = site.file('bin/pooled-gate', text, 0o755);
  await site.start({
    nginx: `
      usher_app shop command=${program};
      usher_app gate command=${pooled};
      server {
        listen 127.0.0.1:${site.port};
        include fastcgi_params;
        location /shop {
          auth_request /gate;
          auth_request_set $tenant $upstream_http_variable_tenant;
          usher_pass shop;
          include fastcgi_params;
          fastcgi_param REMOTE_USER $remote_user;
          fastcgi_param TENANT $tenant;
        }
        location = /gate {
          internal;
          usher_pass gate;
          include fastcgi_params;
          fastcgi_param CONTENT_LENGTH "";
          fastcgi_pass_request_body off;
        }
      }`,
    apache: `${authModules}
      AppClass shop -command ${program}
      AppClass gate -command ${gate}
      AppClass pooled -command ${pooled}
      <Location /shop>
        AuthType Basic
        AuthName shop
        FastCgiAccessChecker gate
        FastCgiAuthenticator pooled
        FastCgiAuthorizer gate -compat
        Require valid-user
        UsherPass shop
      </Location>`,
  });

  const role = server.kind === 'nginx' ? 'responder' : 'authorizer';
  const tenant = `ada, says the ${role}`;

  await site.check('who is let in: the program behind is told what the gate says', async (t) => {
    const { status, fields } = await site.request('/shop/1', asking(ada));
    t.equal(status, 200);
    t.match(fields, { url: '/shop/1', remoteUser: 'ada', tenant });
    const body = pattern(70_000);
    const sent = await site.request('/shop', { method: 'POST', body, ...asking(ada) });
    t.match(sent.fields, { bytes: '70000', crc: checksum(body).toString(16), tenant });
  });

  await site.check('whom nobody knows: 401', async (t) => {
    const nobody = await site.request('/shop/1');
    t.equal(nobody.status, 401);
    t.match(nobody.header('WWW-Authenticate')[0], /^Basic realm=/);
    const wrong = await site.request('/shop/1', asking(as('ada', 'wrong')));
    t.equal(wrong.status, 401);
    t.same(wrong.header('WWW-Authenticate'), ['Basic realm="gate"']);
    if (server.kind === 'apache') t.equal(wrong.text, 'no such user: ada\n');
  });

  await site.check('who may not: 403', async (t) => {
    const closed = await site.request('/shop/1', asking(ada, ['X-Door', 'closed']));
    const denied = await site.request('/shop/1', asking(bob));
    t.same([closed.status, denied.status], [403, 403]);
    if (server.kind === 'apache') {
      t.same([closed.text, denied.text], ['the door is closed\n', 'not for bob\n']);
      t.same(denied.header('X-Denied-By'), ['gate']);
    }
  });
  await site.settled();
  await site.end();
}
