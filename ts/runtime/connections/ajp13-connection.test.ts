// SPDX-License-Identifier: Apache-2.0
// Requests by AJP 1.3 over real sockets.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { encodeForwardRequest } from '../../protocols/ajp13/client-encoder.ts';
import { packet, request } from '../../protocols/ajp13/testing/peers.ts';
import type { Servlet } from '../exchange.ts';
import type { ListenOptions } from '../options.ts';
import { type Listener, listen } from './listener.ts';
import { Ajp13Client } from './testing/ajp13-client.ts';
import { answer, directory, echo, eventually, Kept, mirror, Opened } from './testing/servlets.ts';

interface World {
  listener: Listener;
  lines: string[];
  client(): Ajp13Client;
}

async function world(t: Test, run: Servlet, options: Partial<ListenOptions> = {}): Promise<World> {
  const lines: string[] = [];
  const log = (line: string) => lines.push(line);
  const listener = await listen(
    { protocol: 'ajp13', address: '127.0.0.1:0', ...options },
    { run, log },
  );
  const clients: Ajp13Client[] = [];
  t.teardown(async () => {
    for (const { socket } of clients) socket.destroy();
    await listener.stop();
  });
  const client = () => {
    const client = new Ajp13Client(listener.address, options.packetBytes);
    clients.push(client);
    return client;
  };
  return { listener, lines, client };
}

const hex = (bytes: Buffer) => bytes.toString('hex');

t.test('requests on a kept connection', async (t) => {
  const { client } = await world(t, echo);
  const one = client();
  for (let i = 0; i < 3; i++) {
    one.send({ uri: '/a%20b', attributes: { queryString: 'c=d' } });
    t.match(await one.answer(), {
      status: 200,
      fields: [['X-Body', '0']],
      body: Buffer.from('GET /a%20b?c=d '),
      reuse: true,
    });
  }
  t.equal(one.asked, 0, 'nobody asks for a body that is not there');
});

t.test('a small answer is one write', async (t) => {
  const { listener } = await world(t, echo);
  const socket = connect(Number(listener.address.split(':')[1]), '127.0.0.1');
  t.teardown(() => socket.destroy());
  socket.write(encodeForwardRequest(request()));
  const [chunk] = (await once(socket, 'data')) as [Buffer];
  t.match(hex(chunk), /414200020501$/);
});

t.test('bodies of many sizes, there and back', async (t) => {
  for (const packetBytes of [8192, 65536]) {
    const { client } = await world(t, mirror, { packetBytes });
    const one = client();
    for (const size of [0, 1, 8185, 8186, 8187, 65_530, 500_000]) {
      const body = Buffer.alloc(size, 'abcdefghijk');
      one.send({ method: 'POST' }, body);
      const got = await one.answer();
      t.ok(got.body.equals(body), `${size} bytes`);
      t.equal(got.reuse, true);
    }
  }
});

t.test('the stream in single bytes', async (t) => {
  const { listener } = await world(t, echo);
  const socket = connect(Number(listener.address.split(':')[1]), '127.0.0.1');
  t.teardown(() => socket.destroy());
  const received: Buffer[] = [];
  socket.on('data', (chunk) => received.push(chunk));
  const head = encodeForwardRequest(request({ method: 'POST', fields: [['Content-Length', '3']] }));
  for (const byte of Buffer.concat([
    head,
    Buffer.from('1234000500037879', 'hex'),
    Buffer.from('z'),
  ])) {
    socket.write(Uint8Array.of(byte));
    await new Promise((resolve) => setImmediate(resolve));
  }
  await eventually(() => Buffer.concat(received).includes('POST /a%20 xyz'));
});

