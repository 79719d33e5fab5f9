// SPDX-License-Identifier: Apache-2.0
// What all gateways have in common: the link to the manager, connections of web servers.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, connect as netConnect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { Connections, type Exchange, type RequestHandler } from './connections.ts';
import type { Down, Up } from './link.ts';
import { LinkEnd } from './link-end.ts';
import { record, TestClient } from './testing/client.ts';

const dir = mkdtempSync(join(tmpdir(), 'usher-gateways-'));
t.teardown(() => rmSync(dir, { recursive: true }));
let sockets = 0;
const socketPath = () => join(dir, `s${++sockets}`);

/** Two ends of a stream. */
async function socketPair(): Promise<[Socket, Socket]> {
  const path = socketPath();
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const near = netConnect(path);
  const far = await new Promise<Socket>((resolve) => server.once('connection', resolve));
  server.close();
  return [near, far];
}

t.test('link', async (t) => {
  const [near, manager] = await socketPair();
  const messages: Down[] = [];
  let ends = 0;
  let heard = (): void => undefined;
  const link = new LinkEnd(
    {
      onMessage: (message) => {
        messages.push(message);
        heard();
      },
      onEnd: () => {
        ends++;
        heard();
      },
    },
    near,
  );
  const next = () =>
    new Promise<void>((resolve) => {
      heard = resolve;
    });
  let text = '';
  let said = (): void => undefined;
  manager.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    said();
  });
  const reply = async (): Promise<Up> => {
    while (!text.includes('\n')) {
      await new Promise<void>((resolve) => {
        said = resolve;
      });
    }
    const at = text.indexOf('\n');
    const line = text.slice(0, at);
    text = text.slice(at + 1);
    return JSON.parse(line) as Up;
  };

  const backends = { type: 'backends', backends: [] } as const;
  const named = Buffer.from(`${JSON.stringify({ ...backends, note: 'Käfer €' })}\n`);
  for (const byte of named) {
    manager.write(Buffer.from([byte]));
    await new Promise((resolve) => setImmediate(resolve));
  }
  if (messages.length === 0) await next();
  t.same(messages, [{ ...backends, note: 'Käfer €' }], 'bytes may come one by one');

  manager.write(`${JSON.stringify(backends)}\n`.repeat(3));
  while (messages.length < 4) await next();
  t.equal(messages.length, 4, 'and lines together');

  for (const wrong of ['no JSON', '[]', '{"type":"other"}', 'null', '7']) {
    manager.write(`\n${wrong}\n`); // an empty line says nothing
    const answer = await reply();
    t.match(
      answer,
      { type: 'log', level: 'error', event: 'link.broken', text: wrong },
      `${wrong} is named`,
    );
  }
  manager.write(`${JSON.stringify(backends)}\n`);
  while (messages.length < 5) await next();
  t.equal(messages.length, 5, 'and the next line is heard');

  link.send({ type: 'ready' });
  t.same(await reply(), { type: 'ready' }, 'what the gateway says');
  link.log('info', 'a.b', 'line\nline');
  t.same(await reply(), { type: 'log', level: 'info', event: 'a.b', text: 'line\nline' });

  manager.write('{"type":');
  manager.end();
  while (ends === 0) await next();
  t.equal(link.isOpen, false, 'its end is told');
  link.send({ type: 'ready' });
  await link.close();
  t.equal(ends, 1, 'once, and nothing that is said later fails');
});

t.test('link: a manager that does not read', async (t) => {
  const [near, manager] = await socketPair();
  const link = new LinkEnd({ onMessage: () => undefined }, near);
  manager.pause();
  const text = 'x'.repeat(100_000);
  for (let i = 0; i < 100; i++) link.log('info', 'a.b', text);
  t.ok(near.writableLength < 2_000_000, 'costs no memory beyond a limit');
  await link.close(10);
  t.equal(link.isOpen, false, 'and no time');
  manager.destroy();
});

/** What the gateway saw of a request. */
interface Seen {
  exchange: Exchange;
  body: string;
  events: string[];
}

