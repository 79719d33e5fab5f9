// SPDX-License-Identifier: Apache-2.0
// Tomcat behind the AJP gateway behind a web server: what gets through, whole and unchanged, and what
// happens when Tomcat is gone, refuses, or is busy.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { AjpGateway, type AjpGatewayOptions } from './servers/ajp-gateway.ts';
import { checksum, hex, pattern, RawClient } from './servers/client.ts';
import { eventually } from './servers/eventually.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { descriptorCount } from './servers/processes.ts';
import { Site } from './servers/site.ts';
import { stockNginx } from './servers/stock.ts';
import { Tomcat } from './servers/tomcat.ts';

/** A web server in front of a gateway; `more` stands in its location. */
async function site(t: Test, given: AjpGatewayOptions, more = ''): Promise<[Site, AjpGateway]> {
  const gateway = await AjpGateway.start(t, given);
  const site = await Site.create(t, stockNginx);
  await site.start({
    nginx: `
      client_max_body_size 0;
      large_client_header_buffers 4 128k;
      fastcgi_keep_conn on;
      ${more}
      location / { fastcgi_pass unix:${gateway.socket}; }
      location /unbuffered/ {
        rewrite ^/unbuffered(.*) $1 break;
        fastcgi_pass unix:${gateway.socket};
        fastcgi_request_buffering off;
        fastcgi_buffering off;
      }`,
  });
  return [site, gateway];
}

