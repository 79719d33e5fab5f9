// SPDX-License-Identifier: Apache-2.0
// Server and client over a real socket.
import { chmodSync } from 'node:fs';
import { createServer as createHttpServer, request as httpRequest, type Server } from 'node:http';
import { createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ControlClient, controlSocketName, NoManagerError, RequestFailedError } from './client.ts';
import type { StopRequest } from './messages.ts';
import { bodyBytesMax, ControlError, type ControlHandlers } from './server.ts';
import { listenAsManager, makeRuntimeDir, sampleStatus } from './testing/sample.ts';

async function listen(
  t: Test,
  handlers: Partial<ControlHandlers> = {},
): Promise<{ runtimeDir: string; client: ControlClient; server: Server }> {
  const runtimeDir = makeRuntimeDir(t);
  const server = await listenAsManager(runtimeDir, handlers);
  t.teardown(() => server.close());
  return { runtimeDir, client: new ControlClient(runtimeDir, { timeoutMs: 2000 }), server };
}

interface Raw {
  status: number;
  body: unknown;
}

function rawRequest(runtimeDir: string, method: string, path: string, body = ''): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const socketPath = join(runtimeDir, controlSocketName);
    const request = httpRequest({ socketPath, method, path, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', () =>
        resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as unknown }),
      );
    });
    request.on('error', reject);
    request.end(body);
  });
}

t.test('every route', async (t) => {
  const stops: StopRequest[] = [];
  const { client } = await listen(t, {
    stop: (request) => {
      stops.push(request);
      return { pid: 99, instances: 3 };
    },
  });
  t.same(await client.ping(), { pid: 99, version: '0.1.0' });
  t.same(await client.status(), sampleStatus());
  t.same(await client.stop({ force: true }), { pid: 99, instances: 3 });
  t.same(stops, [{ force: true }]);
});

t.test('a request that the server cannot take', async (t) => {
  const { runtimeDir } = await listen(t);
  const cases: [Raw['status'], string, Promise<Raw>][] = [
    [404, 'not-found', rawRequest(runtimeDir, 'GET', '/')],
    [404, 'not-found', rawRequest(runtimeDir, 'GET', '/v1/status/x')],
    [405, 'method-not-allowed', rawRequest(runtimeDir, 'GET', '/v1/stop')],
    [400, 'bad-request', rawRequest(runtimeDir, 'POST', '/v1/stop', '{')],
    [400, 'bad-request', rawRequest(runtimeDir, 'POST', '/v1/stop', '[]')],
    [400, 'bad-request', rawRequest(runtimeDir, 'POST', '/v1/stop', '{"force":1}')],
    [413, 'too-large', rawRequest(runtimeDir, 'POST', '/v1/stop', ' '.repeat(bodyBytesMax + 1))],
  ];
  for (const [status, code, answer] of cases) {
    t.match(await answer, { status, body: { error: { code, message: String } } });
  }
});

t.test('what is optional, and what is ignored', async (t) => {
  const { runtimeDir } = await listen(t, {
    stop: ({ force }) => ({ pid: force ? 1 : 2, instances: 0 }),
  });
  t.match(await rawRequest(runtimeDir, 'POST', '/v1/stop'), { status: 200, body: { pid: 2 } });
  t.match(await rawRequest(runtimeDir, 'GET', '/v1/ping?x=1'), { status: 200 });
});

t.test('a handler that fails', async (t) => {
  const { client } = await listen(t, {
    status: () => Promise.reject(new Error('out of memory')),
    stop: () => {
      throw new ControlError(409, 'conflict', 'stopping already');
    },
  });
  await t.rejects(client.status(), { code: 'internal', message: 'out of memory' });
  await t.rejects(client.stop({ force: false }), { code: 'conflict', message: 'stopping already' });
});

t.test('no manager', async (t) => {
  const missing = new ControlClient(join(makeRuntimeDir(t), 'nowhere'));
  await t.rejects(missing.ping(), NoManagerError);

  const { client, server } = await listen(t);
  await new Promise((resolve) => server.close(resolve));
  await t.rejects(client.ping(), {
    name: 'NoManagerError',
    message: `no manager: nothing listens on ${client.socketPath}`,
  });
});

t.test('no permission', { skip: process.getuid?.() === 0 && 'root may everything' }, async (t) => {
  const { client } = await listen(t);
  chmodSync(client.socketPath, 0);
  await t.rejects(client.ping(), { code: 'forbidden' });
});

t.test('a manager that hangs', async (t) => {
  const { runtimeDir } = await listen(t, { status: () => new Promise(() => {}) });
  const client = new ControlClient(runtimeDir, { timeoutMs: 50 });
  await t.rejects(client.status(), {
    code: 'timeout',
    message: `${client.socketPath} gave no answer within 0.05 s`,
  });
});

t.test('something else on the socket', async (t) => {
  const answers: [string, (server: string) => { close(): void }][] = [
    ['no JSON', (path) => createHttpServer((_, response) => response.end('hello')).listen(path)],
    [
      'no error',
      (path) => createHttpServer((_, response) => response.writeHead(500).end('{}')).listen(path),
    ],
    ['no HTTP', (path) => createNetServer((socket) => socket.end('hello')).listen(path)],
  ];
  for (const [title, start] of answers) {
    await t.test(title, async (t) => {
      const client = new ControlClient(makeRuntimeDir(t));
      const server = start(client.socketPath);
      t.teardown(() => server.close());
      await t.rejects(client.status(), RequestFailedError);
      await t.rejects(client.status(), { code: 'broken' });
    });
  }
});

t.test('gone', async (t) => {
  const { client, server } = await listen(t);
  await t.rejects(client.gone(30, 5), { code: 'timeout' });
  setTimeout(() => server.close(), 30);
  await client.gone(5000, 5);
  t.pass('returns when nobody listens any more');
});
