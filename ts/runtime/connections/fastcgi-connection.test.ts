// SPDX-License-Identifier: Apache-2.0
// Requests by FastCGI over real sockets.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Answer, TestClient } from '../../gateways/testing/client.ts';
import { answerRecords } from '../../protocols/fastcgi/index.ts';
import {
  abort,
  begin,
  params,
  record,
  request,
  stdin,
} from '../../protocols/fastcgi/testing/web-server.ts';
import type { Exchange, Servlet } from '../exchange.ts';
import type { RequestMetadata } from '../metadata.ts';
import { type Listener, listen } from './listener.ts';
import { answer, directory, echo, eventually, Kept, mirror, Opened } from './testing/servlets.ts';

interface World {
  listener: Listener;
  lines: string[];
  client(): TestClient;
}

async function world(t: Test, run: Servlet): Promise<World> {
  const address = join(directory(t), 's');
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const listener = await listen({ protocol: 'fastcgi', address }, { run, log });
  const clients: TestClient[] = [];
  t.teardown(async () => {
    for (const client of clients) client.destroy();
    await listener.stop();
  });
  const client = () => {
    const client = new TestClient(address);
    clients.push(client);
    return client;
  };
  return { listener, lines, client };
}

const text = ({ stdout }: Answer): string => stdout.toString('latin1');
const get = { REQUEST_METHOD: 'GET', REQUEST_URI: '/a?b=c' };
const post = (length: number) => ({
  REQUEST_METHOD: 'POST',
  REQUEST_URI: '/',
  CONTENT_LENGTH: `${length}`,
});

t.test('small requests on a kept connection, each answered in one record', async (t) => {
  const { client } = await world(t, echo);
  const one = client();
  for (let i = 0; i < 3; i++) {
    one.send({ params: get, keepConn: true });
    const got = await one.answer();
    t.equal(text(got), 'Status: 200 OK\r\nX-Body: 0\r\n\r\nGET /a?b=c ');
    t.strictSame([got.status, got.protocolStatus, got.stderr], [0, 0, '']);
    t.strictSame(got.records, ['stdout 40', 'stdout 0', 'end']);
  }
  one.send({ params: get, keepConn: false });
  await one.answer();
  await one.closed();
});

t.test('a small answer is one write', async (t) => {
  const { listener } = await world(t, echo);
  const socket = connect(listener.address);
  t.teardown(() => socket.destroy());
  socket.write(request(1, get));
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  t.equal(chunk.readUInt8(chunk.length - 15), 3, 'the end of the request is in the first read');
});

t.test('small answers to a peer that reads none of them yet', async (t) => {
  const page = (number: number) => `${number} `.repeat(2000);
  const pages = (exchange: Exchange) => {
    exchange.open({ onBody() {}, onBodyEnd() {}, onAbort() {}, onDrain() {} });
    exchange.begin(200, '', []);
    exchange.end(page(Number(exchange.head.url.slice(1))));
  };
  const { listener } = await world(t, pages);
  const numbers = Array.from({ length: 200 }, (_, number) => number);
  const requests = numbers.map((number) => request(1, { REQUEST_URI: `/${number}` }));
  const clients = [connect(listener.address), connect(listener.address)];
  t.teardown(() => clients.map((client) => client.destroy()));
  for (const client of clients) client.pause().write(Buffer.concat(requests));
  for (const client of clients) {
    await once(client, 'readable'); // by now some are kept until the peer reads
    const received: Buffer[] = [];
    client.on('data', (chunk) => received.push(chunk)).resume();
    const expected = Buffer.concat(
      numbers.map((number) =>
        answerRecords(1, Buffer.from(`Status: 200 OK\r\n\r\n${page(number)}`)),
      ),
    );
    const bytes = () => received.reduce((sum, { length }) => sum + length, 0);
    await eventually(() => bytes() === expected.length);
    t.ok(Buffer.concat(received).equals(expected), 'each is as it was given');
  }
});

