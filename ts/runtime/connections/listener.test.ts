// SPDX-License-Identifier: Apache-2.0
// Addresses to listen at, and who may connect.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { request } from '../../protocols/fastcgi/testing/web-server.ts';
import type { ListenOptions } from '../options.ts';
import { allowList } from './allow-list.ts';
import { type Listener, listen } from './listener.ts';
import { directory, echo } from './testing/servlets.ts';

const owner = { run: echo, log: () => undefined };

async function open(t: Test, options: Partial<ListenOptions>): Promise<Listener> {
  const listener = await listen({ protocol: 'fastcgi', address: '127.0.0.1:0', ...options }, owner);
  t.teardown(async () => await listener.stop());
  return listener;
}

const refused = async (t: Test, options: Partial<ListenOptions>, message: RegExp) => {
  await t.rejects(
    listen({ protocol: 'fastcgi', address: '127.0.0.1:0', ...options }, owner),
    { message },
    String(message),
  );
};

async function reaches(socket: Socket): Promise<boolean> {
  const reached = await new Promise<boolean>((resolve) => {
    socket.on('connect', () => resolve(true));
    socket.on('error', () => resolve(false));
  });
  socket.destroy();
  return reached;
}

t.test('TCP', async (t) => {
  const { address, protocol } = await open(t, {});
  t.equal(protocol, 'fastcgi');
  t.match(address, /^127\.0\.0\.1:[1-9]\d*$/);
  const port = Number(address.split(':')[1]);
  t.ok(await reaches(connect(port, '127.0.0.1')));
  await refused(t, { address }, new RegExp(`^cannot listen at ${address}: another program`));
  t.match((await open(t, { address: 'localhost:0' })).address, /^localhost:[1-9]/);
  await refused(t, { address: '192.0.2.1:0' }, /192\.0\.2\.1:0: this host has no such address/);
  await refused(t, { address: '127.0.0.1:99999' }, /cannot listen at "127.0.0.1:99999": expected/);
  await refused(t, { address: 'nonsense' }, /cannot listen at "nonsense": expected host:port/);
});

t.test('IPv6', async (t) => {
  const probe = createServer().listen(0, '::1');
  const hasIt = await Promise.race([
    once(probe, 'listening').then(() => true),
    once(probe, 'error').then(() => false),
  ]).catch(() => false);
  probe.close();
  if (!hasIt) return;
  t.match((await open(t, { address: '[::1]:0', protocol: 'ajp13' })).address, /^\[::1\]:[1-9]/);
});

t.test('Unix sockets', async (t) => {
  const dir = directory(t);
  const address = join(dir, 's');
  const before = process.umask();
  const first = await open(t, { address });
  t.equal(process.umask(), before);
  t.equal(first.address, address);
  t.equal(lstatSync(address).mode & 0o777, 0o600);
  t.strictSame(readdirSync(dir), ['s'], 'nothing else is left there');
  await refused(t, { address }, /: another program listens there; stop it, or choose another/);
  t.ok(await reaches(connect(address)));
  await first.stop();
  t.notOk(existsSync(address));
  const group = await open(t, { address, mode: 0o660 });
  t.equal(lstatSync(address).mode & 0o777, 0o660);
  await group.stop();

  const second = await open(t, { address });
  unlinkSync(address);
  const other = createServer().listen(address);
  await once(other, 'listening');
  await second.stop();
  t.ok(existsSync(address), 'what is not ours any more stays');
  other.close();

  writeFileSync(address, '');
  await refused(t, { address }, /there is something that is no socket/);
  await refused(t, { address: join(dir, 'none', 's') }, /none\/s: the directory does not exist/);
  await refused(t, { address: join(dir, 'x'.repeat(110)) }, /has 107 bytes at most/);
  if (process.getuid?.() !== 0) {
    const closed = join(dir, 'closed');
    mkdirSync(closed);
    chmodSync(closed, 0o500);
    await refused(t, { address: join(closed, 's') }, /may not make files in that directory/);
  }
});

t.test('a socket that nobody listens at is replaced', async (t) => {
  const dir = directory(t);
  const [address, moved] = [join(dir, 's'), join(dir, 'moved')];
  const dead = createServer().listen(moved);
  await once(dead, 'listening');
  linkSync(moved, address);
  await new Promise((resolve) => dead.close(resolve));
  t.ok(existsSync(address));
  await open(t, { address });
  t.ok(await reaches(connect(address)));
});

t.test('a descriptor', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const program = fileURLToPath(new URL('testing/inherited.ts', import.meta.url));
  const child = spawn(process.execPath, ['--import', 'tsx', program], {
    stdio: ['pipe', 'pipe', 'inherit', fd],
  });
  const [address] = (await once(child.stdout as NodeJS.ReadableStream, 'data')) as [Buffer];
  t.equal(address.toString(), 'fd:3');
  server.close();
  const socket = connect(port, '127.0.0.1');
  socket.write(request(1, { REQUEST_URI: '/inherited' }));
  const [answer] = (await once(socket, 'data')) as [Buffer];
  t.match(answer.toString('latin1'), /GET \/inherited/);
  child.stdin?.end();
  if (child.exitCode === null) await once(child, 'exit');
  await refused(t, { address: 'fd:9999' }, /fd:9999: that descriptor is no socket/);
});

t.test('AJP without a secret listens at this host only', async (t) => {
  for (const protocol of ['ajp13', 'ajp12'] as const) {
    await refused(t, { protocol, address: '0.0.0.0:0' }, /give a secretFile, or listen at a loop/);
    await open(t, { protocol });
    await open(t, { protocol, address: join(directory(t), 's') });
    const secretFile = join(directory(t), 'secret');
    await refused(t, { protocol, secretFile }, /^secretFile .* cannot be read/);
    writeFileSync(secretFile, 'secret\n');
    await open(t, { protocol, secretFile, address: '0.0.0.0:0' });
  }
  const empty = join(directory(t), 'secret');
  writeFileSync(empty, '\n');
  await refused(t, { protocol: 'ajp13', secretFile: empty }, /its first line is empty/);
});

t.test('who may connect', async (t) => {
  const allowed = await open(t, { allow: ['10.0.0.0/8', '127.0.0.1'] });
  const other = await open(t, { allow: ['10.0.0.1'] });
  const web = await open(t, { allow: ['10.0.0.1'], protocol: 'http' });
  for (const [listener, isClosed] of [
    [allowed, false],
    [other, true],
    [web, true],
  ] as const) {
    const socket = connect(Number(listener.address.split(':')[1]), '127.0.0.1');
    socket.on('error', () => undefined);
    // What answers a question, or closes at once.
    socket.write(Buffer.from('\x01\x09\0\0\0\x11\0\0\x0f\0FCGI_MPXS_CONNS', 'latin1'));
    const first = await Promise.race([
      once(socket, 'data').then(() => false),
      once(socket, 'close').then(() => true),
    ]);
    t.equal(first, isClosed);
    socket.destroy();
  }
  await refused(t, { allow: ['localhost'] }, /allow: "localhost": expected an IP address/);
  await refused(t, { allow: ['1.2.3.4/33'] }, /allow: "1\.2\.3\.4\/33"/);
  const list = allowList(['::1', 'fd00::/8', '1.2.3.4']);
  t.strictSame(
    ['::1', 'fd12::1', '::ffff:1.2.3.4', undefined].map((one) => list(one)),
    [true, true, true, true],
  );
  t.notOk(list('::2'));
});
