// SPDX-License-Identifier: Apache-2.0
// Server and client over a real socket.
import { chmodSync } from 'node:fs';
import { createServer as createHttpServer, request as httpRequest, type Server } from 'node:http';
import { connect, createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { refuseOthers } from '../manager/control-peers.ts';
import { ControlClient, controlSocketName, NoManagerError, RequestFailedError } from './client.ts';
import { apiHeader, type StopRequest, versionHeader } from './messages.ts';
import { bodyBytesMax, ControlError, type ControlHandlers, connectionsMax } from './server.ts';
import {
  listenAsManager,
  makeRuntimeDir,
  sampleEvent,
  sampleHistory,
  sampleStatus,
} from './testing/sample.ts';

async function listen(
  t: Test,
  handlers: Partial<ControlHandlers> = {},
): Promise<{ runtimeDir: string; client: ControlClient; server: Server }> {
  const runtimeDir = makeRuntimeDir(t);
  const server = await listenAsManager(runtimeDir, handlers);
  t.teardown(() => server.close());
  return { runtimeDir, client: new ControlClient(runtimeDir, { timeoutMs: 2000 }), server };
}

const isRoot = process.getuid?.() === 0;
const nobody = 65_534;

/** Connections made by `action` are that user's. */
async function asNobody(action: () => Promise<unknown>): Promise<void> {
  process.seteuid?.(nobody);
  try {
    await action();
  } finally {
    process.seteuid?.(0);
  }
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
    [400, 'bad-request', rawRequest(runtimeDir, 'POST', '/v1/stop', '{"force":true,"now":1}')],
    [400, 'bad-request', rawRequest(runtimeDir, 'GET', '/v1/ping?x=1')],
    [413, 'too-large', rawRequest(runtimeDir, 'POST', '/v1/stop', ' '.repeat(bodyBytesMax + 1))],
  ];
  for (const [status, code, answer] of cases) {
    t.match(await answer, { status, body: { error: { code, message: String } } });
  }
});

t.test('what is wrong with a request is said', async (t) => {
  const { runtimeDir } = await listen(t);
  const long = 'x'.repeat(5000);
  const cases: [path: string, body: object, text: string][] = [
    ['/v1/stop', { now: 1 }, '/v1/stop: "now" is not known here; known: force'],
    ['/v1/stop', [], '/v1/stop: the request must be a JSON object'],
    ['/v1/restart', { wait: 0, class: 'a' }, '/v1/restart: "wait" must be true or false'],
    ['/v1/restart', {}, '/v1/restart: "class" must be a text of 1 to 4096 characters'],
    ['/v1/retry', { class: long }, '/v1/retry: "class" must be a text of 1 to 4096 characters'],
    [
      '/v1/backend',
      { class: 'a', backend: 'b', activation: 'off' },
      '/v1/backend: "activation" must be active, disabled or stopped',
    ],
    ['/v1/upgrade', { layoutVersion: 1.5 }, '/v1/upgrade: "layoutVersion" must be a whole number'],
  ];
  for (const [path, body, message] of cases) {
    const answer = await rawRequest(runtimeDir, 'POST', path, JSON.stringify(body));
    t.same(answer, { status: 400, body: { error: { code: 'bad-request', message } } });
  }
});

t.test('what is optional', async (t) => {
  const { runtimeDir } = await listen(t, {
    stop: ({ force }) => ({ pid: force ? 1 : 2, instances: 0 }),
  });
  t.match(await rawRequest(runtimeDir, 'POST', '/v1/stop'), { status: 200, body: { pid: 2 } });
  t.match(await rawRequest(runtimeDir, 'GET', '/v1/ping?'), { status: 200 });
});