t.test('a small body stays as it is while others are read', async (t) => {
  const bodies: Buffer[] = [];
  const { client } = await world(t, (exchange) => {
    exchange.open({
      onBody: (bytes) => bodies.push(bytes),
      onBodyEnd: () => answer(exchange),
      onAbort() {},
      onDrain() {},
    });
    exchange.resumeBody();
  });
  const one = client();
  for (const body of ['first', 'other', 'third']) {
    one.send({ params: post(5), body: Buffer.from(body), keepConn: true });
    await one.answer();
  }
  t.equal(Buffer.concat(bodies).toString(), 'firstotherthird');
});

t.test('bodies of many sizes, there and back', async (t) => {
  const { client } = await world(t, mirror);
  const one = client();
  for (const size of [0, 1, 100, 16_383, 65_535, 65_536, 300_000, 3_000_000]) {
    const body = Buffer.alloc(size, 'abcdefghijk');
    one.send({ params: post(size), body, keepConn: true });
    const { stdout, status } = await one.answer();
    t.equal(status, 0);
    t.ok(stdout.subarray(stdout.indexOf('\r\n\r\n') + 4).equals(body), `${size} bytes`);
  }
});

t.test('the stream in single bytes', async (t) => {
  const { listener } = await world(t, echo);
  const socket = connect(listener.address);
  t.teardown(() => socket.destroy());
  const received: Buffer[] = [];
  socket.on('data', (chunk) => received.push(chunk));
  for (const byte of request(1, post(3), 'xyz')) {
    if (!socket.write(Uint8Array.of(byte))) await once(socket, 'drain');
    await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually(() => Buffer.concat(received).includes('POST / xyz'));
});

t.test('head: URL, method, version, fields', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  const head = async (params: Record<string, string>) => {
    one.send({ params, keepConn: true });
    const { exchange } = await kept.next();
    answer(exchange);
    await one.answer();
    return exchange.head;
  };
  t.match(await head({ REQUEST_URI: '/x%20y?q', SERVER_PROTOCOL: 'HTTP/2.0' }), {
    method: 'GET',
    url: '/x%20y?q',
    httpVersion: '2.0',
    bodyBytes: 0,
  });
  t.equal((await head({ REQUEST_URI: 'http://h:1/p?q' })).url, '/p?q');
  t.equal((await head({ REQUEST_URI: 'http://h?q' })).url, '/?q');
  t.equal((await head({ REQUEST_URI: '*', REQUEST_METHOD: 'OPTIONS' })).url, '*');
  t.equal(
    (await head({ SCRIPT_NAME: '/a b', PATH_INFO: '/\xe4%?#', QUERY_STRING: 'x=y' })).url,
    '/a%20b/%E4%25%3F%23?x=y',
  );
  t.equal((await head({})).url, '/');
  t.equal((await head({ SERVER_PROTOCOL: 'HTTP/1.0' })).httpVersion, '1.0');
  const { fields, metadata, bodyBytes } = await head({
    ...post(0),
    CONTENT_TYPE: 'text/plain',
    HTTP_CONTENT_TYPE: 'text/plain',
    HTTP_CONTENT_LENGTH: '0',
    HTTP_HOST: 'h',
    HTTP_PROXY: 'evil',
    HTTP_X_FORWARDED_FOR: '1.2.3.4',
    HTTP_SEC_WEBSOCKET_KEY: 'k',
    HTTP_TE: 'trailers',
    HTTP_: 'nameless',
    'HTTP_A B': 'no token',
  });
  t.strictSame(fields, [
    ...['Host', 'h', 'Proxy', 'evil', 'X-Forwarded-For', '1.2.3.4'],
    ...['Sec-WebSocket-Key', 'k', 'TE', 'trailers'],
    ...['Content-Type', 'text/plain', 'Content-Length', '0'],
  ]);
  t.equal(bodyBytes, 0);
  t.equal(metadata.variables.get('HTTP_PROXY'), 'evil');
});