t.test('requests and answers', async (t) => {
  const tomcat = await Tomcat.start(t, { secret: 'geheim', route: 'r1' });
  const backends = [{ name: tomcat.address, route: 'r1' }];
  const [web, gateway] = await site(t, { backends, secret: 'geheim' });

  await t.test('a request', async (t) => {
    const answer = await web.request('/echo.jsp?a=%20b&c=d%2F', {
      headers: [
        ['Host', 'example.org:8080'],
        ['X-Test', 'yes'],
        ['Cookie', 'a=b'],
        ['Connection', 'close'],
      ],
    });
    t.equal(answer.status, 200);
    t.match(answer.fields, {
      method: 'GET',
      uri: '/echo.jsp',
      query: 'a=%20b&c=d%2F',
      protocol: 'HTTP/1.1',
      scheme: 'http',
      remoteAddr: '127.0.0.1',
      localAddr: '127.0.0.1',
      serverName: 'example.org',
      serverPort: '8080',
      contentLength: '0',
      'header.x-test': 'yes',
      'header.cookie': 'a=b',
      'attribute.JK_LB_ACTIVATION': 'ACT',
    });
    t.equal(answer.fields['header.connection'], undefined);
    t.ok(Number(answer.fields.remotePort) > 1024);
  });

  await t.test('bodies', async (t) => {
    for (const bytes of [1, 8186, 8187, 20_000, 1_000_000]) {
      for (const isChunked of [false, true]) {
        for (const path of ['/echo.jsp', '/unbuffered/echo.jsp']) {
          const body = pattern(bytes);
          const { fields } = await web.request(path, { method: 'POST', body, isChunked });
          t.match(
            fields,
            { method: 'POST', bodyBytes: String(bytes), bodyCrc: hex(checksum(body)) },
            `${path}, ${bytes} bytes${isChunked ? ', chunked' : ''}`,
          );
        }
      }
    }
    const unread = await web.request('/echo.jsp?unread=1', {
      method: 'POST',
      body: pattern(20_000),
    });
    t.match(unread.fields, { contentLength: '20000', bodyBytes: '0' }, 'one that nobody reads');
    t.match((await web.request('/echo.jsp')).fields, { method: 'GET' }, 'is in nobody’s way');
  });

  await t.test('answers', async (t) => {
    const teapot = await web.request('/echo.jsp?status=418&header=X-A:b');
    t.equal(teapot.status, 418);
    t.same(teapot.header('X-A'), ['b']);
    const patch = await web.request('/echo.jsp', { method: 'PATCH' });
    t.equal(patch.status, 405, 'pages take GET, HEAD and POST only');
    t.match(patch.text, 'JSP');
    const large = await web.request('/stream.jsp?bytes=3000001');
    t.equal(large.body.length, 3_000_001);
    t.equal(checksum(large.body), checksum(pattern(3_000_001)));
    const headOnly = await web.request('/echo.jsp', { method: 'HEAD' });
    t.equal(headOnly.status, 200);
    t.equal(headOnly.body.length, 0);
    t.equal((await web.request('/none')).status, 404);
    t.equal((await web.request('/echo.jsp', { headers: [['Upgrade', 'websocket']] })).status, 501);
    t.equal((await web.request('/WEB-INF/..;/echo.jsp')).status, 400);
  });

  await t.test('an answer in parts comes in parts', async (t) => {
    const client = await RawClient.get(web.port, '/unbuffered/stream.jsp?parts=2&token=parts');
    t.notMatch(await client.until('part 0'), 'part 1');
    writeFileSync(`${tomcat.dir}/temp/release-parts`, '');
    t.match(await client.all(), 'part 1');
  });

  await t.test('sessions', async (t) => {
    const first = await web.request('/session.jsp');
    t.match(first.fields, { count: '1', new: 'true' });
    const id = first.fields.id ?? '';
    t.match(id, /\.r1$/, 'the route is in it');
    t.equal(first.fields.encoded, `session.jsp;jsessionid=${id}`);
    const cookie = await web.request('/session.jsp', { headers: [['Cookie', `JSESSIONID=${id}`]] });
    t.match(cookie.fields, { id, count: '2' });
    t.match((await web.request(`/session.jsp;jsessionid=${id}`)).fields, { id, count: '3' });
  });

  await t.test('a client that leaves', async (t) => {
    const before = descriptorCount(gateway.pid);
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => RawClient.get(web.port, '/unbuffered/stream.jsp?hang=1')),
    );
    await Promise.all(clients.map((client) => client.until('begun')));
    await eventually('ten requests to be there', () => gateway.states[0]?.busy === 10);
    for (const client of clients) client.leave();
    await eventually('no request to be there', () => gateway.states[0]?.busy === 0);
    t.match((await web.request('/echo.jsp')).fields, { method: 'GET' });
    await eventually(
      'its descriptors to be closed',
      () => descriptorCount(gateway.pid) <= before + 2,
    );
  });

  await t.test('Tomcat is gone, and comes back', async (t) => {
    await tomcat.stop();
    const gone = await web.request('/echo.jsp');
    t.equal(gone.status, 503);
    t.match(await web.errorLine(/connection refused/), tomcat.address);
    t.match((await gateway.logs('backend.down'))[0], `${tomcat.address}: connection refused`);
    await tomcat.start();
    t.equal((await web.request('/echo.jsp')).status, 200, 'served at once');
    t.equal((await gateway.logs('backend.up')).length, 1);
  });

  await t.test('SIGTERM: what has begun is served', async (t) => {
    const client = await RawClient.get(web.port, '/unbuffered/stream.jsp?parts=3&ms=300');
    await client.until('part 0');
    await gateway.stop('SIGTERM');
    t.match(await client.all(), 'part 2');
    t.equal(gateway.exitCode, 0);
  });
  await web.end();
});

t.test('secrets that differ', async (t) => {
  const tomcat = await Tomcat.start(t, { secret: 'geheim' });
  for (const secret of ['falsch', undefined]) {
    const backends = [{ name: tomcat.address }];
    const [web, gateway] = await site(
      t,
      secret === undefined ? { backends } : { backends, secret },
    );
    t.equal((await web.request('/echo.jsp')).status, 403);
    const line = await web.errorLine(/-secret-file/);
    t.match(line, '`secret`');
    t.notMatch(line, 'falsch');
    t.match((await gateway.logs('backend.refused'))[0], '-secret-file');
    await gateway.becomes(0, 'ok');
    await web.end();
  }
});

