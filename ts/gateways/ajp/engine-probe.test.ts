// SPDX-License-Identifier: Apache-2.0
// Is an engine there? Asked of servers that answer as the test says.
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { probeEngine, shutDownEngine } from './engine-probe.ts';

const CPONG = Buffer.from('4142000109', 'hex');

/** @returns Its address, and what it hears. */
async function serve(t: Test, onConnection: (socket: Socket) => void) {
  const path = join(t.testdir({}), 'engine');
  const heard: Buffer[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => heard.push(bytes));
    onConnection(socket);
  });
  server.listen(path);
  await once(server, 'listening');
  t.teardown(() => server.close());
  return { address: `unix:${path}`, heard };
}

function ask(
  address: string,
  protocol: 'ajp' | 'ajp12',
  timeoutMs = 20_000,
  authenticates = false,
) {
  return probeEngine({ address, protocol, authenticates }, timeoutMs);
}

t.test('AJP 1.3: CPING and CPONG', async (t) => {
  const { address, heard } = await serve(t, (socket) => {
    socket.once('data', () => {
      socket.write(CPONG.subarray(0, 2));
      setImmediate(() => socket.write(CPONG.subarray(2)));
    });
  });
  t.same(await ask(address, 'ajp'), { outcome: 'up' });
  t.equal(Buffer.concat(heard).toString('hex'), '123400010a');
});

t.test('AJP 1.2: any byte will do', async (t) => {
  const { address, heard } = await serve(t, (socket) => {
    socket.once('data', () => socket.end('\xff', 'latin1'));
  });
  t.same(await ask(address, 'ajp12'), { outcome: 'up' });
  t.equal(Buffer.concat(heard).toString('hex'), 'fe00');
  const jserv = await serve(t, (socket) => socket.write('\0\0\0\x05abcde'));
  t.same(
    await ask(jserv.address, 'ajp12', 20_000, true),
    { outcome: 'up' },
    'its challenge as well',
  );
  t.same(jserv.heard, [], 'which is not answered');
});

t.test('somebody who does not answer', async (t) => {
  const mute = await serve(t, () => undefined);
  t.same(await ask(mute.address, 'ajp', 50), {
    outcome: 'silent',
    error: 'no answer within 0.05 s',
  });
  const http = await serve(t, (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n'));
  t.same(await ask(http.address, 'ajp'), {
    outcome: 'silent',
    error: 'what answers there does not speak AJP 1.3',
  });
  const leaving = await serve(t, (socket) => socket.end());
  t.match(await ask(leaving.address, 'ajp12'), { outcome: 'silent', error: String });
});

t.test('nobody', async (t) => {
  const path = join(t.testdir({}), 'none');
  t.same(await ask(`unix:${path}`, 'ajp'), {
    outcome: 'down',
    error: 'no such file or directory',
  });
});

t.test('the word for the end', async (t) => {
  const sockets: Socket[] = [];
  const { address, heard } = await serve(t, (socket) => sockets.push(socket));
  shutDownEngine(address);
  shutDownEngine(`${address}-not`); // nobody is there to hear it
  while (sockets.length === 0) await new Promise(setImmediate);
  await once(sockets[0] as Socket, 'end');
  t.equal(Buffer.concat(heard).toString('hex'), 'fe0f');
});
