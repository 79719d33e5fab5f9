// SPDX-License-Identifier: Apache-2.0
// Requests by HTTP, as in development.
import { once } from 'node:events';
import { Agent, type ClientRequest, type IncomingMessage, request } from 'node:http';
import { connect } from 'node:net';
import t, { type Test } from 'tap';
import type { Servlet } from '../exchange.ts';
import { type Listener, listen } from './listener.ts';
import { answer, echo, eventually, Kept, mirror, Opened } from './testing/servlets.ts';

interface World {
  listener: Listener;
  lines: string[];
  port: number;
  agent: Agent;
  start(method: string, path: string, headers?: Record<string, string>): ClientRequest;
}

async function world(t: Test, run: Servlet): Promise<World> {
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const listener = await listen({ protocol: 'http', address: '127.0.0.1:0' }, { run, log });
  const port = Number(listener.address.split(':')[1]);
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(async () => {
    agent.destroy();
    listener.destroy();
    await listener.stop();
  });
  const start = (method: string, path: string, headers: Record<string, string> = {}) => {
    const made = request({ host: '127.0.0.1', port, agent, method, path, headers });
    made.on('error', () => undefined);
    return made;
  };
  return { listener, lines, port, agent, start };
}

async function read(made: ClientRequest): Promise<{ response: IncomingMessage; body: Buffer }> {
  const [response] = (await once(made, 'response')) as [IncomingMessage];
  const parts: Buffer[] = [];
  for await (const part of response) parts.push(part as Buffer);
  return { response, body: Buffer.concat(parts) };
}

t.test('requests on a kept connection', async (t) => {
  const { start } = await world(t, echo);
  for (let i = 0; i < 3; i++) {
    const { response, body } = await read(start('GET', `/a?${i}`).end());
    t.equal(body.toString(), `GET /a?${i} `);
    t.match(response.headers, { 'x-body': '0', connection: 'keep-alive' });
  }
});

t.test('bodies of many sizes, chunked and not', async (t) => {
  const { start } = await world(t, mirror);
  for (const size of [0, 1, 65_536, 3_000_000]) {
    const sent = Buffer.alloc(size, 'abcdefghijk');
    for (const headers of [{ 'Content-Length': `${size}` }, { 'Transfer-Encoding': 'chunked' }]) {
      const { body } = await read(start('POST', '/', headers).end(sent));
      t.ok(body.equals(sent), `${size} bytes`);
    }
  }
});

t.test('head and metadata', async (t) => {
  const kept = new Kept();
  const { start, port } = await world(t, kept.run);
  const made = start('PUT', 'http://other/a%20b?c', {
    Host: 'name:1',
    'X-A': 'b',
    'Transfer-Encoding': 'chunked',
    Upgrade: 'h2c',
    Connection: 'Upgrade',
  });
  made.write('x');
  const { exchange } = await kept.next();
  const { metadata, ...head } = exchange.head;
  t.match(head, { method: 'PUT', url: '/a%20b?c', httpVersion: '1.1', bodyBytes: null });
  t.equal(head.fields[head.fields.indexOf('X-A') + 1], 'b');
  t.match(metadata, {
    ...{ protocol: 'http', remoteAddress: '127.0.0.1', localAddress: '127.0.0.1' },
    ...{ serverName: 'name', serverPort: port, isSecure: false, tls: null, pathInfo: '/a b' },
  });
  answer(exchange, 'x', 200, ['Connection', 'close', 'Transfer-Encoding', 'gzip', 'X', 'y']);
  const { response } = await read(made);
  t.equal(response.headers.x, 'y');
  t.not(response.headers['transfer-encoding'], 'gzip');
});

t.test('answers without a body, many fields', async (t) => {
  const cookies = Array.from({ length: 40 }, (_, i) => `c${i}=${i}`);
  const { start } = await world(t, (exchange) => {
    new Opened(exchange);
    const status = Number(exchange.head.url.slice(1));
    answer(exchange, 'body', status, [
      ...['Content-Length', '4'],
      ...cookies.flatMap((cookie) => ['Set-Cookie', cookie]),
    ]);
  });
  const head = await read(start('HEAD', '/200').end());
  t.equal(head.response.headers['content-length'], '4');
  t.strictSame(head.response.headers['set-cookie'], cookies);
  for (const status of [204, 304, 200]) {
    const { response, body } = await read(start('GET', `/${status}`).end());
    t.equal(response.statusCode, status);
    t.equal(body.toString(), status === 200 ? 'body' : '');
  }
});