t.test('loads, events and metrics', async (t) => {
  const { client, runtimeDir } = await listen(t);
  t.same(await client.history(), sampleHistory());
  t.equal((await client.history('a b/ü?&')).class, 'a b/ü?&');
  t.same((await client.events()).events, [sampleEvent()]);
  t.same((await client.events(1)).events, []);
  const wrong = await rawRequest(runtimeDir, 'GET', '/v1/events?after=-1');
  t.match(wrong.body, {
    error: { message: '/v1/events: "after" must be a whole number from 0 to 9007199254740991' },
  });
  const socketPath = join(runtimeDir, controlSocketName);
  const text = await new Promise((resolve, reject) => {
    const headers = { accept: 'text/plain' };
    const asked = httpRequest({ socketPath, path: '/metrics', headers, agent: false }, (answer) => {
      t.match(answer.headers, { 'content-type': /^text\/plain/ });
      answer.setEncoding('utf8').once('data', resolve);
    });
    asked.once('error', reject).end();
  });
  t.equal(text, 'usher_manager_info 1\n');
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
    message: /gave no answer within 0.05 s: the manager is busy or stopped/,
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

t.test(
  'other users are refused',
  { skip: !isRoot && 'only root can be another user' },
  async (t) => {
    const runtimeDir = makeRuntimeDir(t);
    const server = await listenAsManager(
      runtimeDir,
      {},
      {
        refusal: refuseOthers({ uid: 0, runtimeDir }),
      },
    );
    t.teardown(() => server.close());
    const client = new ControlClient(runtimeDir, { timeoutMs: 60_000 });
    chmodSync(runtimeDir, 0o755);
    chmodSync(client.socketPath, 0o666); // somebody was careless
    t.same(await client.ping(), { pid: 99, version: '0.1.0' }, 'root');
    await asNobody(async () => {
      await t.rejects(client.status(), {
        code: 'forbidden',
        message: `you are user ${nobody}: only root and the owner of ${runtimeDir} may use this manager`,
      });
    });
    chmodSync(client.socketPath, 0o600);
    await asNobody(() => t.rejects(client.ping(), { code: 'forbidden', message: /no permission/ }));
  },
);

t.test('so many clients and no more', async (t) => {
  const { runtimeDir, client, server } = await listen(t, { status: () => new Promise(() => {}) });
  const path = join(runtimeDir, controlSocketName);
  const idle = Array.from({ length: connectionsMax }, () => connect(path));
  t.teardown(() => {
    for (const socket of idle) socket.destroy();
    server.closeAllConnections();
  });
  await Promise.all(
    idle.map((socket) => new Promise((resolve) => socket.once('connect', resolve))),
  );
  await t.rejects(client.ping(), { code: 'busy', message: /64 clients are connected already/ });
  idle[0]?.destroy();
  for (;;) {
    const pong = await client.ping().catch(() => null);
    if (pong) break;
  }
  t.pass('one has gone: the next is served');
});

t.test('a body without an end is cut off', async (t) => {
  const { runtimeDir, client } = await listen(t);
  const socket = connect(join(runtimeDir, controlSocketName));
  socket.on('error', () => {}); // it is cut off while it writes
  const closed = new Promise((resolve) => socket.once('close', resolve));
  socket.write('POST /v1/stop HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n');
  const chunk = `10000\r\n${' '.repeat(0x10000)}\r\n`;
  const more = (): void => {
    if (!socket.destroyed) socket.write(chunk, more);
  };
  more();
  await closed;
  t.match(await client.ping(), { pid: 99 });
});

t.test('a manager of another version', async (t) => {
  const answers: [string, Record<string, string>, number, RegExp][] = [
    ['older', {}, 404, /is older \(version 0.1.0 or older, control API 1; .* usher upgrade$/],
    [
      'newer',
      { [apiHeader]: '99', [versionHeader]: '9.9.9' },
      400,
      /newer \(version 9.9.9, control API 99;/,
    ],
  ];
  for (const [title, headers, status, message] of answers) {
    await t.test(title, async (t) => {
      const client = new ControlClient(makeRuntimeDir(t));
      const code = status === 404 ? 'not-found' : 'bad-request';
      const server = createHttpServer((_, response) => {
        response.writeHead(status, headers);
        response.end(JSON.stringify({ error: { code, message: 'no' } }));
      }).listen(client.socketPath);
      t.teardown(() => server.close());
      await t.rejects(client.reopenLogs(), { code: 'version', message });
    });
  }
  const client = new ControlClient(makeRuntimeDir(t));
  const status = { ...sampleStatus(), schema: 2 };
  const server = createHttpServer((_, response) => response.end(JSON.stringify(status)));
  server.listen(client.socketPath);
  t.teardown(() => server.close());
  await t.rejects(client.status(), {
    code: 'version',
    message: /newer .its status has schema 2, this usher reads 1/,
  });
});
