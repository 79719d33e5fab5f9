// SPDX-License-Identifier: Apache-2.0
// Programs that decide who gets something: the three FastCGI roles of Apache, and auth_request with
// usher_pass in nginx.

import http from 'node:http';
import type { Test } from 'tap';
import { checksum, hex, pattern, type RequestOptions } from '../servers/client.ts';
import { Site } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

type Header = [name: string, value: string];

const modules = '/usr/lib/apache2/modules';
const authModules = 'auth_basic authn_core authn_file authz_user access_compat'
  .split(' ')
  .map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`)
  .join('\n');

function credentials(user: string, password: string): Header {
  return ['Authorization', `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`];
}

const ada = credentials('ada', 'lovelace');
const bob = credentials('bob', 'builder');
const carol = credentials('carol', 'carol');

const withHeaders = (...headers: Header[]): RequestOptions => ({ headers });
const verdict = (text: string): RequestOptions => withHeaders(['X-Verdict', text]);

export async function roles(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  if (server.kind === 'nginx') await underNginx(site);
  else await underApache(site);
  await site.end();
}

async function underApache(site: Site): Promise<void> {
  const echo = site.program('bin/echo');
  const gate = site.program('bin/gate', 'gatekeeper.pl');
  const unnamed = site.program('bin/unnamed', 'gatekeeper.pl');
  const broken = site.program('bin/broken', 'exits-with-stderr');
  // carol's password is carol, in a form that every crypt() knows
  const users = site.file('users', 'carol:{SHA}KLkrVu5kuS67cthl8XLvAMcI34M=\n');
  site.file('docs/door/page.html', 'behind the door');
  site.file('docs/door/index.html', 'the index behind the door');
  site.file('docs/no-page.txt', 'you may not\n');
  const asked = `${authModules}
      AppClass ${echo} -processes 1
      AppClass ${gate} -processes 2 -restart-delay 0
      AppClass gate -command ${gate} -on-demand 2
      AppClass ${broken} -processes 0 -maxClassProcesses 1
      <LocationMatch ^/(door/env|compat|who|accounts|open|lenient|broken|either)>
        UsherPass ${echo}
      </LocationMatch>
      <Location /door>
        FastCgiAccessChecker ${gate}
        ErrorDocument 403 /no-page.txt
      </Location>
      <Location /compat>
        FastCgiAccessChecker gate -compat
      </Location>`;
  await site.start({
    apache: `${asked}
      <Location /who>
        AuthType Basic
        AuthName users
        FastCgiAuthenticator gate
        Require valid-user
      </Location>
      <Location /accounts>
        AuthType Basic
        AuthName users
        FastCgiAuthenticator ${gate}
        FastCgiAuthorizer ${unnamed}
        Require user nobody
      </Location>
      <Location /open>
        AuthType Basic
        AuthName users
        FastCgiAuthenticator ${gate}
        Require all granted
      </Location>
      <Location /lenient>
        AuthType Basic
        AuthName users
        AuthBasicProvider file
        AuthUserFile ${users}
        FastCgiAuthenticator ${gate}
        FastCgiAuthenticatorAuthoritative Off
        Require user carol ada
      </Location>
      <Location /broken>
        FastCgiAccessChecker ${broken}
        FastCgiAccessCheckerAuthoritative Off
      </Location>
      <Location /broken/free>
        FastCgiAccessChecker none
      </Location>
      <Location /either>
        AuthType Basic
        AuthName users
        FastCgiAccessChecker ${gate}
        FastCgiAuthenticator ${gate}
        Require valid-user
        Satisfy Any
      </Location>`,
  });

  await accessCheckers(site);
  await denials(site);
  await knownUsers(site);
  await brokenOnes(site, broken);
  await wrongConfigurations(site, gate);
  await site.settled();
}

async function accessCheckers(site: Site): Promise<void> {
  await site.check('an access checker lets in, and its headers become environment', async (t) => {
    t.equal((await site.request('/door/page.html')).text, 'behind the door');
    const { status, fields } = await site.request('/door/env/rest');
    t.equal(status, 200);
    t.match(fields, {
      GATE_ACCESS_CHECKER: 'AUTHORIZER',
      'X-Plain': 'ACCESS_CHECKER',
      GIVEN: 'SCRIPT_NAME,PATH_INFO',
    });
    t.notOk('FCGI_APACHE_ROLE' in fields, 'what it was asked is no business of others');
  });

  await site.check('with -compat only Variable-* do, and it is told less', async (t) => {
    const { fields } = await site.request('/compat');
    t.match(fields, { GATE_ACCESS_CHECKER: 'AUTHORIZER', GIVEN: '' });
    t.notOk('X-Plain' in fields);
  });

  await site.check('a body goes to the program behind the door, whole', async (t) => {
    const body = pattern(70_000);
    for (const isChunked of [false, true]) {
      const { fields } = await site.request('/door/env', { method: 'POST', body, isChunked });
      t.match(fields, { body_bytes: '70000', body_crc32: hex(checksum(body)) });
    }
  });
}

async function denials(site: Site): Promise<void> {
  await site.check('a denial is the answer, with its status, headers and body', async (t) => {
    const answer = await site.request('/door/page.html', verdict('418 short and stout'));
    t.equal(answer.status, 418);
    t.same(answer.header('x-denied-by'), ['gatekeeper']);
    t.same(answer.header('content-type'), ['text/plain']);
    t.equal(answer.text, 'short and stout');
    const head = await site.request('/door/page.html', {
      method: 'HEAD',
      ...verdict('403 short and stout'),
    });
    t.equal(head.status, 403);
    t.equal(head.text, '');
  });

  await site.check('a denial without a body gets the page of ErrorDocument', async (t) => {
    const answer = await site.request('/door/page.html', verdict('403'));
    t.equal(answer.status, 403);
    t.equal(answer.text, 'you may not\n');
    t.same(answer.header('x-denied-by'), ['gatekeeper']);
  });

  await site.check('a Location is a redirect', async (t) => {
    const answer = await site.request('/door/page.html', verdict('away'));
    t.equal(answer.status, 302);
    t.same(answer.header('location'), ['http://elsewhere.example/login']);
  });

  await site.check('conditions of the client are not for the checker', async (t) => {
    const header: Header = ['If-None-Match', '*'];
    t.equal((await site.request('/door/page.html', withHeaders(header))).status, 304);
    const denied = await site.request(
      '/door/page.html',
      withHeaders(header, ['X-Verdict', '403 no']),
    );
    t.equal(denied.status, 403);
  });

  await site.check('the index of a directory is behind the door as well', async (t) => {
    t.equal((await site.request('/door/')).text, 'the index behind the door');
    t.equal((await site.request('/door/', verdict('403 no'))).text, 'no');
  });

  await site.check('after a denied upload the connection is good for more', async (t) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    try {
      const body = pattern(70_000);
      const headers: Header[] = [['X-Verdict', '403 no']];
      const denied = await site.request('/door/env', { method: 'POST', body, headers, agent });
      t.equal(denied.text, 'no');
      const next = await site.request('/door/page.html', { agent });
      t.equal(next.text, 'behind the door');
    } finally {
      agent.destroy();
    }
  });
}

async function knownUsers(site: Site): Promise<void> {
  await site.check('an authenticator knows its users', async (t) => {
    const nobody = await site.request('/who');
    t.equal(nobody.status, 401);
    t.same(nobody.header('www-authenticate'), ['Basic realm="users"']);
    const wrong = await site.request('/who', withHeaders(credentials('ada', 'wrong')));
    t.equal(wrong.status, 401);
    t.same(wrong.header('www-authenticate'), ['Basic realm="users"']);
    t.equal(wrong.text, 'no such user and password: ada\n');
    const { status, fields } = await site.request('/who', withHeaders(ada));
    t.equal(status, 200);
    t.match(fields, { REMOTE_USER: 'ada', AUTH_TYPE: 'Basic', GATE_AUTHENTICATOR: 'AUTHORIZER' });
    t.match(fields.GIVEN, /REMOTE_PASSWD/);
    t.notOk('REMOTE_PASSWD' in fields, 'the password stays with the authenticator');
  });

  await site.check('an authorizer decides, and not Require', async (t) => {
    const { status, fields } = await site.request('/accounts/1', withHeaders(ada));
    t.equal(status, 200);
    t.match(fields, { REMOTE_USER: 'ada', GATE_AUTHORIZER: 'AUTHORIZER' });
    const denied = await site.request('/accounts/1', withHeaders(bob));
    t.equal(denied.status, 403);
    t.equal(denied.text, 'not for bob\n');
    t.equal((await site.request('/accounts/1')).status, 401);
  });

  await site.check('"Require all granted" does not keep it from being asked', async (t) => {
    t.equal((await site.request('/open')).status, 401);
    t.equal((await site.request('/open', withHeaders(ada))).status, 200);
  });

  await site.check('one that is not authoritative leaves others to the next', async (t) => {
    t.equal((await site.request('/lenient', withHeaders(ada))).status, 200);
    const { status, fields } = await site.request('/lenient', withHeaders(carol));
    t.equal(status, 200);
    t.equal(fields.REMOTE_USER, 'carol');
    t.equal((await site.request('/lenient', withHeaders(credentials('eve', 'x')))).status, 401);
    t.equal((await site.request('/lenient', withHeaders(bob))).status, 401, 'Require has a say');
  });

  await site.check('"Satisfy Any": one yes is enough', async (t) => {
    t.equal((await site.request('/either')).status, 200);
    const header: Header = ['X-Verdict', '403 no'];
    t.equal((await site.request('/either', withHeaders(header))).status, 401);
    const { status, fields } = await site.request('/either', withHeaders(header, ada));
    t.equal(status, 200);
    t.equal(fields.REMOTE_USER, 'ada');
  });
}

async function brokenOnes(site: Site, broken: string): Promise<void> {
  await site.check('one that cannot start is answered 503, authoritative or not', async (t) => {
    const answer = await site.request('/broken');
    t.equal(answer.status, 503);
    t.ok(await site.errorLine(new RegExp(broken)));
    t.equal((await site.request('/broken/free')).status, 200);
  });

  await site.check('one that dies, breaks off or talks nonsense lets nobody in', async (t) => {
    for (const how of ['die', 'half', 'garbage']) {
      const answer = await site.request('/door/page.html', verdict(how));
      t.equal(answer.status, 502, how);
      t.notMatch(answer.text, /behind the door/);
    }
    t.equal((await site.request('/door/page.html')).status, 200);
  });
}

async function wrongConfigurations(site: Site, gate: string): Promise<void> {
  await site.check('what cannot be asked fails the test of the configuration', async (t) => {
    const other = await Site.create(t, site.server);
    for (const [line, complaint] of [
      ['FastCgiAuthorizer nobody', /FastCgiAuthorizer nobody: no AppClass/],
      ['FastCgiAccessChecker /no/such/file', /\/no\/such\/file.* does not exist/],
      [`FastCgiAuthenticator ${gate} -fast`, /unknown option "-fast"/],
      [`FastCgiAuthenticatorAuthoritative maybe`, /must be On or Off/],
    ] as const) {
      const apache = `<Location /x>\n${line}\n</Location>`;
      const { status, output } = await other.checkConfiguration({ apache });
      t.not(status, 0, line);
      t.match(output, complaint);
    }
    const outside = await other.checkConfiguration({ apache: `FastCgiAuthorizer ${gate}` });
    t.match(outside.output, /not allowed here/);
  });
}

async function underNginx(site: Site): Promise<void> {
  const echo = site.program('bin/echo');
  const gate = site.program('bin/gate', 'gatekeeper.pl');
  const broken = site.program('bin/broken', 'exits-with-stderr');
  await site.start({
    nginx: `
      usher_app ${echo} processes=1;
      usher_app gate command=${gate} on_demand=2 restart_delay=0;
      usher_app ${broken} on_demand=1;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        location /accounts {
          auth_request /gate;
          auth_request_set $gate_all $upstream_http_variable_gate_all;
          usher_pass ${echo};
          include fastcgi_params;
          fastcgi_param REMOTE_USER $remote_user;
          fastcgi_param GATE_ALL $gate_all;
        }
        location = /gate {
          internal;
          usher_pass gate;
          include fastcgi_params;
          fastcgi_param CONTENT_LENGTH "";
          fastcgi_pass_request_body off;
        }
        location /broken { auth_request /broken-gate; usher_pass ${echo}; include fastcgi_params; }
        location = /broken-gate {
          internal;
          usher_pass ${broken};
          include fastcgi_params;
        }
      }`,
  });

  await site.check('auth_request asks the same program, with role RESPONDER', async (t) => {
    const { status, fields } = await site.request('/accounts/1', withHeaders(ada));
    t.equal(status, 200);
    t.match(fields, { REMOTE_USER: 'ada', GATE_ALL: 'RESPONDER' });
    const nobody = await site.request('/accounts/1');
    t.equal(nobody.status, 401);
    t.same(nobody.header('www-authenticate'), ['Basic realm="gatekeeper"']);
    t.equal((await site.request('/accounts/1', withHeaders(bob))).status, 403);
    const denied = await site.request('/accounts/1', withHeaders(ada, ['X-Verdict', '403 no']));
    t.equal(denied.status, 403);
  });

  await site.check('a body goes to the program behind, whole', async (t) => {
    const body = pattern(70_000);
    const headers = [ada];
    const { fields } = await site.request('/accounts/1', { method: 'POST', body, headers });
    t.match(fields, { body_bytes: '70000', body_crc32: hex(checksum(body)) });
  });

  await site.check('one that cannot be asked lets nobody in', async (t) => {
    t.equal((await site.request('/broken')).status, 500);
    t.ok(await site.errorLine(new RegExp(broken)));
    t.ok(await site.errorLine(/unexpected status: 503/));
    for (const how of ['die', 'garbage']) {
      const answer = await site.request('/accounts/1', withHeaders(ada, ['X-Verdict', how]));
      t.equal(answer.status, 500, how);
    }
  });
  await site.settled();
}