t.test('a wrong Content-Length does not break the connection of the next request', async (t) => {
  const { start, lines } = await world(t, (exchange) => {
    new Opened(exchange);
    answer(exchange, 'abcdef', 200, ['Content-Length', exchange.head.url.slice(1)]);
  });
  t.equal((await read(start('GET', '/3').end())).body.toString(), 'abc');
  t.equal((await read(start('GET', '/6').end())).body.toString(), 'abcdef');
  await t.rejects(read(start('GET', '/9').end()), { code: 'ECONNRESET' });
  t.equal((await read(start('GET', '/6').end())).body.toString(), 'abcdef');
  t.match(lines, [/longer than its Content-Length/, /3 bytes shorter than its Content-Length/]);
});

t.test('Expect: 100-continue', async (t) => {
  const { start } = await world(t, (exchange) => {
    if (exchange.head.url === '/wanted') echo(exchange);
    else {
      new Opened(exchange);
      answer(exchange, 'no', 413);
    }
  });
  const expecting = { Expect: '100-continue', 'Content-Length': '3' };
  const wanted = start('POST', '/wanted', expecting);
  wanted.flushHeaders();
  await once(wanted, 'continue');
  wanted.end('abc');
  t.equal((await read(wanted)).body.toString(), 'POST /wanted abc');
  const unwanted = start('POST', '/unwanted', expecting);
  let wasAsked = false;
  unwanted.on('continue', () => {
    wasAsked = true;
  });
  unwanted.flushHeaders();
  const { response } = await read(unwanted);
  t.equal(response.statusCode, 413);
  t.notOk(wasAsked);
  t.equal(response.headers.connection, 'close');
});

t.test('an early answer with the body unread', async (t) => {
  const { start } = await world(t, (exchange) => {
    const opened = new Opened(exchange);
    if (exchange.head.method === 'GET') {
      answer(exchange, 'fine');
      return;
    }
    opened.onBody = () => {
      exchange.pauseBody();
      answer(exchange, 'early', 413);
    };
    exchange.resumeBody();
  });
  const made = start('POST', '/', { 'Content-Length': '3000000' });
  const answered = read(made);
  made.end(Buffer.alloc(3_000_000));
  t.equal((await answered).body.toString(), 'early');
  t.equal((await read(start('GET', '/').end())).body.toString(), 'fine');
});

t.test('clients that leave, and a slow one', async (t) => {
  const kept = new Kept();
  const { start } = await world(t, kept.run);
  const made = start('GET', '/').end();
  const opened = await kept.next();
  made.destroy();
  await eventually(() => opened.isOver);
  t.match(opened.aborted?.message, 'the client has left');

  const slow = start('GET', '/').end();
  const { exchange } = await kept.next();
  exchange.begin(200, '', []);
  exchange.flush();
  const [response] = (await once(slow, 'response')) as [IncomingMessage];
  const piece = Buffer.alloc(100_000, 'x');
  let pieces = 1;
  while (exchange.write(piece)) {
    pieces++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  exchange.end();
  let bytes = 0;
  for await (const part of response) bytes += (part as Buffer).length;
  t.equal(bytes, pieces * piece.length);
});

t.test('answers that cannot become whole', async (t) => {
  const { start } = await world(t, (exchange) => {
    new Opened(exchange);
    exchange.begin(200, '', []);
    exchange.write(Buffer.from('half'));
    exchange.breakOff();
  });
  await t.rejects(read(start('GET', '/').end()), { code: 'ECONNRESET' });
});

t.test('what is no HTTP', async (t) => {
  const { port, lines } = await world(t, echo);
  const socket = connect(port, '127.0.0.1');
  socket.write('nonsense\r\n\r\n');
  const [reply] = (await once(socket, 'data')) as [Buffer];
  t.match(reply.toString(), /^HTTP\/1\.1 400 Bad Request\r\n/);
  t.match(lines, [/^HTTP: Parse Error/]);
  socket.destroy();
});

t.test('stop: idle connections at once, busy ones after their answer', async (t) => {
  const kept = new Kept();
  const { listener, start, port } = await world(t, kept.run);
  const idle = connect(port, '127.0.0.1');
  idle.write('GET / HTTP/1.1\r\nHost: h\r\n\r\n');
  answer((await kept.next()).exchange, 'x', 200, ['Content-Length', '1']);
  await once(idle, 'data');
  const busy = read(start('GET', '/').end());
  const { exchange } = await kept.next();
  const stopped = listener.stop();
  await once(idle.resume(), 'close');
  answer(exchange, 'late');
  const { response, body } = await busy;
  t.equal(body.toString(), 'late');
  t.equal(response.headers.connection, 'close');
  await stopped;
});