t.test('how a body is told of', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  const bodyBytes = async (params: Record<string, string>, body: string) => {
    one.send({ params, body, keepConn: true });
    const { exchange } = await kept.next();
    answer(exchange);
    await one.answer();
    return exchange.head.bodyBytes;
  };
  t.equal(await bodyBytes(post(3), 'abc'), 3);
  const chunked = { REQUEST_METHOD: 'POST', HTTP_TRANSFER_ENCODING: 'chunked' };
  t.equal(await bodyBytes(chunked, 'abc'), null);
  t.equal(await bodyBytes({ ...chunked, CONTENT_LENGTH: '3' }, 'abc'), 3, 'nginx has read it');
  t.equal(await bodyBytes({ REQUEST_METHOD: 'POST' }, ''), 0);
  const http2 = { REQUEST_METHOD: 'POST', SERVER_PROTOCOL: 'HTTP/2.0' };
  t.equal(await bodyBytes(http2, 'abc'), null);
  t.equal(await bodyBytes({ ...http2, REQUEST_METHOD: 'GET' }, ''), 0);
  for (const [params, status] of [
    [{ CONTENT_LENGTH: 'x' }, '400 Bad Request'],
    [{ HTTP_TRANSFER_ENCODING: 'gzip' }, '501 Not Implemented'],
    [{ CONTENT_LENGTH: '99999999999999999' }, '413 Payload Too Large'],
  ] as const) {
    one.send({ params: { REQUEST_METHOD: 'POST', ...params }, body: 'abc', keepConn: true });
    const got = await one.answer();
    t.match(text(got), new RegExp(`^Status: ${status}\r\n`));
    t.match(got.stderr, /^request refused: /);
  }
  t.equal(kept.all.length, 0, 'nobody was asked about these');
});

t.test('metadata', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  const metadata = async (params: Record<string, string>): Promise<RequestMetadata> => {
    one.send({ params, keepConn: true });
    const { exchange } = await kept.next();
    answer(exchange);
    await one.answer();
    return exchange.head.metadata;
  };
  t.match(
    await metadata({
      ...{ REMOTE_USER: 'anna', AUTH_TYPE: 'Basic', REMOTE_ADDR: '1.2.3.4', REMOTE_PORT: '99' },
      ...{ REMOTE_HOST: 'c', SERVER_ADDR: '5.6.7.8', SERVER_NAME: 's', SERVER_PORT: '443' },
      ...{ SERVER_SOFTWARE: 'w/1', HTTPS: 'on', SSL_PROTOCOL: 'TLSv1.3', SSL_CIPHER: 'c1' },
      ...{ SSL_CIPHER_USEKEYSIZE: '256', SCRIPT_NAME: '/app', PATH_INFO: '/x y' },
      ...{ PATH_TRANSLATED: '/t', SCRIPT_FILENAME: '/f', DOCUMENT_ROOT: '/d', USHER_ROUTE: 'r' },
    }),
    {
      ...{ protocol: 'fastcgi', role: 'responder', remoteUser: 'anna', authType: 'Basic' },
      ...{ remoteAddress: '1.2.3.4', remotePort: 99, remoteHost: 'c', localAddress: '5.6.7.8' },
      ...{ serverName: 's', serverPort: 443, serverSoftware: 'w/1', isSecure: true },
      tls: {
        ...{ protocol: 'TLSv1.3', cipher: 'c1', keyBits: 256 },
        ...{ sessionId: null, clientCertificate: null },
      },
      ...{ scriptName: '/app', pathInfo: '/x y', pathTranslated: '/t', scriptFilename: '/f' },
      ...{ documentRoot: '/d', route: 'r', zone: null, servlet: null },
    },
  );
  t.match(await metadata({ REMOTE_USER: '', REMOTE_PORT: 'x' }), {
    ...{ remoteUser: null, remotePort: null, remoteAddress: '', serverPort: 0, tls: null },
    ...{ isSecure: false, scriptName: '', pathInfo: '' },
  });
  t.match(await metadata({ SCRIPT_NAME: '/app/x', USHER_PREFIX: '/app/' }), {
    scriptName: '/app',
    pathInfo: '/x',
  });
});