t.test('a body is asked for when somebody wants it', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  one.send({ method: 'POST' }, Buffer.alloc(20_000, 'x'));
  const { exchange, ...counts } = await kept.next();
  void counts;
  one.socket.write('');
  t.equal(exchange.head.bodyBytes, 20_000);
  t.equal(one.asked, 0);
  exchange.resumeBody();
  await eventually(() => one.asked === 2);
  answer(exchange, 'x');
  await one.answer();

  one.send({ method: 'POST', protocol: 'HTTP/2.0' }, null);
  const unknown = await kept.next();
  t.equal(unknown.exchange.head.bodyBytes, null);
  unknown.exchange.resumeBody();
  await eventually(() => one.asked === 3);
  one.sendPart(0);
  await eventually(() => unknown.isBodyWhole);
  answer(unknown.exchange, 'x');
  t.equal((await one.answer()).reuse, true);
});

t.test('an early answer waits with its end for what is owed', async (t) => {
  const { client } = await world(t, (exchange) => {
    new Opened(exchange);
    answer(exchange, 'early', 413);
  });
  const one = client();
  one.socket.cork();
  one.send({ method: 'POST', fields: [['Content-Length', '5']] }, null);
  one.socket.uncork();
  await eventually(() => one.bodyBytes === 5);
  for (const piece of ['123400070005', '6162636465']) one.socket.write(Buffer.from(piece, 'hex'));
  const got = await one.answer();
  t.match(got, { status: 413, body: Buffer.from('early'), reuse: true });
  one.send({ method: 'POST' }, Buffer.alloc(100_000));
  t.match(await one.answer(), { status: 413, reuse: true });
  t.equal(one.asked, 0);
});

t.test('pings', async (t) => {
  const { client } = await world(t, echo);
  const one = client();
  one.ping();
  await eventually(() => one.pongs === 1);
  one.send({});
  await one.answer();
  one.ping();
  await eventually(() => one.pongs === 2);
});

t.test('metadata', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run, { attributes: ['TENANT'] });
  const one = client();
  one.send({
    uri: '/a%20b',
    remoteAddr: '1.2.3.4',
    remoteHost: 'c',
    serverName: 's',
    serverPort: 443,
    isSsl: true,
    attributes: {
      ...{ remoteUser: 'anna', authType: 'Basic', route: 'r1', sslCert: 'PEM', sslCipher: 'c1' },
      ...{ sslSession: 's1', sslKeySize: 256 },
      others: [
        ['AJP_REMOTE_PORT', '99'],
        ['AJP_LOCAL_ADDR', '5.6.7.8'],
        ['AJP_SSL_PROTOCOL', 'TLSv1.3'],
        ['TENANT', 'blue'],
      ],
    },
  });
  const { exchange } = await kept.next();
  const { metadata } = exchange.head;
  t.match(metadata, {
    ...{ protocol: 'ajp13', role: 'responder', remoteUser: 'anna', authType: 'Basic' },
    ...{ remoteAddress: '1.2.3.4', remotePort: 99, remoteHost: 'c', localAddress: '5.6.7.8' },
    ...{ serverName: 's', serverPort: 443, isSecure: true, scriptName: '', pathInfo: '/a b' },
    ...{ route: 'r1', zone: null, servlet: null },
    tls: {
      ...{ protocol: 'TLSv1.3', cipher: 'c1', sessionId: 's1', keyBits: 256 },
      clientCertificate: 'PEM',
    },
  });
  t.match(Object.fromEntries(metadata.variables), { TENANT: 'blue', remote_user: 'anna' });
  answer(exchange);
  await one.answer();
});

t.test('fields of answers, and heads that do not fit', async (t) => {
  const kept = new Kept();
  const { client, lines } = await world(t, kept.run);
  const one = client();
  const head = async (fields: string[], status = 200) => {
    one.send({});
    answer((await kept.next()).exchange, 'x', status, fields);
    return await one.answer();
  };
  const cookies = Array.from({ length: 40 }, (_, i) => `c${i}=${i}`);
  const got = await head([
    ...['Connection', 'close', 'Transfer-Encoding', 'chunked', 'Status', '1'],
    ...cookies.flatMap((cookie) => ['Set-Cookie', cookie]),
  ]);
  t.strictSame(
    got.fields,
    cookies.map((cookie) => ['Set-Cookie', cookie]),
  );
  t.equal((await head(['X', 'l'.repeat(8000)])).status, 200);
  for (const fields of [
    ['X', 'l'.repeat(8190)],
    ['X', 'a\nb'],
  ]) {
    t.match(await head(fields), { status: 500, reuse: true });
  }
  t.match(lines, [/too long|8192|packet/, /may not be sent/]);
  t.match(await head(['Content-Length', '9']), { body: Buffer.from('x'), reuse: true });
});

