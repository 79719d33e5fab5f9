// SPDX-License-Identifier: Apache-2.0
// AJP 1.2: engines that break, are silent, or are not there, clients that leave, and secrets.
import { createServer, type Socket } from 'node:net';
import t, { type Test } from 'tap';
import type { Answer } from '../../testing/client.ts';
import { FakeEngine } from '../testing/fake-engine.ts';
import { request, World, type WorldOptions } from '../testing/world.ts';

const text = ({ stdout }: Answer): string => stdout.toString('latin1');
const body = (answer: Answer): string => text(answer).split('\r\n\r\n').slice(1).join('\r\n\r\n');
const key = Buffer.from('geheim\nzweite Zeile\n');

async function world(t: Test, engines: FakeEngine[], given: WorldOptions = {}): Promise<World> {
  const options = { protocol: 'ajp12', ...given.options } as const;
  const backends = engines.map(({ name }, i) => ({ name, ...given.backends?.[i] }));
  return World.begin(t, { ...given, options, backends });
}

/** The next request works. */
async function nextIsServed(t: Test, w: World, engine: FakeEngine): Promise<void> {
  const client = w.request({ DOCUMENT_URI: '/next' });
  const [received, connection] = await engine.request();
  t.equal(received.requestUri, '/next');
  connection.end('A: b\n\nnext');
  t.equal(body(await client.answer()), 'next');
  t.equal((await w.state(0, () => true)).state, 'ok', 'and the engine is not to blame');
}

/** A port at which nothing speaks AJP; each connection is given to `serve`. */
async function stranger(t: Test, serve: (socket: Socket) => void): Promise<string> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => undefined);
    serve(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return `127.0.0.1:${(server.address() as { port: number }).port}`;
}

t.test('what is no answer at all is a 502', async (t) => {
  const engine = await FakeEngine.listen(t);
  const w = await world(t, [engine]);
  const broken: [what: string, stream: string, cause: RegExp][] = [
    ['nothing', '', /closed the connection without an answer, before its answer/],
    ['a head without its end', 'Status: 200 OK\n', /ends before the empty line/],
    ['no head', 'garbage\n\n', /line 1/],
    ['a status that is none', 'Status: 20x\n\n', /line 1/],
    ['1xx', 'Status: 101 Switching\n\n', /101/],
    ['NUL in a field', 'A: b\0c\n\n', /line 1/],
    ['CR in a field', 'A: b\rC: d\n\n', /line 1/],
    ['two lengths', 'Content-Length: 1\nContent-Length: 2\n\nx', /Content-Length/i],
    ['too long', 'Content-Length: 2\n\nabc', /more of a body than its Content-Length/],
    ['too short', 'Content-Length: 4\n\nabc', /1 bytes before its Content-Length|cut off: 1 bytes/],
    ['AJP 1.3', 'AB\0\x02\x05\x01', /line 1|before the empty line/],
    ['a challenge', '\0\0\0\x05abcde', /sends a challenge, and there is no secret file/],
  ];
  for (const [what, stream, cause] of broken) {
    await t.test(what, async (t) => {
      const client = w.request();
      const [, connection] = await engine.request();
      connection.end(Buffer.from(stream, 'latin1'));
      const answer = await client.answer();
      t.match(answer.stderr, cause);
      t.match(answer.stderr, `backend ${engine.name}: `);
      t.notMatch(answer.stderr.trim(), '\n', 'one line');
      if (what === 'too short') {
        t.equal(answer.status, null, 'which has begun: it breaks off');
        t.equal(body(answer), 'abc');
      } else {
        t.match(text(answer), /^Status: 502 Bad Gateway\r\n/);
        t.equal(body(answer), '502 Bad Gateway\n');
      }
      await nextIsServed(t, w, engine);
    });
  }
});

t.test('the answer breaks off', async (t) => {
  const engine = await FakeEngine.listen(t);
  const w = await world(t, [engine]);
  for (const what of ['reset', 'ended before its length']) {
    const client = w.request();
    const [, connection] = await engine.request();
    connection.send(what === 'reset' ? 'A: b\n\nhalf' : 'Content-Length: 8\n\nhalf');
    await client.output('half');
    if (what === 'reset') connection.socket.resetAndDestroy();
    else connection.end();
    const answer = await client.answer();
    t.equal(answer.status, null, `${what}: no end of the request`);
    t.equal(body(answer), 'half');
    t.match(answer.stderr, 'in the middle of its answer');
    await nextIsServed(t, w, engine);
  }
});