t.test('an authorizer', async (t) => {
  const { client } = await world(t, (exchange) => {
    const opened = new Opened(exchange);
    opened.onBodyEnd = () => {
      const { role } = exchange.head.metadata;
      answer(exchange, '', 200, ['Variable-ROLE', role, 'Variable-BYTES', `${opened.bodyBytes}`]);
    };
    exchange.resumeBody();
  });
  const one = client();
  one.send({ params: { ...get, CONTENT_LENGTH: '5' }, role: 2, keepConn: true });
  t.equal(
    text(await one.answer()),
    'Status: 200 OK\r\nVariable-ROLE: authorizer\r\nVariable-BYTES: 0\r\n\r\n',
  );
});

t.test('fields of answers', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  const head = async (fields: string[], status = 200, method = 'GET') => {
    one.send({ params: { ...get, REQUEST_METHOD: method }, keepConn: true });
    const { exchange } = await kept.next();
    answer(exchange, 'x', status, fields);
    return await one.answer();
  };
  const dropped = ['Connection', 'Keep-Alive', 'Proxy-Connection', 'TE', 'Trailer'];
  const more = ['transfer-encoding', 'UPGRADE', 'Status'];
  t.equal(
    text(await head([...dropped, ...more, 'A'].flatMap((name) => [name, '1']))),
    'Status: 200 OK\r\nA: 1\r\n\r\nx',
  );
  const cookies = Array.from({ length: 40 }, (_, i) => `c${i}=${i}`);
  const got = text(await head(cookies.flatMap((cookie) => ['Set-Cookie', cookie])));
  t.strictSame(
    [...got.matchAll(/Set-Cookie: (.*)\r\n/g)].map((match) => match[1]),
    cookies,
  );
  const long = 'l'.repeat(200_000);
  t.equal(text(await head(['X', long])), `Status: 200 OK\r\nX: ${long}\r\n\r\nx`);
  t.equal(text(await head(['X', '\xe4\t'], 599)), 'Status: 599 Unknown\r\nX: \xe4\t\r\n\r\nx');
  t.equal(text(await head(['Content-Length', '1'], 204)), 'Status: 204 No Content\r\n\r\n');
  t.equal(
    text(await head(['Content-Length', '1'], 200, 'HEAD')),
    'Status: 200 OK\r\nContent-Length: 1\r\n\r\n',
  );
  for (const fields of [
    ['X', 'a\r\nB: c'],
    ['X', 'a\0'],
    ['X', '\u20ac'],
    ['X Y', 'a'],
  ]) {
    const { stdout, stderr } = await head(fields);
    t.match(stdout.toString(), /^Status: 500 Internal Server Error\r\n/);
    t.match(stderr, /may not be sent/);
  }
});

t.test('a wrong Content-Length goes as it is, the request ends', async (t) => {
  const { client } = await world(t, (exchange) => {
    new Opened(exchange);
    answer(exchange, 'abc', 200, ['Content-Length', '10']);
  });
  const one = client();
  for (let i = 0; i < 2; i++) {
    one.send({ params: get, keepConn: true });
    t.match(text(await one.answer()), /Content-Length: 10\r\n\r\nabc$/);
  }
});

t.test('an early answer leaves the body unread, the connection serves on', async (t) => {
  const { client } = await world(t, (exchange) => {
    if (exchange.head.method === 'POST') answer(exchange, 'early', 413);
    else echo(exchange);
  });
  const one = client();
  const body = Buffer.alloc(1_000_000, 'x');
  one.send({ params: post(body.length), body, keepConn: true });
  t.match(text(await one.answer()), /early$/);
  one.send({ params: get, keepConn: true });
  t.match(text(await one.answer()), /GET \/a/);
  one.send({ params: post(body.length), body });
  t.match(text(await one.answer()), /early$/);
  await one.closed();
});