t.test('long heads, TLS, attributes, a context, a UNIX socket', async (t) => {
  const tomcat = await Tomcat.start(t, {
    packetBytes: 65536,
    context: '/app',
    isUnix: true,
    connector: { allowedRequestAttributesPattern: 'TENANT', tomcatAuthentication: 'false' },
  });
  const dir = t.testdir({});
  execFileSync('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'],
    ...['-subj', '/CN=Anna', '-days', '2', '-keyout', `${dir}/key`, '-out', `${dir}/cert`],
  ]);
  const params = {
    HTTPS: 'on',
    SSL_CLIENT_CERT: readFileSync(`${dir}/cert`, 'utf8'),
    SSL_CIPHER: 'TLS_AES_256_GCM_SHA384',
    SSL_CIPHER_USEKEYSIZE: '256',
    SSL_PROTOCOL: 'TLSv1.3',
    SSL_SESSION_ID: 'abc',
    REMOTE_USER: 'anna',
    AUTH_TYPE: 'CLIENT_CERT',
    TENANT: 'blue',
  };
  const lines = Object.entries(params).map(([name, value]) => `fastcgi_param ${name} "${value}";`);
  const backends = [{ name: tomcat.address }];
  const options = { packetBytes: 65536, attributes: ['TENANT'], mount: '/shop', context: '/app' };
  const [web] = await site(t, { backends, options }, lines.join('\n'));
  const cookie = 'c'.repeat(50_000);
  const answer = await web.request('/shop/echo.jsp', { headers: [['X-Long', cookie]] });
  t.equal(answer.status, 200);
  t.match(answer.fields, {
    uri: '/app/echo.jsp',
    scheme: 'https',
    secure: 'true',
    remoteUser: 'anna',
    authType: 'CLIENT_CERT',
    'header.x-long': cookie,
    'cert.0': 'CN=Anna',
    'attribute.TENANT': 'blue',
    'attribute.jakarta.servlet.request.cipher_suite': params.SSL_CIPHER,
    'attribute.jakarta.servlet.request.key_size': '256',
    'attribute.org.apache.tomcat.util.net.secure_protocol_version': 'TLSv1.3',
  });
  const post = await web.request('/shop/echo.jsp', { method: 'POST', body: pattern(200_000) });
  t.match(post.fields, { bodyBytes: '200000', bodyCrc: hex(checksum(pattern(200_000))) });
  const moved = await web.request('/shop/echo.jsp?location=/app/next');
  t.equal(moved.status, 302);
  t.match(moved.header('Location')[0], /\/shop\/next$/);
  const session = await web.request('/shop/session.jsp');
  t.match(session.header('Set-Cookie')[0], 'Path=/shop');
  await web.end();
});

t.test('two Tomcats: sessions stay, and move when they must', async (t) => {
  const tomcats = await Promise.all(['r1', 'r2'].map((route) => Tomcat.start(t, { route })));
  const backends = tomcats.map(({ address }, i) => ({ name: address, route: `r${i + 1}` }));
  const [web, gateway] = await site(t, { backends });
  const ids = await Promise.all(
    Array.from({ length: 6 }, async () => (await web.request('/session.jsp')).fields.id ?? ''),
  );
  const routes = ids.map((id) => id.slice(id.lastIndexOf('.') + 1));
  t.same(new Set(routes), new Set(['r1', 'r2']), 'both have some');
  const ask = (id: string) =>
    web.request('/session.jsp', { headers: [['Cookie', `JSESSIONID=${id}`]] });
  for (const id of ids) t.match((await ask(id)).fields, { id, count: '2' });
  await tomcats[0]?.stop();
  for (const id of ids) {
    const { status, fields } = await ask(id);
    t.equal(status, 200);
    if (id.endsWith('.r2')) t.match(fields, { id, count: '3' });
    else t.match(fields.id, /\.r2$/, 'a new one where its backend is gone');
  }
  await gateway.becomes(0, 'failed');
  await web.end();
});

t.test('after the end', nothingLeft);
