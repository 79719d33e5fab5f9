// SPDX-License-Identifier: Apache-2.0
// Connections that end in the moment in which the next request is sent on them: what is sent again, and
// what is not.
import { rmSync } from 'node:fs';
import t, { type Test } from 'tap';
import type { BackendState } from '../link.ts';
import type { Answer, TestClient } from '../testing/client.ts';
import {
  type BackendConnection,
  chunk,
  FakeBackend,
  getBody,
  head,
  type ReceivedRequest,
  whole,
} from './testing/fake-backend.ts';
import { request, World, type WorldOptions } from './testing/world.ts';

const text = ({ stdout }: Answer): string => stdout.toString('latin1');
const body = (answer: Answer): string => text(answer).split('\r\n\r\n').slice(1).join('\r\n\r\n');
const lost = 'it closed the connection, before its answer';

interface Used {
  w: World;
  client: TestClient;
  connection: BackendConnection;
}

/** A connection to a backend that has served a request. */
async function used(t: Test, options: WorldOptions = {}): Promise<Used> {
  const w = await World.begin(t, options);
  const client = w.request();
  const [, connection] = await w.backend.request();
  connection.send(whole('ok'));
  await client.answer();
  return { w, client, connection };
}

/** What the backend read last, before it does what is to be tested. */
async function sent(
  { client, connection }: Used,
  params: Record<string, string>,
  body?: string,
): Promise<ReceivedRequest> {
  client.send({ params: request(params, body), keepConn: true, body: body ?? '' });
  return connection.request();
}

async function isNotRepeated(t: Test, { w, client }: Used): Promise<void> {
  const answer = await client.answer();
  t.match(text(answer), /^Status: 502 Bad Gateway\r\n/);
  t.match(answer.stderr, `backend ${w.backend.name}: ${lost}`);
  t.notMatch(answer.stderr, 'sent again');
  t.equal(w.backend.connections.length, 1);
  t.match(await w.state(0, ({ failures }) => failures === 1), { state: 'ok' });
}

t.test('a safe request goes again over a fresh connection', async (t) => {
  for (const method of ['GET', 'HEAD', 'OPTIONS', 'TRACE']) {
    await t.test(method, async (t) => {
      const it = await used(t, { options: { poolMax: 1 }, backends: [{ route: 'a' }, {}] });
      const { w, client, connection } = it;
      const params = { REQUEST_METHOD: method, HTTP_COOKIE: 'JSESSIONID=1.a' };
      const first = await sent(it, params);
      connection.socket.end();
      const [again, fresh] = await w.backend.request();
      t.same(again, first, 'the same');
      fresh.send(whole('', 418));
      const answer = await client.answer();
      t.match(text(answer), /^Status: 418 /);
      t.equal(answer.stderr, '', 'nothing is lost');
      t.equal(w.backends[1]?.connections.length, 0);
      const isOver = ({ busy, requests }: BackendState) => busy === 0 && requests === 2;
      t.match(await w.state(0, isOver), { failures: 0, state: 'ok' });

      await sent({ ...it, connection: fresh }, params);
      fresh.send(whole('', 419));
      t.match(text(await client.answer()), /^Status: 419 /, 'the fresh one serves on');
    });
  }
});

t.test('a reset is an end as well', async (t) => {
  const backend = await FakeBackend.listen('127.0.0.1');
  t.teardown(() => backend.close());
  const w = await World.begin(t, { backends: [{ name: backend.name }] });
  const client = w.request();
  const [, connection] = await backend.request();
  connection.send(whole('ok'));
  await client.answer();
  await sent({ w, client, connection }, {});
  connection.socket.resetAndDestroy();
  const [, fresh] = await backend.request();
  fresh.send(whole('again'));
  t.equal(body(await client.answer()), 'again');
});

t.test('not over another one that was idle', async (t) => {
  const w = await World.begin(t);
  const clients = [w.request(), w.request()];
  const [[, a], [, b]] = [await w.backend.request(), await w.backend.request()];
  for (const connection of [a, b]) connection.send(whole('ok'));
  await Promise.all(clients.map((client) => client.answer()));
  const client = clients[0] as TestClient;
  client.send({ params: request({ DOCUMENT_URI: '/next' }), keepConn: true });
  await Promise.race([a.request(), b.request()].map((one) => one.catch(() => undefined)));
  for (const { socket } of [a, b]) socket.end();
  const [received, fresh] = await w.backend.request();
  t.equal(received.uri, '/next');
  fresh.send(whole('ok'));
  t.equal(body(await client.answer()), 'ok');
});

t.test('also while others wait for a connection', async (t) => {
  const it = await used(t, { options: { poolMax: 1 } });
  const { w, client, connection } = it;
  await sent(it, { DOCUMENT_URI: '/mine' });
  const waiting = w.request({ DOCUMENT_URI: '/other' });
  await w.state(0, ({ busy }) => busy === 2);
  connection.socket.end();
  const [received, fresh] = await w.backend.request();
  t.equal(received.uri, '/mine');
  fresh.send(whole('mine'));
  t.equal(body(await client.answer()), 'mine');
  t.equal((await fresh.request()).uri, '/other');
  fresh.send(whole('other'));
  t.equal(body(await waiting.answer()), 'other');
  t.equal(w.backend.connections.length, 2);
});

