// SPDX-License-Identifier: Apache-2.0
// Requests and answers between a web server and backends that keep to the protocol.
import t, { type Test } from 'tap';
import type { Answer } from '../testing/client.ts';
import { chunk, end, getBody, head, whole } from './testing/fake-backend.ts';
import { request, World, type WorldOptions } from './testing/world.ts';

const text = ({ stdout }: Answer): string => stdout.toString('latin1');
const body = (answer: Answer): string => text(answer).split('\r\n\r\n').slice(1).join('\r\n\r\n');

async function world(t: Test, options: WorldOptions = {}): Promise<World> {
  return World.begin(t, options);
}

t.test('a request and its answer', async (t) => {
  const { name } = await world(t).then(async (w) => {
    const client = w.request({
      DOCUMENT_URI: '/a b',
      QUERY_STRING: 'x=1',
      HTTP_HOST: 'h.org',
      HTTP_X_TEST: 'yes',
      REMOTE_ADDR: '10.1.1.1',
      REMOTE_PORT: '999',
    });
    const [received, connection] = await w.backend.request();
    t.match(received, {
      method: 'GET',
      uri: '/a%20b',
      remoteAddr: '10.1.1.1',
      headers: { host: 'h.org', 'x-test': 'yes', 'content-length': '0' },
      attributes: { query_string: 'x=1', AJP_REMOTE_PORT: '999', JK_LB_ACTIVATION: 'ACT' },
    });
    connection.send(whole('hello', 201, { 'Content-Type': 'text/plain' }));
    const answer = await client.answer();
    t.equal(
      text(answer),
      'Status: 201 Created\r\nContent-Type: text/plain\r\n' +
        `X-Usher-Backend: ${w.backend.name}\r\n\r\nhello`,
    );
    t.equal(answer.stderr, '');
    t.equal(answer.records.length, 3, 'one piece of output, its end, the end of the request');
    return w.backend;
  });
  t.match(name, 'unix:');
});

t.test('connections are kept on both sides', async (t) => {
  const w = await world(t, { secret: 'geheim', backends: [{ route: 'r1' }] });
  w.backend.onRequest = ({ uri, attributes }, connection) =>
    connection.send(whole(`${uri} ${attributes.secret} ${attributes.route}`));
  const client = w.request({ DOCUMENT_URI: '/1' });
  t.equal(body(await client.answer()), '/1 geheim r1');
  for (let i = 2; i < 5; i++) {
    client.send({ params: request({ DOCUMENT_URI: `/${i}` }), keepConn: true });
    const answer = await client.answer();
    t.equal(body(answer), `/${i} geheim r1`);
    t.match(text(answer), 'X-Usher-Route: r1\r\n');
  }
  t.equal(w.backend.connections.length, 1);
});

t.test('a body of known length: one part unasked, then as it is asked for', async (t) => {
  const w = await world(t);
  const sent = Buffer.from('0123456789'.repeat(2000));
  const client = w.request({}, sent);
  const [received, connection] = await w.backend.request();
  t.equal(received.headers['content-length'], '20000');
  const parts = [await connection.data()];
  t.equal(parts[0]?.length, 8186, 'as much as fits a packet');
  connection.send(getBody(100));
  parts.push(await connection.data());
  t.equal(parts[1]?.length, 100, 'no more than was asked for');
  for (let i = 0; i < 2; i++) {
    connection.send(getBody(8186));
    parts.push(await connection.data());
  }
  t.same(Buffer.concat(parts), sent);
  for (let i = 0; i < 2; i++) {
    connection.send(getBody(8186));
    t.equal((await connection.data()).length, 0, 'the end, as often as it is asked for');
  }
  connection.send(whole('ok'));
  t.equal(body(await client.answer()), 'ok');
  client.send({ params: request() });
  await connection.request();
  t.equal(w.backend.connections.length, 1, 'the connection is used again');
});

t.test('CVE-2022-26377: of a body of unknown length nothing is sent unasked', async (t) => {
  const w = await world(t);
  const client = w.client();
  const params = { ...request(), REQUEST_METHOD: 'POST', HTTP_TRANSFER_ENCODING: 'Chunked' };
  client.sendHead({ params, keepConn: true });
  client.sendBody(Buffer.from('abc'));
  const [received, connection] = await w.backend.request();
  t.equal(received.headers['content-length'], undefined);
  t.equal(received.headers['transfer-encoding'], undefined);
  client.sendBody(Buffer.from('def'));
  connection.send(getBody(4));
  t.match((await connection.data()).toString(), /^abc/);
  connection.send(getBody(8186));
  t.match((await connection.data()).toString(), /f$/);
  connection.send(getBody(8186));
  client.endBody();
  t.equal((await connection.data()).length, 0);
  connection.send(whole('ok'));
  t.equal(body(await client.answer()), 'ok');
  t.equal(connection.unread, 0);
});