t.test('an answer of its length is whole, though the connection is reset', async (t) => {
  const engine = await FakeEngine.listen(t);
  const w = await world(t, [engine]);
  const client = w.client();
  client.sendHead({ params: request({ CONTENT_LENGTH: '9' }), keepConn: true });
  const [, connection] = await engine.request();
  connection.send('Status: 413 Too large\nContent-Length: 2\n\nno');
  await client.output('no');
  connection.socket.resetAndDestroy(); // it has not read the body
  const answer = await client.answer();
  t.equal(answer.status, 0);
  t.equal(body(answer), 'no');
  t.equal(answer.stderr, '');
});

t.test('time limits', async (t) => {
  const engine = await FakeEngine.listen(t);
  await t.test('silence', async (t) => {
    const w = await world(t, [engine], { options: { replyTimeoutMs: 50 } });
    const client = w.request();
    const [, connection] = await engine.request();
    const answer = await client.answer();
    t.match(text(answer), /^Status: 504 /);
    t.match(answer.stderr, 'silent for -reply-timeout 0.05 s');
    await engine.until(() => connection.isClosed);
  });
  await t.test('the whole request', async (t) => {
    const w = await world(t, [engine], { options: { requestTimeoutMs: 50 } });
    const answer = await w.request().answer();
    t.match(text(answer), /^Status: 504 /);
  });
});

t.test('a client that leaves', async (t) => {
  const engine = await FakeEngine.listen(t);
  const w = await world(t, [engine]);
  const client = w.request();
  const [, connection] = await engine.request();
  client.destroy();
  await engine.until(() => connection.isClosed);
  t.match(await w.state(0, ({ busy }) => busy === 0), { failures: 0, state: 'ok' });
  const half = w.client();
  half.sendHead({ params: request({ CONTENT_LENGTH: '6' }), keepConn: true });
  half.sendBody(Buffer.from('abc'));
  const [, other] = await engine.request();
  half.abort();
  await engine.until(() => other.isClosed);
  t.notOk(other.isBodyWhole, 'half of a body is not made a whole one');
  await half.answer();
  await nextIsServed(t, w, engine);
});

t.test('no more connections than the pool has', async (t) => {
  const engine = await FakeEngine.listen(t);
  const w = await world(t, [engine], { options: { poolMax: 1, acquireTimeoutMs: 60_000 } });
  const first = w.request({ DOCUMENT_URI: '/1' });
  const [, connection] = await engine.request();
  const second = w.request({ DOCUMENT_URI: '/2' });
  await w.state(0, ({ busy }) => busy === 2);
  t.equal(engine.connections.length, 1);
  connection.end('A: b\n\nok');
  await first.answer();
  const [received, other] = await engine.request();
  t.equal(received.requestUri, '/2');
  other.end('A: b\n\nok');
  t.equal(body(await second.answer()), 'ok');

  const full = await world(t, [engine], { options: { poolMax: 1, acquireTimeoutMs: 50 } });
  full.request();
  await engine.request();
  const answer = await full.request().answer();
  t.match(text(answer), /^Status: 503 /);
  t.match(answer.stderr, 'all 1 of -connection-pool-size are in use');
});

t.test('a connection that nobody needs any more is closed', async (t) => {
  // An engine that serves one connection after the other would wait for its request.
  const engine = await FakeEngine.listen(t, { key });
  const w = await world(t, [engine], { secret: key.toString('latin1'), options: { poolMax: 1 } });
  const first = w.request();
  const [, connection] = await engine.request();
  const second = w.request({ DOCUMENT_URI: '/2' });
  await w.state(0, ({ busy }) => busy === 2);
  connection.end('A: b\n\nok');
  await first.answer();
  second.destroy(); // while it connects, or has its connection
  await engine.until(() => engine.connections.every(({ isClosed }) => isClosed));
  await nextIsServed(t, w, engine);
});