t.test('at another backend, when that one refuses', async (t) => {
  const backends = [{ route: 'a' }, {}];
  const begun = async (t: Test, options: WorldOptions['options'] = {}): Promise<Used> => {
    const it = await used(t, { backends, options });
    await sent(it, { HTTP_COOKIE: 'JSESSIONID=1.a' });
    it.w.backend.close();
    rmSync(it.w.backend.name.slice('unix:'.length), { force: true });
    return it;
  };
  await t.test('it goes on there', async (t) => {
    const { w, client } = await begun(t);
    const [, other] = await (w.backends[1] as FakeBackend).request();
    other.send(whole('ok'));
    const answer = await client.answer();
    t.equal(body(answer), 'ok');
    t.equal(answer.stderr, '');
    t.match(await w.state(0, ({ state }) => state === 'failed'), { busy: 0, failures: 1 });
  });
  await t.test('-sticky-session-force forbids it', async (t) => {
    const { w, client } = await begun(t, { stickyForce: true });
    const answer = await client.answer();
    t.match(text(answer), /^Status: 503 /);
    t.match(answer.stderr, `backend ${w.backend.name}: ${lost}, sent again; backend `);
    t.match(answer.stderr, /no such file|refused/);
    t.notMatch(answer.stderr, '\n');
    t.equal(w.backends[1]?.connections.length, 0);
  });
});

t.test('what is not sent again', async (t) => {
  await t.test('anything that came over a fresh connection', async (t) => {
    const w = await World.begin(t);
    const client = w.request();
    const [, connection] = await w.backend.request();
    connection.socket.end();
    await isNotRepeated(t, { w, client, connection });
  });
  for (const method of ['POST', 'PUT', 'DELETE', 'PATCH', 'PROPFIND']) {
    await t.test(method, async (t) => {
      const it = await used(t);
      await sent(it, { REQUEST_METHOD: method });
      it.connection.socket.end();
      await isNotRepeated(t, it);
    });
  }
  await t.test('a GET with a body', async (t) => {
    const it = await used(t);
    await sent(it, { REQUEST_METHOD: 'GET' }, 'body');
    it.connection.socket.end();
    await isNotRepeated(t, it);
  });
  for (const [what, bytes] of [
    ['a part of a head', head().subarray(0, 1)],
    ['GET_BODY_CHUNK', getBody(8)],
  ] as const) {
    await t.test(`one whose answer has begun: ${what}`, async (t) => {
      const it = await used(t);
      await sent(it, {});
      it.connection.send(bytes);
      it.connection.socket.end();
      await isNotRepeated(t, it);
    });
  }
  await t.test('one whose answer has begun: a head', async (t) => {
    const it = await used(t);
    await sent(it, {});
    it.connection.send(head());
    it.connection.socket.end();
    const answer = await it.client.answer();
    t.match(text(answer), /^Status: 200 /);
    t.equal(answer.status, null, 'broken off');
    t.equal(it.w.backend.connections.length, 1);
  });
  await t.test('one whose answer is no AJP', async (t) => {
    const it = await used(t);
    await sent(it, {});
    it.connection.send(chunk('x'));
    const answer = await it.client.answer();
    t.match(text(answer), /^Status: 502 /);
    t.equal(it.w.backend.connections.length, 1);
  });
  await t.test('one that is silent for -reply-timeout', async (t) => {
    const it = await used(t, { options: { replyTimeoutMs: 1000 } });
    await sent(it, {});
    const answer = await it.client.answer();
    t.match(text(answer), /^Status: 504 /);
    t.equal(it.w.backend.connections.length, 1);
  });
});

t.test('it is sent twice, and no more', async (t) => {
  const it = await used(t, { backends: [{ route: 'a' }, {}] });
  const { w, client, connection } = it;
  await sent(it, { HTTP_COOKIE: 'JSESSIONID=1.a' });
  connection.socket.end();
  const [, fresh] = await w.backend.request();
  fresh.socket.end();
  const answer = await client.answer();
  t.match(text(answer), /^Status: 502 Bad Gateway\r\n/);
  const { name } = w.backend;
  t.equal(answer.stderr, `backend ${name}: ${lost}, sent again; backend ${name}: ${lost}`);
  t.equal(w.backend.connections.length, 2);
  t.equal(w.backends[1]?.connections.length, 0);
  t.match(await w.state(0, ({ failures }) => failures > 0), { failures: 1, state: 'ok' });
});

t.test('a client that leaves before it is sent again', async (t) => {
  const it = await used(t, { options: { pingConnectMs: 20_000 } });
  const { w, client, connection } = it;
  await sent(it, { DOCUMENT_URI: '/mine' });
  w.backend.answersPings = false;
  connection.socket.end();
  const fresh = await w.backend.connection();
  await w.state(0, ({ busy }) => busy === 1);
  client.destroy();
  await w.state(0, ({ busy, requests }) => busy === 0 && requests === 2);
  fresh.send(Buffer.from('4142000109', 'hex'));
  const next = w.request({ DOCUMENT_URI: '/next' });
  t.equal((await fresh.request()).uri, '/next', 'the connection is for the next one');
  fresh.send(whole('next'));
  t.equal(body(await next.answer()), 'next');
});
