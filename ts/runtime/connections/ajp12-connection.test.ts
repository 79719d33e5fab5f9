// SPDX-License-Identifier: Apache-2.0
// Requests and signals by AJP 1.2 over real sockets.
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Ajp12ClientDecoder } from '../../protocols/ajp12/client-decoder.ts';
import { encodeRequest, encodeSignal } from '../../protocols/ajp12/client-encoder.ts';
import { request } from '../../protocols/ajp12/testing/peers.ts';
import type { Ajp12Request, Field, Signal } from '../../protocols/ajp12/types.ts';
import type { Servlet } from '../exchange.ts';
import type { ListenOptions } from '../options.ts';
import { type Listener, listen } from './listener.ts';
import { answer, directory, echo, eventually, Kept, mirror, Opened } from './testing/servlets.ts';

interface World {
  listener: Listener;
  lines: string[];
  signals: Signal[];
  open(): Socket;
}

async function world(t: Test, run: Servlet, options: Partial<ListenOptions> = {}): Promise<World> {
  const [lines, signals]: [string[], Signal[]] = [[], []];
  const listener = await listen(
    { protocol: 'ajp12', address: join(directory(t), 's'), ...options },
    { run, log: (line) => lines.push(line), onSignal: (signal) => signals.push(signal) },
  );
  t.teardown(async () => await listener.stop());
  const open = () => {
    const [host, port] = listener.address.split(':');
    const socket =
      port === undefined ? connect(listener.address) : connect(Number(port), host as string);
    socket.on('error', () => undefined);
    t.teardown(() => socket.destroy());
    return socket;
  };
  return { listener, lines, signals, open };
}

interface Answer {
  status: number;
  fields: Field[];
  servletError: string;
  body: Buffer;
}

/** Sends a request when it is due, and reads its answer to the end. */
async function ask(
  socket: Socket,
  changes: Partial<Ajp12Request>,
  body: string | Buffer = '',
  key: Buffer | null = null,
): Promise<Answer> {
  const parts: Buffer[] = [];
  const got: Answer = { status: 0, fields: [], servletError: '', body: Buffer.alloc(0) };
  const fields: Field[] = [...(changes.fields ?? [])];
  if (body.length > 0) fields.push(['Content-Length', `${body.length}`]);
  const bytes = Buffer.concat([
    encodeRequest(request({ ...changes, fields })),
    Buffer.from(body as string),
  ]);
  const decoder = new Ajp12ClientDecoder(
    {
      onChallenge: (challengeAnswer) => socket.write(Buffer.concat([challengeAnswer, bytes])),
      onHead: (status, _reason, fields, servletError) =>
        Object.assign(got, { status, fields, servletError }),
      onBody: (bytes) => parts.push(Buffer.from(bytes)),
      onEnd: () => undefined,
      onPong: () => undefined,
    },
    key,
  );
  decoder.begin('GET');
  if (key === null) socket.write(bytes);
  socket.on('data', (chunk) => decoder.push(chunk));
  await once(socket, 'close');
  return { ...got, body: Buffer.concat(parts) };
}

t.test('a request, its head and metadata', async (t) => {
  const kept = new Kept();
  const { open } = await world(t, kept.run);
  const answered = ask(open(), {
    ...{ method: 'POST', zone: 'z', servlet: 's1', requestUri: '/a b%20?x', queryString: 'x' },
    ...{ remoteAddr: '1.2.3.4', remoteHost: 'c', remoteUser: 'anna', authType: 'Basic' },
    ...{ serverName: 's', serverPort: 443, serverSoftware: 'w', route: 'r1', documentRoot: '/d' },
    environment: [
      ['HTTPS', 'on'],
      ['SSL_CIPHER', 'c1'],
      ['REMOTE_PORT', '99'],
      ['X', 'y'],
    ],
    fields: [['Host', 'h']],
  });
  const { exchange } = await kept.next();
  const { metadata, ...head } = exchange.head;
  t.strictSame(head, {
    ...{ method: 'POST', url: '/a%20b%20?x', httpVersion: '1.1', bodyBytes: 0 },
    fields: ['Host', 'h'],
  });
  t.match(metadata, {
    ...{ protocol: 'ajp12', zone: 'z', servlet: 's1', remoteAddress: '1.2.3.4', remoteHost: 'c' },
    ...{ remoteUser: 'anna', authType: 'Basic', serverName: 's', serverPort: 443, route: 'r1' },
    ...{ serverSoftware: 'w', documentRoot: '/d', isSecure: true, remotePort: 99 },
    ...{ scriptName: '', pathInfo: '/a b ', tls: { cipher: 'c1' } },
  });
  t.equal(metadata.variables.get('X'), 'y');
  answer(exchange, 'body', 201, ['X', 'y', 'Connection', 'close']);
  const got = await answered;
  t.match(got, { status: 201, fields: [['X', 'y']], servletError: '' });
  t.equal(got.body.toString(), 'body');
});