t.test('CVE-2022-26377, CVE-2022-36760: other encodings do not get to a backend', async (t) => {
  const w = await world(t);
  for (const encoding of [
    'gzip, chunked',
    'chunked, chunked',
    'identity',
    ' chunked',
    'xchunked',
  ]) {
    const answer = await w.request({ HTTP_TRANSFER_ENCODING: encoding }).answer();
    t.match(text(answer), 'Status: 501 Not Implemented\r\n', encoding);
    t.match(answer.stderr, 'Transfer-Encoding');
  }
  const both = { HTTP_TRANSFER_ENCODING: 'chunked', HTTP_CONTENT_LENGTH: '3' };
  t.match(text(await w.request(both, 'abc').answer()), 'Status: 400 Bad Request\r\n');
  t.match(text(await w.request({ CONTENT_LENGTH: '3x' }).answer()), 'Status: 400 Bad Request\r\n');
  t.equal(w.backend.connections.length, 0);
});

t.test('a chunked body that the web server has read: it knows the length', async (t) => {
  const w = await world(t);
  w.request({ HTTP_TRANSFER_ENCODING: 'chunked' }, 'abc');
  const [received, connection] = await w.backend.request();
  t.equal(received.headers['content-length'], '3');
  t.equal((await connection.data()).toString(), 'abc');
});

t.test('a body that nothing announced', async (t) => {
  const w = await world(t);
  const client = w.client();
  client.sendHead({ params: request({ REQUEST_METHOD: 'POST' }), keepConn: true });
  client.sendBody(Buffer.from('abc'));
  client.endBody();
  const [received, connection] = await w.backend.request();
  t.equal(received.headers['content-length'], undefined);
  connection.send(getBody(8186));
  t.equal((await connection.data()).toString(), 'abc');
  connection.send(getBody(8186));
  t.equal((await connection.data()).length, 0);
});

t.test('a body in small pieces is passed on as it comes', async (t) => {
  const w = await world(t);
  const client = w.client();
  client.sendHead({ params: request({ CONTENT_LENGTH: '6' }), keepConn: true });
  const [, connection] = await w.backend.request();
  client.sendBody(Buffer.from('abc'));
  t.equal((await connection.data()).toString(), 'abc');
  connection.send(getBody(8186));
  client.sendBody(Buffer.from('def'));
  t.equal((await connection.data()).toString(), 'def');
  connection.send(getBody(8186));
  t.equal(
    (await connection.data()).length,
    0,
    'all of it has come, though its end was not said yet',
  );
});

t.test('a large body does not fill the memory', async (t) => {
  const w = await world(t);
  const client = w.client();
  const piece = Buffer.alloc(32_000, 'x');
  const pieces = 200;
  const length = pieces * piece.length;
  client.sendHead({ params: request({ CONTENT_LENGTH: String(length) }), keepConn: true });
  for (let i = 0; i < pieces; i++) client.sendBody(piece);
  client.endBody();
  const [, connection] = await w.backend.request();
  let received = (await connection.data()).length;
  await new Promise((resolve) => setTimeout(resolve, 50));
  t.ok(
    client.socket.writableLength > length / 2,
    'what the backend does not ask for stays outside',
  );
  while (received < length) {
    connection.send(getBody(8186));
    received += (await connection.data()).length;
  }
  t.equal(received, length);
  connection.send(whole('ok'));
  t.equal(body(await client.answer()), 'ok');
});

t.test('an answer in pieces is passed on as it comes', async (t) => {
  const w = await world(t);
  const client = w.request();
  const [, connection] = await w.backend.request();
  connection.send(head(), chunk(''));
  await client.output('\r\n\r\n');
  connection.send(chunk('first'));
  await client.output('first');
  connection.send(chunk(''), chunk('second'), chunk(''));
  await client.output('second');
  connection.send(end());
  t.equal(body(await client.answer()), 'firstsecond');
});

