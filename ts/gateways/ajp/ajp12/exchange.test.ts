// SPDX-License-Identifier: Apache-2.0
// AJP 1.2: requests and answers between a web server and an engine that keeps to the protocol.
import t, { type Test } from 'tap';
import type { Answer } from '../../testing/client.ts';
import { FakeEngine } from '../testing/fake-engine.ts';
import { request, World, type WorldOptions } from '../testing/world.ts';

const text = ({ stdout }: Answer): string => stdout.toString('latin1');
const body = (answer: Answer): string => text(answer).split('\r\n\r\n').slice(1).join('\r\n\r\n');

async function world(t: Test, given: WorldOptions = {}): Promise<[World, FakeEngine]> {
  const engine = await FakeEngine.listen(t);
  const backends = [{ name: engine.name, ...given.backends?.[0] }];
  const options = { protocol: 'ajp12', ...given.options } as const;
  return [await World.begin(t, { ...given, options, backends }), engine];
}

t.test('a request and its answer', async (t) => {
  const [w, engine] = await world(t, {
    backends: [{ route: 'r1' }],
    options: { attributes: ['TENANT'] },
  });
  const client = w.request({
    DOCUMENT_URI: '/a b',
    QUERY_STRING: 'x=1',
    HTTP_HOST: 'h.org',
    HTTP_X_TEST: 'yes',
    HTTP_CONNECTION: 'close',
    REMOTE_ADDR: '10.1.1.1',
    REMOTE_PORT: '999',
    REMOTE_USER: 'anna',
    AUTH_TYPE: 'Basic',
    SERVER_NAME: 's.org',
    SERVER_PORT: '443',
    SERVER_SOFTWARE: 'nginx/1',
    HTTPS: 'on',
    SSL_PROTOCOL: 'TLSv1.3',
    SSL_CLIENT_CERT: '-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n',
    TENANT: 'blue',
  });
  const [received, connection] = await engine.request();
  t.match(received, {
    method: 'GET',
    requestUri: '/a%20b',
    queryString: 'x=1',
    engineHost: '127.0.0.1',
    remoteAddr: '10.1.1.1',
    remoteUser: 'anna',
    authType: 'Basic',
    serverName: 's.org',
    serverPort: 443,
    serverProtocol: 'HTTP/1.1',
    serverSoftware: 'nginx/1',
    route: 'r1',
    zone: '',
    servlet: '',
  });
  t.same(received.fields, [
    ['Host', 'h.org'],
    ['X-Test', 'yes'],
    ['Content-Length', '0'],
  ]);
  t.same(received.environment, [
    ['HTTPS', 'on'],
    ['SSL_PROTOCOL', 'TLSv1.3'],
    ['REMOTE_PORT', '999'],
    ['TENANT', 'blue'],
    ['JK_LB_ACTIVATION', 'ACT'],
  ]);
  connection.end('Status: 201 Created\r\nContent-Type: text/plain\r\n\r\nhello');
  const answer = await client.answer();
  t.equal(
    text(answer),
    'Status: 201 Created\r\nContent-Type: text/plain\r\n' +
      `X-Usher-Backend: ${engine.name}\r\nX-Usher-Route: r1\r\n\r\nhello`,
  );
  t.equal(answer.stderr, '');
});