t.test('flush, and a reader that is slow', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  one.send({});
  const { exchange } = await kept.next();
  exchange.begin(200, '', []);
  exchange.flush();
  await eventually(() => one.flushes === 1);
  one.socket.pause();
  const piece = Buffer.alloc(100_000, 'x');
  let pieces = 1;
  while (exchange.write(piece)) {
    pieces++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  one.socket.resume();
  exchange.end();
  t.equal((await one.answer()).body.length, pieces * piece.length);
});

t.test('clients that leave', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  one.send({ method: 'POST' }, Buffer.alloc(20_000));
  const opened = await kept.next();
  one.socket.destroy();
  await eventually(() => opened.isOver);
  t.match(opened.aborted?.message, 'the client has left');
});

t.test('answers that cannot become whole', async (t) => {
  const kept = new Kept();
  const { client } = await world(t, kept.run);
  const one = client();
  one.send({});
  const first = await kept.next();
  first.exchange.begin(200, '', []);
  first.exchange.write(Buffer.from('half'));
  first.exchange.breakOff();
  t.match(await one.answer(), { status: 200, body: Buffer.from('half'), reuse: null });
  const two = client();
  two.send({});
  const second = await kept.next();
  second.exchange.begin(200, '', []);
  second.exchange.breakOff();
  t.match(await two.answer(), { status: 500, reuse: false }, 'it is not sent again');
});

t.test('what is refused', async (t) => {
  const secretFile = join(directory(t), 'secret');
  writeFileSync(secretFile, 'geheim\nmore\n');
  const kept = new Kept();
  const { client, lines, listener } = await world(t, kept.run, { secretFile });
  const refused = async (bytes: Buffer): Promise<string> => {
    const socket = connect(Number(listener.address.split(':')[1]), '127.0.0.1');
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part));
    socket.on('error', () => undefined);
    socket.write(bytes);
    await once(socket, 'close');
    return hex(Buffer.concat(parts));
  };
  const secret = 'geheim';
  t.match(await refused(encodeForwardRequest(request())), /^4142....040193.*414200020500$/);
  const wrong = request({ attributes: { secret: 'x' } });
  t.match(await refused(encodeForwardRequest(wrong)), /^4142....040193/);
  const many = request({
    attributes: { secret },
    fields: Array.from({ length: 101 }, (_, i) => [`A${i}`, '']),
  });
  t.match(await refused(encodeForwardRequest(many)), /^4142....0401af/);
  const long = Buffer.from('1234ffff', 'hex');
  t.match(await refused(long), /^4142....0401af/);
  t.equal(await refused(Buffer.from('GET / HTTP/1.0\r\n\r\n')), '');
  t.equal(await refused(packet('1234', '07')), '', 'SHUTDOWN');
  t.equal(lines.length, 6);
  const one = client();
  one.send({ attributes: { secret } });
  const opened = await kept.next();
  t.notOk(opened.exchange.head.metadata.variables.has('secret'));
  one.socket.write(Buffer.from('nobody asked for this'));
  t.match(await one.answer(), { status: 400, reuse: false });
  t.match(opened.aborted?.message, /nobody asked for/);
});

t.test('stop: idle connections at once, busy ones after their exchange', async (t) => {
  const kept = new Kept();
  const { listener, client } = await world(t, kept.run);
  const [idle, busy] = [client(), client()];
  idle.send({});
  answer((await kept.next()).exchange);
  await idle.answer();
  busy.send({});
  const waiting = await kept.next();
  const stopped = listener.stop();
  await eventually(() => idle.isClosed);
  answer(waiting.exchange, 'late');
  t.match(await busy.answer(), { body: Buffer.from('late'), reuse: false });
  await stopped;
  await eventually(() => busy.isClosed);
});