t.test('GET_BODY_CHUNK in the middle of an answer', async (t) => {
  const w = await world(t);
  const client = w.client();
  client.sendHead({ params: request({ HTTP_TRANSFER_ENCODING: 'chunked' }), keepConn: true });
  client.sendBody(Buffer.from('abc'));
  const [, connection] = await w.backend.request();
  connection.send(head(), chunk('1'), getBody(8186));
  t.equal((await connection.data()).toString(), 'abc');
  connection.send(chunk('2'));
  await client.output('12');
  client.endBody();
  connection.send(getBody(8186));
  t.equal((await connection.data()).length, 0);
  connection.send(end());
  t.equal(body(await client.answer()), '12');
});

t.test(
  'an answer that is there before the body: the part that was promised still goes',
  async (t) => {
    const w = await world(t);
    const client = w.client();
    client.sendHead({ params: request({ CONTENT_LENGTH: '6' }), keepConn: true });
    const [, connection] = await w.backend.request();
    connection.send(head(413), chunk('no'));
    await client.output('no');
    client.sendBody(Buffer.from('abc'));
    t.equal((await connection.data()).toString(), 'abc');
    connection.send(end());
    t.equal(body(await client.answer()), 'no');
    client.sendBody(Buffer.from('def'));
    client.endBody();
    client.send({ params: request({ DOCUMENT_URI: '/next' }) });
    t.equal((await connection.request()).uri, '/next', 'both connections serve the next request');
  },
);

t.test(
  'CVE-2011-3190: END before the promised part: the connection is not used again',
  async (t) => {
    const w = await world(t);
    const client = w.client();
    client.sendHead({ params: request({ CONTENT_LENGTH: '6' }), keepConn: true });
    const [, connection] = await w.backend.request();
    connection.send(whole('no', 413));
    t.equal(body(await client.answer()), 'no');
    client.sendBody(Buffer.from('abcdef'));
    client.endBody();
    await connection.closed();
    t.equal(connection.unread, 0, 'and the body does not go there');
    client.send({ params: request() });
    await w.backend.request();
  },
);

t.test('answers without a body', async (t) => {
  const w = await world(t);
  w.backend.onRequest = ({ uri }, connection) =>
    connection.send(whole('body', Number(uri.slice(1)), { 'Content-Length': '4' }));
  const client = w.request({ DOCUMENT_URI: '/200', REQUEST_METHOD: 'HEAD' });
  const answer = await client.answer();
  t.match(text(answer), 'Content-Length: 4\r\n');
  t.equal(body(answer), '', 'HEAD');
  for (const status of ['204', '205', '304']) {
    client.send({ params: request({ DOCUMENT_URI: `/${status}` }), keepConn: true });
    t.equal(body(await client.answer()), '', status);
  }
  t.equal(w.backend.connections.length, 1);
});

t.test('methods', async (t) => {
  const w = await world(t);
  w.backend.onRequest = ({ method, attributes }, connection) =>
    connection.send(whole(`${method} ${attributes.stored_method ?? ''}`));
  const client = w.request({ REQUEST_METHOD: 'PUT' });
  t.equal(body(await client.answer()), 'PUT ');
  client.send({ params: request({ REQUEST_METHOD: 'PATCH' }), keepConn: true });
  t.equal(body(await client.answer()), 'stored PATCH');
});

t.test('packets of another size', async (t) => {
  const w = await world(t, { options: { packetBytes: 65536 } });
  const cookie = 'c'.repeat(50_000);
  const sent = Buffer.alloc(65530, 'x');
  const client = w.request({ HTTP_COOKIE: cookie }, sent);
  const [received, connection] = await w.backend.request();
  t.equal(received.headers.cookie, cookie);
  t.same(await connection.data(), sent);
  const part = 'y'.repeat(65528);
  connection.send(whole(part));
  t.equal(body(await client.answer()), part);
});

t.test('CVE-2022-2053: a head that fits no packet is refused by us', async (t) => {
  const w = await world(t);
  const answer = await w.request({ HTTP_COOKIE: 'c'.repeat(8200) }).answer();
  t.match(text(answer), 'Status: 431 Request Header Fields Too Large\r\n');
  t.match(answer.stderr, '8192');
  t.match(await w.state(0, ({ busy }) => busy === 0), { state: 'ok', failures: 0 });
  w.backend.onRequest = (_, connection) => connection.send(whole('ok'));
  t.equal(body(await w.request().answer()), 'ok');
  t.equal(w.backend.connections.length, 1);
});