async function gateway(
  t: Test,
  onRequest: (exchange: Exchange, seen: Seen) => Partial<RequestHandler>,
) {
  const path = socketPath();
  const seen: Seen[] = [];
  const broken: string[] = [];
  const connections = new Connections({
    onRequest: (exchange) => {
      const entry: Seen = { exchange, body: '', events: [] };
      seen.push(entry);
      const handler = onRequest(exchange, entry);
      return {
        onBody: (bytes) => {
          entry.body += bytes.toString('latin1');
          handler.onBody?.(bytes);
        },
        onBodyEnd: () => {
          entry.events.push('body end');
          handler.onBodyEnd?.();
        },
        onAbort: () => {
          entry.events.push('abort');
          handler.onAbort?.();
        },
        onDrain: () => {
          entry.events.push('drain');
          handler.onDrain?.();
        },
      };
    },
    onBroken: (error) => broken.push(error.message),
    onError: (error) => t.fail(error.message),
  });
  await connections.listen({ path });
  const clients: TestClient[] = [];
  const client = () => {
    const made = new TestClient(path);
    clients.push(made);
    return made;
  };
  t.teardown(async () => {
    for (const each of clients) each.destroy();
    await connections.drain();
  });
  return { connections, client, seen, broken };
}

/** Answers when the body is there. */
const echo = (exchange: Exchange, seen: Seen): Partial<RequestHandler> => ({
  onBodyEnd: () => {
    exchange.report('a line\n');
    exchange.write(Buffer.from(`Status: 200\r\n\r\n${exchange.head.params.get('A')}`));
    exchange.write(Buffer.from(`;${seen.body}`));
    exchange.end(3);
  },
});

t.test('a request and its answer', async (t) => {
  const { client, connections, seen } = await gateway(t, echo);
  const one = client();
  one.send({ params: { A: 'one' }, body: 'x'.repeat(100_000) });
  const answer = await one.answer();
  t.equal(answer.stdout.toString(), `Status: 200\r\n\r\none;${'x'.repeat(100_000)}`);
  t.equal(answer.stderr, 'a line\n');
  t.equal(answer.status, 3);
  await one.closed();
  t.equal(connections.running, 0, 'the connection is closed when the web server does not keep it');

  const kept = client();
  for (const text of ['two', 'three']) {
    kept.send({ params: { A: text }, keepConn: true });
    t.match((await kept.answer()).stdout.toString(), `${text};`);
  }
  t.equal(kept.isClosed, false, 'and kept when it does');
  t.equal(seen.length, 3);
});

t.test('an answer before the body is there', async (t) => {
  const { client } = await gateway(t, (exchange) => {
    exchange.write(Buffer.from('Status: 413\r\n\r\n'));
    exchange.pauseBody();
    exchange.end();
    exchange.end();
    exchange.write(Buffer.from('not sent'));
    exchange.breakOff();
    return {};
  });
  const one = client();
  for (let i = 0; i < 2; i++) {
    one.send({ params: {}, body: 'x'.repeat(3_000_000), keepConn: true });
    const answer = await one.answer();
    t.equal(answer.stdout.toString(), 'Status: 413\r\n\r\n');
  }
  t.equal(one.isClosed, false, 'the rest of it is swallowed, the connection goes on');
});

t.test('aborts', async (t) => {
  const { client, seen, connections } = await gateway(t, () => ({}));
  const asked = client();
  asked.sendHead({ params: {}, keepConn: true });
  while (seen.length < 1) await new Promise((resolve) => setImmediate(resolve));
  asked.abort();
  while (seen[0]!.events.length === 0) await new Promise((resolve) => setImmediate(resolve));
  t.equal(seen[0]!.exchange.isAborted, true);
  t.equal(connections.running, 1, 'it runs until the gateway ends it');
  seen[0]!.exchange.write(Buffer.from('nobody reads this'));
  seen[0]!.exchange.end();
  const answer = await asked.answer();
  t.same(
    [answer.stdout.length, answer.status],
    [0, 0],
    'which is told, without output, and the connection goes on',
  );
  asked.send({ params: {}, keepConn: true });
  while (seen.length < 2) await new Promise((resolve) => setImmediate(resolve));

  asked.destroy();
  while (!seen[1]!.events.includes('abort')) await new Promise((resolve) => setImmediate(resolve));
  t.pass('a lost connection is an abort');
  t.equal(connections.running, 1);
  seen[1]!.exchange.report('x');
  seen[1]!.exchange.end();
  t.equal(connections.running, 0);
  t.same(seen[1]!.events, ['body end', 'abort'], 'told once');
});