t.test('a body that nobody wants yet is not read, and its peer stopped', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  const size = 20_000_000;
  one.sendHead({ params: post(size), keepConn: true });
  one.sendBody(Buffer.alloc(size, 'x'));
  one.endBody();
  const opened = await kept.next();
  await eventually(() => one.socket.bytesWritten > 0);
  t.equal(opened.bodyBytes, 0);
  let pauses = 0;
  opened.onBody = () => {
    if (++pauses % 10 !== 0) return;
    opened.exchange.pauseBody();
    const before = opened.bodyBytes;
    setImmediate(() => {
      t.equal(opened.bodyBytes, before, 'nothing while paused');
      opened.exchange.resumeBody();
    });
  };
  opened.onBodyEnd = () => answer(opened.exchange, `${opened.bodyBytes}`);
  opened.exchange.resumeBody();
  t.match(text(await one.answer()), /\r\n\r\n20000000$/);
  t.ok(pauses > 10);
});

t.test('a reader that is slow: write says false, then there is room again', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  one.isCounting = true;
  one.send({ params: get, keepConn: true });
  const { exchange, ...rest } = await kept.next();
  void rest;
  exchange.begin(200, '', []);
  one.socket.pause();
  const piece = Buffer.alloc(100_000, 'x');
  let pieces = 0;
  while (exchange.write(piece)) {
    pieces++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.ok(pieces < 1000, 'it does not grow for ever');
  one.socket.resume();
  exchange.end();
  t.equal((await one.answer()).status, 0);
  t.equal(one.stdoutBytes, 'Status: 200 OK\r\n\r\n'.length + (pieces + 1) * piece.length);
});

t.test('what is given goes out by itself, and by flush', async (t) => {
  const kept = new Kept();
  const { client, lines } = await world(t, kept.run);
  const one = client();
  one.send({ params: get, keepConn: true });
  const { exchange } = await kept.next();
  exchange.begin(200, '', []);
  exchange.flush();
  await one.output('200 OK');
  exchange.write(Buffer.from('one'));
  await one.output('one');
  exchange.report('a line');
  await one.output('a line');
  exchange.end();
  t.equal((await one.answer()).stderr, 'a line');
  exchange.report('afterwards');
  t.strictSame(lines, ['afterwards']);
});

t.test('clients that leave', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  one.send({ params: get, keepConn: true });
  const first = await kept.next();
  one.abort();
  const got = await one.answer();
  t.strictSame([text(got), got.status], ['', 0], 'the connection goes on');
  t.match(first.aborted?.message, 'the client has left');
  t.ok(first.isOver);
  answer(first.exchange, 'too late');
  one.send({ params: get, keepConn: true });
  const second = await kept.next();
  one.destroy();
  await eventually(() => second.isOver);
  t.ok(second.aborted);

  const uploader = client();
  uploader.sendHead({ params: post(50_000_000) });
  uploader.sendBody(Buffer.alloc(10_000_000));
  const third = await kept.next();
  await eventually(() => uploader.socket.bytesWritten > 0);
  uploader.destroy();
  await eventually(() => third.isOver);
  t.ok(third.aborted, 'also where nothing is read');
});

t.test('half of an upload is none', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  one.send({ params: post(10), body: 'abc', keepConn: true });
  const { exchange } = await kept.next();
  exchange.resumeBody();
  t.match(text(await one.answer()), /^Status: 400 /);
  one.send({ params: post(10), body: '', keepConn: true });
  const kept2 = await kept.next();
  kept2.exchange.resumeBody();
  await eventually(() => kept2.isBodyWhole);
  answer(kept2.exchange, 'without');
  t.match(text(await one.answer()), /without$/, 'a body that the web server keeps back');
});

t.test('answers that cannot become whole', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  one.send({ params: get, keepConn: true });
  const first = await kept.next();
  first.exchange.begin(200, '', []);
  first.exchange.write(Buffer.from('half'));
  first.exchange.breakOff();
  const got = await one.answer();
  t.match(text(got), /half$/);
  t.equal(got.status, null, 'the connection ended without an end of the request');
  const two = client();
  two.send({ params: get, keepConn: true });
  const second = await kept.next();
  second.exchange.giveUp({ status: 504, reason: 'Too slow', log: 'deadline' });
  const late = await two.answer();
  t.match(text(late), /^Status: 504 Gateway Timeout\r\n/);
  t.equal(late.stderr, 'deadline');
  t.match(second.aborted?.message, 'deadline');
});

