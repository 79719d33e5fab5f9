// SPDX-License-Identifier: Apache-2.0
// With real sockets.
import { spawn } from 'node:child_process';
import { connect, createServer, type Server } from 'node:net';
import t, { type Test } from 'tap';
import type { Address } from '../native/native.ts';
import { createProbe } from './backends-probe.ts';

async function listen(target: { port: number; host: string } | { path: string }): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(target, resolve));
  return server;
}

function portOf(server: Server): number {
  const address = server.address();
  return address !== null && typeof address === 'object' ? address.port : 0;
}

t.test('who is there', async (t) => {
  const probe = createProbe();
  const dir = t.testdir({});
  const tcp = await listen({ host: '127.0.0.1', port: 0 });
  const port = portOf(tcp);
  const heard: number[] = [];
  const left = new Promise<void>((resolve) => {
    tcp.once('connection', (socket) => {
      socket.on('data', ({ length }) => heard.push(length));
      socket.once('close', () => resolve());
    });
  });
  const at: Address = { kind: 'inet', host: '127.0.0.1', port };
  t.same(await probe(at), { outcome: 'up' });
  await left;
  t.same(heard, [], 'not a byte is sent, and the connection is closed');
  await new Promise((resolve) => tcp.close(resolve));
  t.same(await probe(at), { outcome: 'down', error: 'connection refused' });

  const path = `${dir}/x.sock`;
  const unix = await listen({ path });
  t.same(await probe({ kind: 'unix', path }), { outcome: 'up' });
  await new Promise((resolve) => unix.close(resolve));
  t.same(await probe({ kind: 'unix', path }), {
    outcome: 'down',
    error: 'no such file or directory',
  });
});

t.test('not all at once', async (t) => {
  const server = await listen({ host: '127.0.0.1', port: 0 });
  const port = portOf(server);
  const probe = createProbe(2);
  const at: Address = { kind: 'inet', host: '127.0.0.1', port };
  const looks = await Promise.all(Array.from({ length: 20 }, () => probe(at)));
  t.same([...new Set(looks.map(({ outcome }) => outcome))], ['up'], 'everybody has a turn');
  t.same(await probe(at), { outcome: 'up' }, 'also afterwards');
  server.close();
});

/** Somebody who listens and never accepts: the port (0 for a UNIX socket). */
async function listenOnly(
  t: Test,
  family: 'AF_UNIX' | 'AF_INET',
  address: string,
): Promise<number> {
  const code = [
    'import socket, time',
    `s = socket.socket(socket.${family})`,
    `s.bind(${address})`,
    's.listen(0)',
    'name = s.getsockname()',
    'print(name[1] if isinstance(name, tuple) else 0, flush=True)',
    'time.sleep(600)',
  ].join('\n');
  const child = spawn('python3', ['-c', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  return new Promise((resolve) => child.stdout.once('data', (text) => resolve(Number(text))));
}

t.test('a full backlog', async (t) => {
  const path = `${t.testdir({})}/full.sock`;
  await listenOnly(t, 'AF_UNIX', JSON.stringify(path));
  const first = connect(path);
  await new Promise((resolve) => first.once('connect', resolve));
  t.same(await createProbe()({ kind: 'unix', path }), { outcome: 'up' }, 'somebody is there');
  first.destroy();
});

t.test('no answer', async (t) => {
  const port = await listenOnly(t, 'AF_INET', "('127.0.0.1', 0)");
  const first = connect(port, '127.0.0.1');
  await new Promise((resolve) => first.once('connect', resolve));
  const look = await createProbe(1, 200)({ kind: 'inet', host: '127.0.0.1', port });
  t.same(look, { outcome: 'timeout', error: 'no answer within 0.2 s' });
  first.destroy();
});