t.test('an answer that breaks off', async (t) => {
  const { client } = await gateway(t, (exchange) => ({
    onBodyEnd: () => {
      exchange.write(Buffer.from('Status: 200\r\n\r\nhalf'));
      exchange.breakOff();
    },
  }));
  const one = client();
  one.send({ params: {}, keepConn: true });
  const answer = await one.answer();
  t.equal(answer.stdout.toString(), 'Status: 200\r\n\r\nhalf', 'what there is of it arrives');
  t.equal(answer.status, null, 'but no end');
});

t.test('a web server that reads slowly', async (t) => {
  const piece = Buffer.alloc(50_000, 'p');
  let written = 0;
  let fullness = 0;
  const total = 400;
  const { client, seen } = await gateway(t, (exchange) => {
    const pump = () => {
      while (written < total) {
        written++;
        if (!exchange.write(piece)) {
          fullness++;
          return;
        }
      }
      exchange.end();
    };
    return { onBodyEnd: pump, onDrain: pump };
  });
  const one = client();
  one.isCounting = true;
  one.socket.pause();
  one.send({ params: {} });
  while (fullness === 0) await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
  t.ok(written < 30, `${written} of ${total} pieces were taken`);
  one.socket.resume();
  const answer = await one.answer();
  t.equal(answer.status, 0);
  t.equal(one.stdoutBytes, piece.length * total, 'all of it arrives');
  t.ok(seen[0]!.events.includes('drain'));
});

t.test('a body that nobody takes', async (t) => {
  let taken = 0;
  const { client, seen } = await gateway(t, (exchange) => {
    exchange.pauseBody();
    return {
      onBody: (bytes) => {
        taken += bytes.length;
      },
      onBodyEnd: () => exchange.end(),
    };
  });
  const one = client();
  one.send({ params: {}, body: Buffer.alloc(5_000_000) });
  while (seen.length === 0) await new Promise((resolve) => setImmediate(resolve));
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
  t.ok(taken < 1_000_000, 'waits in the web server');
  seen[0]!.exchange.resumeBody();
  t.equal((await one.answer()).status, 0);
  t.equal(taken, 5_000_000);

  const two = client();
  two.send({ params: {}, body: Buffer.alloc(5_000_000) });
  while (seen.length < 2) await new Promise((resolve) => setImmediate(resolve));
  two.destroy();
  while (!seen[1]!.events.includes('abort')) {
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  t.pass('that its web server has gone is noticed all the same');
  seen[1]!.exchange.end();
});

t.test('hostile peers', async (t) => {
  const { client, broken, seen, connections } = await gateway(t, echo);
  const one = client();
  one.socket.write(Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n\r\n'));
  await one.closed();
  t.equal(broken.length, 1, 'what speaks no FastCGI is cut off');

  const two = client();
  two.sendHead({ params: {} });
  two.socket.write(record(4, 1, Buffer.from('late')));
  await two.closed();
  t.equal(broken.length, 2);
  while (!seen[0]?.events.includes('abort')) await new Promise((resolve) => setImmediate(resolve));
  t.equal(connections.running, 1);
  seen[0]!.exchange.end();
  t.equal(connections.running, 0, 'in the middle of a request as well');

  const three = client();
  three.send({ params: {}, role: 3 });
  t.equal((await three.answer()).protocolStatus, 3, 'another role is turned down');
  await three.closed();
});

t.test('draining', async (t) => {
  const { client, connections, seen } = await gateway(t, () => ({}));
  const busy = client();
  const idle = client();
  idle.send({ params: {}, keepConn: true });
  while (seen.length < 1) await new Promise((resolve) => setImmediate(resolve));
  seen[0]!.exchange.end();
  await idle.answer();
  busy.send({ params: {}, keepConn: true });
  while (seen.length < 2) await new Promise((resolve) => setImmediate(resolve));
  let isDrained = false;
  const drained = connections.drain().then(() => {
    isDrained = true;
  });
  await idle.closed();
  t.pass('idle connections are closed');
  t.equal(isDrained, false);
  seen[1]!.exchange.write(Buffer.alloc(2_000_000));
  seen[1]!.exchange.end();
  t.equal((await busy.answer()).stdout.length, 2_000_000, 'a request under way is answered');
  await drained;
});