t.test('peers that break the protocol', async (t) => {
  const kept = new Kept();
  const { listener, lines, client } = await world(t, kept.run);
  const socket = connect(listener.address);
  socket.write('GET / HTTP/1.1\r\n\r\n');
  await once(socket, 'close');
  t.match(lines, [/^FastCGI: a record of version 71/]);
  const other = connect(listener.address);
  other.write(Buffer.concat([begin(1), params(1, get), stdin(1, 'x')]));
  const opened = await kept.next();
  other.write(record(5, 1, Buffer.from('after the end')));
  await once(other, 'close');
  await eventually(() => opened.isOver);
  t.match(opened.aborted, Error);
  t.equal(lines.length, 2);
  const one = client();
  one.send({ params: get });
  answer((await kept.next()).exchange, 'fine');
  t.match(text(await one.answer()), /fine$/, 'others are served');
});

t.test('what is asked about us, other roles, a second request at once', async (t) => {
  const { listener, client } = await world(t, echo);
  const socket = connect(listener.address);
  t.teardown(() => socket.destroy());
  const values = Buffer.from('\x0f\x00FCGI_MPXS_CONNS', 'latin1');
  socket.write(record(9, 0, values));
  const [reply] = (await once(socket, 'data')) as [Buffer];
  t.match(reply.toString('latin1'), /FCGI_MPXS_CONNS0/);
  const one = client();
  one.send({ params: get, role: 3, keepConn: true });
  t.equal((await one.answer()).protocolStatus, 3);
  one.send({ params: get, keepConn: true });
  one.abort();
  t.match(text(await one.answer()), /GET/);
  socket.write(abort(1));
});

t.test('stop: idle connections at once, busy ones after their exchange', async (t) => {
  const kept = new Kept();
  const { listener, client } = await world(t, kept.run);
  const [idle, busy, streaming] = [client(), client(), client()];
  idle.send({ params: get, keepConn: true });
  answer((await kept.next()).exchange);
  await idle.answer();
  busy.send({ params: get, keepConn: true });
  const waiting = await kept.next();
  streaming.sendHead({ params: post(6), keepConn: true });
  const upload = await kept.next();
  upload.exchange.resumeBody();
  upload.onBodyEnd = () => answer(upload.exchange, upload.body);
  let isStopped = false;
  const stopped = listener.stop().then(() => {
    isStopped = true;
  });
  await idle.closed();
  t.notOk(isStopped);
  streaming.sendBody(Buffer.from('abcdef'));
  streaming.endBody();
  t.match(text(await streaming.answer()), /abcdef$/);
  answer(waiting.exchange, 'late');
  t.match(text(await busy.answer()), /late$/);
  await stopped;
  await busy.closed();
  const refused = connect(listener.address);
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  t.equal(error.code, 'ENOENT', 'its socket is gone');
});

t.test('stop: what has arrived is served', async (t) => {
  const { listener } = await world(t, echo);
  const before = connect(listener.address);
  before.write(request(1, get));
  await once(before, 'data');
  before.write(request(1, get)); // written here, not read there
  const fresh: Socket = connect(listener.address, () => fresh.write(request(1, get)));
  const stopped = listener.stop();
  const [again] = (await once(before, 'data')) as [Buffer];
  t.match(again.toString('latin1'), /GET/);
  const [first] = (await once(fresh, 'data')) as [Buffer];
  t.match(first.toString('latin1'), /GET/);
  before.destroy();
  fresh.destroy();
  await stopped;
});

t.test('destroy: exchanges are aborted', async (t) => {
  const kept = new Kept();
  const { listener, client } = await world(t, kept.run);
  const one = client();
  one.send({ params: get });
  const opened = await kept.next();
  listener.destroy();
  await one.closed();
  await eventually(() => opened.isOver);
  t.ok(opened.aborted);
});