t.test('bodies of many sizes, there and back', async (t) => {
  const { open } = await world(t, mirror);
  for (const size of [0, 1, 65_536, 3_000_000]) {
    const body = Buffer.alloc(size, 'abcdefghijk');
    const got = await ask(open(), { method: 'POST' }, body);
    t.ok(got.body.equals(body), `${size} bytes`);
  }
});

t.test('an early answer, and a client that has said all', async (t) => {
  const { open } = await world(t, (exchange) => {
    if (exchange.head.url === '/late') echo(exchange);
    else {
      new Opened(exchange);
      answer(exchange, 'early', 413);
    }
  });
  const early = await ask(open(), { method: 'POST' }, Buffer.alloc(5_000_000));
  t.match(early, { status: 413 });
  t.equal(early.body.toString(), 'early');
  const socket = open();
  const late = ask(socket, { requestUri: '/late' });
  socket.end();
  t.equal((await late).body.toString(), 'GET /late ');
});

t.test('why an engine failed', async (t) => {
  const { open, lines } = await world(t, (exchange) => {
    new Opened(exchange);
    exchange.refuse({ status: 500, reason: 'Internal Error', log: 'Error: it\n  at ö' });
  });
  const got = await ask(open(), {});
  t.equal(got.status, 500);
  t.equal(got.servletError, Buffer.from('Error: it at ö').toString('latin1'));
  t.equal(lines.length, 1);
});

t.test('what is refused, cut off, left', async (t) => {
  const kept = new Kept();
  const { open, lines } = await world(t, kept.run);
  const raw = async (bytes: Buffer): Promise<string> => {
    const socket = open();
    const parts: Buffer[] = [];
    socket.on('data', (part) => parts.push(part));
    socket.write(bytes);
    await once(socket, 'close');
    return Buffer.concat(parts).toString();
  };
  t.equal(await raw(Buffer.from('GET / HTTP/1.0')), '');
  // As mod_jk sends a chunked request: the header, and no body.
  const chunked = encodeRequest(request({ fields: [['Transfer-Encodinx', 'chunked']] }));
  chunked.write('Transfer-Encoding', chunked.indexOf('Transfer-Encodinx'));
  t.match(await raw(chunked), /^Status: 411 Length Required\r\n/);
  const many = request({ environment: Array.from({ length: 101 }, (_, i) => [`A${i}`, '']) });
  t.match(await raw(encodeRequest(many)), /^Status: 431 Request Header Fields Too Large\r\n/);
  t.equal(lines.length, 3);

  const leaver = open();
  leaver.write(encodeRequest(request({ fields: [['Content-Length', '9']] })));
  const left = await kept.next();
  leaver.destroy();
  await eventually(() => left.isOver);
  t.ok(left.aborted);

  const broken = ask(open(), {});
  const first = await kept.next();
  first.exchange.begin(200, '', ['Content-Length', '9']);
  first.exchange.breakOff();
  t.match(await broken, { status: 500 }, 'nothing of it had gone out');
});

t.test('a secret', async (t) => {
  const secretFile = join(directory(t), 'secret');
  const key = Buffer.from('all\nof it\n');
  writeFileSync(secretFile, key);
  const { open, lines, signals } = await world(t, echo, {
    secretFile,
    challengeBytes: 7,
    address: '127.0.0.1:0',
  });
  const got = await ask(open(), { requestUri: '/known' }, '', key);
  t.equal(got.body.toString(), 'GET /known ');
  const stranger = await ask(open(), {}, '', Buffer.from('all'));
  t.equal(stranger.status, 0);
  t.match(lines, [/wrong answer to the challenge/]);
  const socket = open();
  const decoder = new Ajp12ClientDecoder(
    {
      onChallenge: (bytes) => socket.write(Buffer.concat([bytes, encodeSignal('shutdown')])),
      onHead: () => undefined,
      onBody: () => undefined,
      onEnd: () => undefined,
      onPong: () => undefined,
    },
    key,
  );
  socket.on('data', (chunk) => decoder.push(chunk));
  await once(socket, 'close');
  t.strictSame(signals, ['shutdown']);
});

t.test('signals without a secret', async (t) => {
  const { open, lines, signals } = await world(t, echo);
  const socket = open();
  socket.write(encodeSignal('ping'));
  const [pong] = (await once(socket, 'data')) as [Buffer];
  t.equal(pong.length, 1);
  const other = open();
  other.write(encodeSignal('restart'));
  other.resume();
  await once(other, 'close');
  t.strictSame(signals, []);
  t.match(lines, [/restart is not obeyed: there is no secretFile/]);
});

t.test('stop waits for the request that is under way', async (t) => {
  const kept = new Kept();
  const { listener, open } = await world(t, kept.run);
  const answered = ask(open(), {});
  const { exchange } = await kept.next();
  const stopped = listener.stop();
  answer(exchange, 'late');
  t.equal((await answered).body.toString(), 'late');
  await stopped;
});