t.test('another engine, where nothing was sent', async (t) => {
  const isServed = async (t: Test, name: string, options: WorldOptions['options'] = {}) => {
    const good = await FakeEngine.listen(t);
    const backends = [{ name, weight: 100 }, { name: good.name }];
    const w = await World.begin(t, { options: { protocol: 'ajp12', ...options }, backends });
    const client = w.request({}, 'post me');
    const [, connection] = await good.request();
    await good.until(() => connection.isBodyWhole);
    t.equal(connection.body.toString(), 'post me');
    connection.end('A: b\n\nok');
    t.equal(body(await client.answer()), 'ok');
    return (await w.state(0, ({ state }) => state === 'failed')).lastError;
  };
  await t.test('refused', async (t) => {
    const gone = await FakeEngine.listen(t);
    gone.close();
    t.match(await isServed(t, gone.name), /refused/);
  });
  await t.test('no answer to a ping', async (t) => {
    const mute = await FakeEngine.listen(t);
    mute.answersPings = false;
    // In which the other one has to answer.
    const error = await isServed(t, mute.name, { pingConnectMs: 1000 });
    t.equal(error, 'no answer to a ping within 1 s');
    t.equal(mute.requests, 0, 'the request did not get there');
  });
  await t.test('a ping that ends the connection', async (t) => {
    const name = await stranger(t, (socket) => socket.on('data', () => socket.end()));
    const error = await isServed(t, name, { pingConnectMs: 60_000 });
    t.equal(error, 'it closed the connection without its answer to a ping');
  });
  await t.test('one that had failed is asked before it gets a request', async (t) => {
    const engine = await FakeEngine.listen(t);
    const w = await world(t, [engine], { options: { pingConnectMs: 50 } });
    engine.answersPings = false;
    t.match(text(await w.request().answer()), /^Status: 503 /);
    t.equal(engine.requests, 0);
    engine.answersPings = true;
    const slow = await world(t, [engine], { options: { pingConnectMs: 60_000 } });
    await nextIsServed(t, slow, engine);
  });
});

t.test('secrets', async (t) => {
  const secret = key.toString('latin1');
  await t.test('the whole file proves it', async (t) => {
    const engine = await FakeEngine.listen(t, { key });
    const w = await world(t, [engine], { secret, options: { pingPrepostMs: 60_000 } });
    await nextIsServed(t, w, engine);
    t.same(engine.connections[0]?.signal, ['ping', true]);
  });
  await t.test('another one', async (t) => {
    const engine = await FakeEngine.listen(t, { key });
    const w = await world(t, [engine], { secret: 'geheim\n' });
    const answer = await w.request().answer();
    t.match(text(answer), /^Status: 502 /);
    t.match(answer.stderr, 'what -secret-file holds may not be its secret key');
    t.notMatch(answer.stderr, 'geheim');
    t.equal(engine.requests, 0);
    t.match(engine.connections[0]?.error?.message, /wrong answer to the challenge/);
  });
  await t.test('another one, told by a ping', async (t) => {
    const engine = await FakeEngine.listen(t, { key });
    const options = { pingConnectMs: 60_000 };
    const w = await world(t, [engine], { secret: 'geheim\n', options });
    const answer = await w.request().answer();
    t.match(text(answer), /^Status: 503 /);
    t.match(answer.stderr, 'what -secret-file holds may not be its secret key');
  });
  await t.test('none here', async (t) => {
    const engine = await FakeEngine.listen(t, { key });
    const w = await world(t, [engine]);
    const { stdout, stderr } = await w.request().answer();
    t.match(stdout.toString(), /^Status: 50[23] /);
    t.match(stderr, /sends a challenge, and there is no secret file|closed the connection|reset/);
    t.equal(engine.requests, 0);
  });
  await t.test('none there', async (t) => {
    const engine = await FakeEngine.listen(t);
    const w = await world(t, [engine], { secret, options: { socketConnectTimeoutMs: 100 } });
    const answer = await w.request().answer();
    t.match(text(answer), /^Status: 503 /);
    t.match(answer.stderr, /no challenge, .* within 0\.1 s/);
    t.equal(engine.requests, 0, 'nothing was sent');
  });
  await t.test('a challenge that comes slowly', async (t) => {
    let received = '';
    const name = await stranger(t, (socket) => {
      socket.write(Buffer.from('000000', 'hex'), () => {
        setImmediate(() => socket.write(Buffer.from('050102', 'hex')));
      });
      socket.on('data', (bytes) => {
        received += bytes.toString('latin1');
        if (received.includes('\x04')) socket.end('A: b\n\nok');
      });
      setTimeout(() => socket.write(Buffer.from('030405', 'hex')), 20);
    });
    const w = await World.begin(t, {
      ...{ options: { protocol: 'ajp12' }, backends: [{ name }], secret },
    });
    t.equal(body(await w.request().answer()), 'ok');
    t.equal(received.charCodeAt(16), 1, 'sixteen bytes, then the request');
  });
});
