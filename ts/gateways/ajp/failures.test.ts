// SPDX-License-Identifier: Apache-2.0
// Backends that break, are silent, or do what the protocol forbids, and clients that leave: what the
// client gets, what the log says, and that no other request suffers from it.
import { rmSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { Answer } from '../testing/client.ts';
import { chunk, end, FakeBackend, getBody, head, whole } from './testing/fake-backend.ts';
import { request, World } from './testing/world.ts';

const text = ({ stdout }: Answer): string => stdout.toString('latin1');
const body = (answer: Answer): string => text(answer).split('\r\n\r\n').slice(1).join('\r\n\r\n');

/** A request that gets these bytes, and then the end of the connection or silence. */
async function answered(t: Test, bytes: Buffer, closes = false) {
  const w = await World.begin(t);
  const client = w.request();
  const [, connection] = await w.backend.request();
  connection.send(bytes);
  if (closes) connection.socket.end();
  const answer = await client.answer();
  return { w, client, connection, answer };
}

/** The next request works, on a connection of its own. */
async function nextIsServed(t: Test, w: World): Promise<void> {
  const client = w.request({ DOCUMENT_URI: '/next' });
  const [received, connection] = await w.backend.request();
  t.equal(received.uri, '/next');
  connection.send(whole('next'));
  t.equal(body(await client.answer()), 'next', 'the next request gets its own answer');
  t.equal((await w.state(0, () => true)).state, 'ok', 'and the backend is not to blame');
}

t.test('what is no answer at all is a 502', async (t) => {
  const broken: [what: string, bytes: Buffer, cause: RegExp][] = [
    ['CVE-2023-34981: END without SEND_HEADERS', end(), /without SEND_HEADERS/],
    ['CVE-2023-34981: a body without SEND_HEADERS', chunk('x'), /before SEND_HEADERS/],
    ['a second SEND_HEADERS', Buffer.concat([head(), head()]), /second SEND_HEADERS/],
    ['1xx', head(100), /status 100/],
    ['CPONG', Buffer.from('4142000109', 'hex'), /CPONG/],
    ['no packet', Buffer.from('HTTP/1.1 200 OK\r\n\r\n'), /4854 in place of 4142/],
    ['a packet that is too long', Buffer.from('41421ffd03', 'hex'), /at most 8192/],
    ['an unknown type', Buffer.from('41420001ff', 'hex'), /packet type 255/],
    ['CR LF in a field', head(200, { 'X-A': 'b\r\nX-C: d' }), /X-A|header/i],
    [
      'CVE-2024-24795: two lengths',
      head(200, { 'Content-Length': '1', 'content-length': '2' }),
      /Content-Length/,
    ],
    ['too long', whole('abc', 200, { 'Content-Length': '2' }), /longer than its Content-Length/],
    ['too short', whole('abc', 200, { 'Content-Length': '4' }), /cut off: 1 bytes/],
    ['two parts asked for at once', Buffer.concat([getBody(10), getBody(10)]), /before it had got/],
  ];
  for (const [what, bytes, cause] of broken) {
    await t.test(what, async (t) => {
      const { w, connection, answer } = await answered(t, bytes);
      t.match(text(answer), /^Status: 502 Bad Gateway\r\n/);
      t.match(text(answer), `X-Usher-Backend: ${w.backend.name}\r\n`);
      t.equal(body(answer), '502 Bad Gateway\n');
      t.match(answer.stderr, cause);
      t.match(answer.stderr, `backend ${w.backend.name}: `);
      t.notMatch(answer.stderr, '\n', 'one line');
      await connection.closed();
      await nextIsServed(t, w);
    });
  }
});

t.test('the connection ends before the answer', async (t) => {
  const { w, answer } = await answered(t, Buffer.alloc(0), true);
  t.match(text(answer), /^Status: 502 Bad Gateway\r\n/);
  t.match(answer.stderr, 'it closed the connection, before its answer');
  await nextIsServed(t, w);
});

t.test('the answer breaks off: the web server hears of it', async (t) => {
  const cases: [what: string, rest: Buffer | null][] = [
    ['the connection ends', null],
    ['something else than AJP', Buffer.from('garbage')],
    ['a second head', head()],
  ];
  for (const [what, rest] of cases) {
    await t.test(what, async (t) => {
      const w = await World.begin(t);
      const client = w.request();
      const [, connection] = await w.backend.request();
      connection.send(head(200), chunk('half'));
      await client.output('half');
      if (rest === null) connection.socket.end();
      else connection.send(rest);
      const answer = await client.answer();
      t.equal(answer.status, null, 'no end of the request');
      t.ok(client.isClosed, 'but of the connection');
      t.equal(body(answer), 'half');
      t.match(answer.stderr, `backend ${w.backend.name}: `);
      await connection.closed();
      await nextIsServed(t, w);
    });
  }
});

t.test('CVE-2009-1191: bytes after END are nobody else’s answer', async (t) => {
  await t.test('at once', async (t) => {
    const forged = Buffer.concat([whole('mine'), whole('not for you')]);
    const { w, connection, answer } = await answered(t, forged);
    t.equal(body(answer), 'mine', 'the answer itself is whole');
    await connection.closed();
    await nextIsServed(t, w);
  });
  await t.test('later, while the connection is idle', async (t) => {
    const { w, connection, answer } = await answered(t, whole('mine'));
    t.equal(body(answer), 'mine');
    connection.send(whole('not for you'));
    await connection.closed();
    await nextIsServed(t, w);
  });
  await t.test('together with the next request', async (t) => {
    const { w, client, connection, answer } = await answered(t, whole('mine'));
    t.equal(body(answer), 'mine');
    // Both lie in the gateway's sockets before it looks at one of them.
    connection.socket.write(whole('not for you'));
    client.send({ params: request({ DOCUMENT_URI: '/next' }) });
    const [received, other] = await w.backend.request();
    t.equal(received.uri, '/next');
    other.send(whole('next'));
    t.equal(body(await client.answer()), 'next');
  });
});

t.test('END with reuse 0: the connection is closed', async (t) => {
  const { w, connection, answer } = await answered(
    t,
    Buffer.concat([head(), chunk('ok'), end(false)]),
  );
  t.equal(body(answer), 'ok');
  await connection.closed();
  await nextIsServed(t, w);
});

t.test('CVE-2008-5519: an answer that comes too late', async (t) => {
  const w = await World.begin(t);
  const client = w.request({ DOCUMENT_URI: '/mine' });
  const [, connection] = await w.backend.request();
  client.destroy();
  await connection.closed();
  t.match(await w.state(0, ({ busy }) => busy === 0), { failures: 0, state: 'ok' });
  await nextIsServed(t, w);

  await t.test('FCGI_ABORT_REQUEST', async (t) => {
    const aborting = w.request({ DOCUMENT_URI: '/mine' });
    const late = w.backend.connections.at(-1);
    await late?.request();
    aborting.abort();
    await late?.closed();
    t.equal((await aborting.answer()).records.at(-1), 'end');
    aborting.send({ params: request({ DOCUMENT_URI: '/other' }) });
    const [received, connection] = await w.backend.request();
    t.equal(received.uri, '/other', 'the web server’s connection serves on');
    connection.send(whole('ok'));
    t.equal(body(await aborting.answer()), 'ok');
  });
});

t.test('a client that leaves while its request waits for a connection', async (t) => {
  const w = await World.begin(t, { options: { poolMax: 1 } });
  const first = w.request({ DOCUMENT_URI: '/1' });
  const [, connection] = await w.backend.request();
  const second = w.request({ DOCUMENT_URI: '/2' });
  await w.state(0, ({ busy }) => busy === 2);
  second.destroy();
  await w.state(0, ({ busy }) => busy === 1);
  connection.send(whole('ok'));
  await first.answer();
  first.send({ params: request({ DOCUMENT_URI: '/3' }) });
  t.equal((await connection.request()).uri, '/3', 'it never gets there');
});

t.test('a body that does not have its length is not passed on as if it were whole', async (t) => {
  const w = await World.begin(t);
  for (const sent of ['abc', 'abcdefghi']) {
    const client = w.request({ CONTENT_LENGTH: '6' }, sent);
    const answer = await client.answer();
    t.match(text(answer), /^Status: 400 Bad Request\r\n/, sent);
  }
  const client = w.client();
  client.sendHead({ params: request({ CONTENT_LENGTH: '6' }), keepConn: true });
  const [, connection] = await w.backend.request();
  client.sendBody(Buffer.from('abc'));
  t.equal((await connection.data()).toString(), 'abc');
  connection.send(getBody(8186));
  client.endBody();
  await connection.closed();
  t.equal(connection.unread, 0, 'no empty packet: it would make it whole');
  t.match(text(await client.answer()), /^Status: 400 Bad Request\r\n/);
});

t.test('nothing is sent twice', async (t) => {
  for (const method of ['GET', 'POST']) {
    await t.test(`${method}, lost after it was sent`, async (t) => {
      const w = await World.begin(t, { backends: [{}, {}] });
      const client = w.request({ REQUEST_METHOD: method, CONTENT_LENGTH: '0' });
      const [, connection] = await w.backend.request();
      connection.socket.destroy();
      const answer = await client.answer();
      t.match(text(answer), /^Status: 502 /);
      t.equal(w.backends[1]?.connections.length, 0);
      t.equal(w.backend.connections.length, 1);
    });
  }
});

t.test('another backend, where nothing was sent', async (t) => {
  await t.test('no connection', async (t) => {
    const w = await World.begin(t, { backends: [{ weight: 100 }, {}] });
    w.backend.close();
    rmSync(w.backend.name.slice('unix:'.length), { force: true });
    const client = w.request({}, 'post me');
    const [, connection] = await (w.backends[1] as FakeBackend).request();
    t.equal((await connection.data()).toString(), 'post me');
    connection.send(whole('ok'));
    const answer = await client.answer();
    t.equal(body(answer), 'ok');
    t.match(text(answer), `X-Usher-Backend: ${w.backends[1]?.name}\r\n`);
    t.match(await w.state(0, ({ state }) => state === 'failed'), { failures: 1 });
    t.match(w.logs('backend.down')[0], /no such file|refused/);
  });
  await t.test('CPING is not answered', async (t) => {
    const w = await World.begin(t, {
      backends: [{ weight: 100 }, {}],
      options: { pingConnectMs: 1000 }, // in which the other one has to answer
    });
    w.backend.answersPings = false;
    const client = w.request({}, 'post me');
    const [, connection] = await (w.backends[1] as FakeBackend).request();
    t.equal((await connection.data()).toString(), 'post me');
    connection.send(whole('ok'));
    t.equal(body(await client.answer()), 'ok');
    t.match(await w.state(0, ({ state }) => state === 'failed'), {
      lastError: 'no answer to CPING within 1 s',
    });
    t.equal(w.backend.connections[0]?.unread, 0, 'the request did not get there');
  });
  await t.test('nowhere', async (t) => {
    const w = await World.begin(t, { backends: [{}, {}] });
    for (const backend of w.backends) backend.close();
    const answer = await w.request().answer();
    t.match(text(answer), /^Status: 503 Service Unavailable\r\n/);
    for (const { name } of w.backends) t.match(answer.stderr, `backend ${name}: `);
    t.notMatch(answer.stderr, '\n');
  });
  await t.test('and it is back', async (t) => {
    const w = await World.begin(t);
    w.backend.close();
    t.match(text(await w.request().answer()), /^Status: 503 /);
    const again = await FakeBackend.listen(w.backend.name.slice('unix:'.length));
    t.teardown(() => again.close());
    again.onRequest = (_, connection) => connection.send(whole('ok'));
    t.equal(body(await w.request().answer()), 'ok', 'at once, though its time is not over');
    t.equal(w.logs('backend.up').length, 1);
  });
});

t.test('stale connections', async (t) => {
  await t.test('closed by the backend while idle', async (t) => {
    const { w, client, connection } = await answered(t, whole('ok'));
    connection.socket.end();
    client.send({ params: request({ DOCUMENT_URI: '/next' }) });
    const [received] = await w.backend.request();
    t.equal(received.uri, '/next');
  });
  await t.test('seen by CPING before the request', async (t) => {
    const w = await World.begin(t, { options: { pingPrepostMs: 30 } });
    w.backend.onRequest = (_, connection) => connection.send(whole('ok'));
    const client = w.request();
    await client.answer();
    w.backend.answersPings = false;
    client.send({ params: request({ DOCUMENT_URI: '/next' }), keepConn: true });
    await w.backend.connections[0]?.closed();
    w.backend.answersPings = true;
    const answer = await client.answer();
    t.match(text(answer), /^Status: (200|503) /, 'the new connection decides');
    t.ok(w.backend.connections.length > 1);
  });
  await t.test('CPING on a connection that works', async (t) => {
    const w = await World.begin(t, { options: { pingConnectMs: 5000, pingPrepostMs: 5000 } });
    w.backend.onRequest = (_, connection) => connection.send(whole('ok'));
    const client = w.request();
    await client.answer();
    client.send({ params: request(), keepConn: true });
    t.equal(body(await client.answer()), 'ok');
    t.equal(w.backend.connections.length, 1);
    t.equal(w.backend.connections[0]?.pings, 2);
  });
});

t.test('a backend that is silent', async (t) => {
  const w = await World.begin(t, { options: { replyTimeoutMs: 1000 } });
  const client = w.request();
  const [, connection] = await w.backend.request();
  const answer = await client.answer();
  t.match(text(answer), /^Status: 504 Gateway Timeout\r\n/);
  t.match(answer.stderr, 'silent for -reply-timeout 1 s');
  await connection.closed();
  t.match(await w.state(0, ({ failures }) => failures === 1), { state: 'ok' });

  const slow = w.client();
  slow.sendHead({ params: request({ CONTENT_LENGTH: '3' }), keepConn: true });
  const [, other] = await w.backend.request();
  await new Promise((resolve) => setTimeout(resolve, 1500));
  slow.sendBody(Buffer.from('abc'));
  t.equal((await other.data()).toString(), 'abc', 'one that waits for the client is not silent');
  other.send(whole('ok'));
  t.equal(body(await slow.answer()), 'ok');
});

t.test('a request that takes too long', async (t) => {
  const w = await World.begin(t, { options: { requestTimeoutMs: 1000 } });
  const client = w.request();
  const [, connection] = await w.backend.request();
  const answer = await client.answer();
  t.match(text(answer), /^Status: 504 Gateway Timeout\r\n/);
  t.match(answer.stderr, '-request-timeout 1 s');
  await connection.closed();
  const streaming = w.request();
  const [, other] = await w.backend.request();
  other.send(head(), chunk('x'));
  t.equal((await streaming.answer()).status, null, 'an answer that has begun breaks off');
  await other.closed();
});

t.test('all connections are in use', async (t) => {
  const w = await World.begin(t, { options: { poolMax: 1, acquireTimeoutMs: 30 } });
  w.request();
  await w.backend.request();
  const answer = await w.request().answer();
  t.match(text(answer), /^Status: 503 Service Unavailable\r\n/);
  t.match(answer.stderr, 'all 1 of -connection-pool-size are in use');
});

t.test('a wrong secret is explained', async (t) => {
  const refusal = Buffer.concat([head(403), end(false)]);
  const { w, answer } = await answered(t, refusal);
  t.match(text(answer), /^Status: 403 Forbidden\r\n/);
  t.match(answer.stderr, /`secret`.*-secret-file/);
  t.notMatch(answer.stderr, '\n');
  t.match(w.logs('backend.refused')[0], '-secret-file');

  const wrong = await World.begin(t, { secret: 'hush', options: { attributes: ['TENANT'] } });
  for (let i = 0; i < 3; i++) {
    const client = wrong.request();
    const [, connection] = await wrong.backend.request();
    connection.send(refusal);
    const { stderr } = await client.answer();
    t.match(stderr, /-secret-file holds is not the `secret`/);
    t.match(stderr, /allowedRequestAttributesPattern.*TENANT/);
    t.notMatch(stderr, 'hush');
  }
  t.equal(wrong.logs('backend.refused').length, 1, 'the log is told once a minute');

  const { answer: own } = await answered(t, whole('no', 403));
  t.equal(own.stderr, '', 'a servlet that says no is not');
});

t.test('packet sizes that differ are explained', async (t) => {
  const w = await World.begin(t, { options: { packetBytes: 65536 } });
  const client = w.request({ HTTP_COOKIE: 'c'.repeat(9000) });
  const [, connection] = await w.backend.request();
  connection.send(head(500), end(false));
  t.match((await client.answer()).stderr, /sent a packet of 9\d\d\d bytes.*`packetSize`/);

  const refused = w.request({ HTTP_COOKIE: 'c'.repeat(9000) });
  const [, refusing] = await w.backend.request();
  refusing.send(head(400), chunk('too long'));
  await new Promise((resolve) => setImmediate(resolve));
  refusing.send(end(false));
  const told = await refused.answer();
  t.match(told.stderr, /sent a packet of 9\d\d\d bytes/);
  t.match(told.records[0], /^stderr /, 'before its answer');
  t.equal(body(told), 'too long');

  const upload = w.request({}, Buffer.alloc(20_000));
  const [, closing] = await w.backend.request();
  t.equal((await closing.data()).length, 20_000);
  closing.send(head(500), chunk('what?'));
  closing.socket.end();
  const { stderr } = await upload.answer();
  t.match(stderr, /closed the connection, before its answer; .*sent a packet of 20006 bytes/);
  t.notMatch(stderr, '\n');

  const post = w.request({}, 'x');
  const [, other] = await w.backend.request();
  await other.data();
  other.send(getBody(8186));
  await other.data();
  other.send(whole('ok'));
  await post.answer();
  t.match(w.logs('backend.packet-size')[0], /to be 8192, -max-packet-size is 65536.*smaller/);
});

t.test('statuses that count as failures of the backend', async (t) => {
  const w = await World.begin(t, { options: { failOnStatus: [503], errorEscalationMs: 0 } });
  w.backend.onRequest = (_, connection) => connection.send(whole('no', 503));
  for (let i = 0; i < 3; i++) t.match(text(await w.request().answer()), /^Status: 503 /);
  t.match(await w.state(0, ({ state }) => state === 'failed'), {
    failures: 3,
    lastError: 'status 503',
  });
  w.backend.onRequest = (_, connection) => connection.send(whole('yes'));
  t.equal(body(await w.request().answer()), 'yes');
  t.equal((await w.state(0, ({ state }) => state === 'ok')).state, 'ok');
});

t.test('what the manager tells of other gateways', async (t) => {
  const w = await World.begin(t, { backends: [{}, {}] });
  for (const backend of w.backends) {
    backend.onRequest = (_, connection) => connection.send(whole(backend.name));
  }
  const [first, second] = w.backends.map(({ name }) => name) as [string, string];
  const shared = {
    activation: 'active',
    busyElsewhere: 0,
    failedUntilMs: 0,
    lastError: '',
  } as const;
  const client = w.request();
  t.equal(body(await client.answer()), first);
  const next = async () => {
    client.send({ params: request(), keepConn: true });
    return body(await client.answer());
  };
  t.equal(await next(), second);
  w.gateway.share([
    { ...shared, name: first, failedUntilMs: w.gateway.now() + 60_000, lastError: 'there' },
    { ...shared, name: second },
    { ...shared, name: 'unknown' },
  ]);
  await w.backends[0]?.connections[0]?.closed();
  t.same([await next(), await next()], [second, second]);
  w.gateway.share([{ ...shared, name: second, activation: 'stopped' }]);
  t.equal(await next(), first, 'tried, as nobody else is left');
});