t.test('servlets by their names', async (t) => {
  const zones = [
    { path: '/app/servlets', zone: 'root' },
    { path: '/app/servlets/deep', zone: 'deep' },
    { path: '/app/any', zone: null },
  ];
  const [w, engine] = await world(t, { options: { zones, mount: '/shop', context: '/app' } });
  engine.onRequest = ({ zone, servlet, scriptName, pathInfo, requestUri }, connection) => {
    connection.end(`A: b\n\n${[zone, servlet, scriptName, pathInfo, requestUri].join('|')}`);
  };
  const named = async (rest: string, expected: string) => {
    const answer = await w.request({ DOCUMENT_URI: `/shop/${rest}` }).answer();
    t.equal(body(answer), `${expected}|/app/${rest.replace(' ', '%20')}`, rest);
  };
  await named('servlets/cart', 'root|cart|/app/servlets/cart|');
  await named('servlets/cart/a b/', 'root|cart|/app/servlets/cart|/a b/');
  await named('servlets/cart;jsessionid=1.a/x', 'root|cart|/app/servlets/cart|/x');
  await named('servlets/', 'root||/app/servlets|/');
  await named('servlets', 'root||/app/servlets|');
  await named('servlets/deep/cart', 'deep|cart|/app/servlets/deep/cart|');
  await named('servletsx/cart', '|||');
  await named('any/deep;x/cart;y/z', 'deep|cart|/app/any/deep/cart|/z');
  await named('any/deep', 'deep||/app/any|/deep');
  await named('any', '||/app/any|');
  const itself = await w
    .request({ DOCUMENT_URI: '/shop/servlets/org.apache.jserv.JServ' })
    .answer();
  t.match(text(itself), /^Status: 403 Forbidden\r\n/);
  t.match(itself.stderr, /names the engine's own servlet/);
});

t.test('each request has a connection; the web server keeps its own', async (t) => {
  const [w, engine] = await world(t);
  engine.onRequest = ({ requestUri }, connection) => connection.end(`A: b\n\n${requestUri}`);
  const client = w.request({ DOCUMENT_URI: '/1' });
  t.equal(body(await client.answer()), '/1');
  for (const uri of ['/2', '/3']) {
    client.send({ params: request({ DOCUMENT_URI: uri }), keepConn: true });
    t.equal(body(await client.answer()), uri);
  }
  t.equal(engine.connections.length, 3);
  await engine.until(() => engine.connections.every(({ isClosed }) => isClosed));
});

t.test('bodies', async (t) => {
  const [w, engine] = await world(t);

  await t.test('of known length, as they are', async (t) => {
    const sent = Buffer.alloc(3_000_000, '0123456789');
    const client = w.request({}, sent);
    const [{ fields }, connection] = await engine.request();
    t.same(fields, [['Content-Length', '3000000']]);
    await engine.until(() => connection.isBodyWhole);
    t.ok(connection.body.equals(sent));
    connection.end('A: b\n\nok');
    t.equal(body(await client.answer()), 'ok');
  });

  await t.test('an answer is read while the body is sent', async (t) => {
    const client = w.client();
    client.sendHead({ params: request({ CONTENT_LENGTH: '6' }), keepConn: true });
    const [, connection] = await engine.request();
    client.sendBody(Buffer.from('abc'));
    await engine.until(() => connection.body.length === 3);
    connection.send('A: b\n\nfirst');
    await client.output('first');
    client.sendBody(Buffer.from('def'));
    client.endBody();
    await engine.until(() => connection.isBodyWhole);
    connection.end(' second');
    t.equal(body(await client.answer()), 'first second');
  });

  await t.test('an engine that does not read them is not overrun', async (t) => {
    const client = w.client();
    client.sendHead({ params: request({ CONTENT_LENGTH: '30000000' }), keepConn: true });
    const [, connection] = await engine.request();
    connection.socket.pause();
    const part = Buffer.alloc(1_000_000, 'x');
    for (let i = 0; i < 30; i++) client.sendBody(part);
    client.endBody();
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.ok(client.socket.writableLength > 5_000_000, 'most of it stays with the web server');
    connection.socket.resume();
    await engine.until(() => connection.isBodyWhole);
    t.equal(connection.body.length, 30_000_000);
    connection.end('A: b\n\nok');
    t.equal(body(await client.answer()), 'ok');
  });

  await t.test('of unknown length: it is learnt first', async (t) => {
    for (const bytes of [0, 5, 1 << 20]) {
      const before = engine.connections.length;
      const client = w.client();
      const params = request({ REQUEST_METHOD: 'POST', HTTP_TRANSFER_ENCODING: 'chunked' });
      client.sendHead({ params, keepConn: true });
      if (bytes > 0) client.sendBody(Buffer.alloc(bytes - 1, 'x'));
      if (bytes > 0) client.sendBody(Buffer.from('y'));
      t.equal(engine.connections.length, before, 'nothing is sent yet');
      client.endBody();
      const [{ fields }, connection] = await engine.request();
      t.same(fields, [['Content-Length', String(bytes)]]);
      await engine.until(() => connection.isBodyWhole);
      t.equal(connection.body.length, bytes);
      connection.end('A: b\n\nok');
      t.equal(body(await client.answer()), 'ok');
    }
  });

  await t.test('of unknown length, and too long: 411', async (t) => {
    const before = engine.connections.length;
    const params = request({ REQUEST_METHOD: 'POST', HTTP_TRANSFER_ENCODING: 'chunked' });
    const client = w.client();
    client.send({ params, body: Buffer.alloc((1 << 20) + 1), keepConn: true });
    const answer = await client.answer();
    t.match(text(answer), /^Status: 411 Length Required\r\n/);
    t.match(answer.stderr, /more than 1048576 bytes without Content-Length/);
    t.equal(engine.connections.length, before, 'the engine has not heard of it');
  });
});

t.test('answers', async (t) => {
  const [w, engine] = await world(t);
  const read = async (stream: string, params: Record<string, string> = {}): Promise<Answer> => {
    const client = w.request(params);
    const [, connection] = await engine.request();
    connection.end(stream);
    return client.answer();
  };

  await t.test('as servlets write them', async (t) => {
    const cases: [what: string, stream: string, head: RegExp, body: string][] = [
      ['no status', 'Content-Type: a/b\n\nx', /^Status: 200 OK\r\nContent-Type: a\/b\r\n/, 'x'],
      ['a status', 'Status: 404 Gone Fishing\r\n\r\nx', /^Status: 404 Gone Fishing\r\n/, 'x'],
      ['a redirect', 'Location: /next\n\n', /^Status: 302 Found\r\nLocation: \/next\r\n/, ''],
      [
        'a redirect that says 200',
        'Status: 200 OK\nLocation: /next\nA: b\n\nx',
        /^Status: 302 Found\r\nLocation: \/next\r\nA: b\r\n/,
        'x',
      ],
      [
        'a location that is none',
        'Status: 201 Created\nLocation: /next\n\n',
        /^Status: 201 Created\r\nLocation/,
        '',
      ],
      ['of its length', 'Content-Length: 1\n\nx', /Content-Length: 1\r\n/, 'x'],
      ['one that has no body', 'Status: 304 N\nContent-Length: 1\n\nx', /^Status: 304 N\r\n/, ''],
      ['framing', 'Transfer-Encoding: gzip\nA: b\n\nx', /^Status: 200 OK\r\nA: b\r\n/, 'x'],
    ];
    for (const [what, stream, head, expected] of cases) {
      const answer = await read(stream);
      t.match(text(answer), head, what);
      t.equal(body(answer), expected, what);
      t.equal(answer.stderr, '', what);
    }
    const headOnly = await read('Content-Length: 3\n\n', { REQUEST_METHOD: 'HEAD' });
    t.match(text(headOnly), /Content-Length: 3\r\n/);
    t.equal(headOnly.stderr, '');
  });

  await t.test('Servlet-Error goes to the log', async (t) => {
    const answer = await read('Status: 500 Oh\nServlet-Error: no such class\n\nsorry');
    t.match(text(answer), /^Status: 500 Oh\r\nX-Usher/);
    t.equal(body(answer), 'sorry');
    t.equal(answer.stderr.trim(), `backend ${engine.name}: no such class`);
  });

  await t.test('however they are cut', async (t) => {
    const stream = 'Status: 200 Fine\r\nContent-Length: 5\r\nA: b\r\n\r\nhello';
    const whole = text(await read(stream));
    t.match(whole, /^Status: 200 Fine\r\n/);
    for (let at = 1; at < stream.length; at++) {
      const client = w.request();
      const [, { socket }] = await engine.request();
      socket.setNoDelay(true);
      socket.write(stream.slice(0, at), () => setImmediate(() => socket.end(stream.slice(at))));
      t.equal(text(await client.answer()), whole, `cut at ${at}`);
    }
  });
});

t.test('whether an engine is there is asked by a ping', async (t) => {
  const answered = async (w: World) => body(await w.request().answer());
  const asked = async (t: Test, options: WorldOptions['options']) => {
    const [w, engine] = await world(t, { options: { pingTimeoutMs: 60_000, ...options } });
    engine.onRequest = (_, connection) => connection.end('A: b\n\nok');
    return [w, engine] as const;
  };
  await t.test('before each request', async (t) => {
    const [w, engine] = await asked(t, { pingPrepostMs: 60_000 });
    for (const count of [1, 2, 3]) {
      t.equal(await answered(w), 'ok');
      t.equal(engine.pings, count);
    }
  });
  await t.test('that nobody knows yet', async (t) => {
    const [w, engine] = await asked(t, { pingConnectMs: 60_000 });
    for (let i = 0; i < 3; i++) t.equal(await answered(w), 'ok');
    t.equal(engine.pings, 1);
  });
  await t.test('that was silent for a while', async (t) => {
    const [w, engine] = await asked(t, { pingIntervalMs: 5 });
    t.equal(await answered(w), 'ok');
    t.equal(engine.pings, 0);
    await new Promise((resolve) => setTimeout(resolve, 20));
    t.equal(await answered(w), 'ok');
    t.equal(engine.pings, 1);
  });
  await t.test('that was not', async (t) => {
    const [w, engine] = await asked(t, { pingIntervalMs: 600_000 });
    for (let i = 0; i < 3; i++) t.equal(await answered(w), 'ok');
    t.equal(engine.pings, 0);
  });
});