t.test('a slow reader stops its backend', async (t) => {
  const w = await world(t);
  const client = w.request();
  const [, connection] = await w.backend.request();
  client.socket.pause();
  client.isCounting = true;
  const part = chunk('z'.repeat(8000));
  const parts = 2000;
  connection.send(head(), ...Array.from({ length: parts }, () => part), end());
  await new Promise((resolve) => setTimeout(resolve, 100));
  t.ok(connection.socket.writableLength > (parts * 8000) / 2, 'most of it stays at the backend');
  client.socket.resume();
  await client.answer();
  t.ok(client.stdoutBytes > parts * 8000);
  client.isCounting = false;
  client.send({ params: request() });
  await connection.request();
});

t.test('what waits for a slow reader is not written over by what others get', async (t) => {
  const w = await world(t);
  const part = (i: number): Buffer => Buffer.alloc(8000, `${i} `);
  const parts = Array.from({ length: 500 }, (_, i) => part(i));
  const slow = w.request();
  const [, connection] = await w.backend.request();
  slow.socket.pause();
  connection.send(head(), ...parts.map(chunk), end());
  const other = w.request();
  const [, next] = await w.backend.request();
  for (let i = 0; i < 5; i++) {
    if (i > 0) {
      other.send({ params: request(), keepConn: true });
      await next.request();
    }
    next.send(head(), ...parts.slice(0, 9).map(() => chunk('x'.repeat(8000))), end());
    t.ok(/^x{72000}$/.test(body(await other.answer())));
  }
  slow.socket.resume();
  t.ok(body(await slow.answer()) === Buffer.concat(parts).toString('latin1'));
});

t.test('what waits of a body is not written over by other bodies', async (t) => {
  const w = await world(t);
  const sent = ['a', 'b'].map((letter) => Buffer.alloc(30_000, `${letter}1${letter}2${letter}`));
  const clients = [];
  const connections = [];
  for (const bytes of sent) {
    clients.push(w.request({}, bytes));
    connections.push((await w.backend.request())[1]);
  }
  for (const [i, connection] of connections.entries()) {
    const received = [await connection.data()];
    while (Buffer.concat(received).length < 30_000) {
      connection.send(getBody(8186));
      received.push(await connection.data());
    }
    t.ok(Buffer.concat(received).equals(sent[i] as Buffer));
    connection.send(whole('ok'));
    t.equal(body(await (clients[i] as (typeof clients)[0]).answer()), 'ok');
  }
});

t.test('addresses', async (t) => {
  const { FakeBackend } = await import('./testing/fake-backend.ts');
  for (const host of ['127.0.0.1', '::1']) {
    const backend = await FakeBackend.listen(host);
    t.teardown(() => backend.close());
    backend.onRequest = (_, connection) => connection.send(whole('ok'));
    const w = await world(t, { backends: [{ name: backend.name }] });
    const answer = await w.request().answer();
    t.equal(body(answer), 'ok');
    t.match(text(answer), `X-Usher-Backend: ${backend.name}\r\n`);
  }
  await t.rejects(world(t, { backends: [{ name: 'nonsense' }] }), {
    message: /nonsense: expected/,
  });
});

t.test('mount and context', async (t) => {
  const w = await world(t, { options: { mount: '/shop', context: '/app' } });
  w.backend.onRequest = ({ uri }, connection) =>
    connection.send(whole(uri, 302, { Location: '/app/next', 'Set-Cookie': 'a=b; Path=/app' }));
  const answer = await w.request({ DOCUMENT_URI: '/shop/x' }).answer();
  t.equal(body(answer), '/app/x');
  t.match(text(answer), 'Location: /shop/next\r\nSet-Cookie: a=b; Path=/shop\r\n');
  const outside = await w.request({ DOCUMENT_URI: '/x' }).answer();
  t.match(text(outside), 'Status: 404 Not Found\r\n');
});

t.test('states for the manager', async (t) => {
  const w = await world(t);
  const client = w.request();
  const [, connection] = await w.backend.request();
  t.match(await w.state(0, ({ busy }) => busy === 1), { requests: 1, state: 'ok' });
  connection.send(whole('ok'));
  await client.answer();
  t.match(await w.state(0, ({ busy }) => busy === 0), { requests: 1, failures: 0 });
});
