// SPDX-License-Identifier: Apache-2.0
// Whatever is said to the control socket, whole or broken off anywhere: an answer in JSON or the end of
// that connection, and the next client is served.

import { request as httpRequest } from 'node:http';
import net from 'node:net';
import { join } from 'node:path';
import fc from 'fast-check';
import t, { type Test } from 'tap';
import { holds } from '../testing/properties.ts';
import { ControlClient, controlSocketName } from './client.ts';
import { bodyBytesMax, routeNames } from './server.ts';
import { listenAsManager, makeRuntimeDir } from './testing/sample.ts';

async function listen(t: Test): Promise<string> {
  const runtimeDir = makeRuntimeDir(t);
  const server = await listenAsManager(runtimeDir);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return runtimeDir;
}

const method = fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'PATCH');
const known = routeNames.map((name) => name.split(' ')[1] ?? '');
const field = fc.constantFrom(
  ...['class', 'of', 'wait', 'force', 'instances', 'backend', 'activation', 'layoutVersion'],
  ...['id', 'after', 'lines', 'waitMs', '__proto__', 'constructor'],
);
const query = fc.dictionary(fc.oneof(field, fc.string()), fc.string(), { maxKeys: 4 });
const path = fc.oneof(
  fc.constantFrom(...known),
  fc
    .tuple(fc.constantFrom(...known), query)
    .map(([path, query]) => `${path}?${new URLSearchParams(query)}`),
  fc.constantFrom('/', '/v1', '/v1/stop/', '/v1/stop?x=1', '//', '/v1/../v1/ping', '*'),
  fc.webPath().map((path) => `/${path}`),
);
const body = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }).map((value) => JSON.stringify(value)),
  fc
    .dictionary(field, fc.oneof(fc.jsonValue(), fc.constantFrom('hello', 1, -1, 1e300, null, true)))
    .map((value) => JSON.stringify(value)),
  fc.string({ unit: 'binary', maxLength: 50 }),
  fc.constantFrom('', '{"__proto__":{"class":"x"}}', '[', '"', `${'['.repeat(50_000)}`),
  fc.constantFrom(
    JSON.stringify({ class: 'x'.repeat(bodyBytesMax) }), // just too large
    ' '.repeat(8 * bodyBytesMax),
  ),
);

interface Raw {
  status: number;
  text: string;
}

function ask(runtimeDir: string, method: string, path: string, body: string): Promise<Raw> {
  return new Promise((resolve, reject) => {
    const socketPath = join(runtimeDir, controlSocketName);
    const headers = { 'content-length': Buffer.byteLength(body) };
    const options = { socketPath, method, path, headers, agent: false as const };
    const request = httpRequest(options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (piece: string) => {
        text += piece;
      });
      response.on('end', () => resolve({ status: response.statusCode ?? 0, text }));
    });
    request.on('error', reject);
    request.end(body);
  });
}

t.test('any request is answered in JSON', async (t) => {
  const runtimeDir = await listen(t);
  await holds(
    t,
    fc.asyncProperty(method, path, body, async (method, path, body) => {
      const { status, text } = await ask(runtimeDir, method, path, body);
      if (method === 'HEAD') return text === '' && status >= 200;
      if (status === 200 && path.startsWith('/metrics')) return text.startsWith('usher_');
      const answer = JSON.parse(text) as { error?: { code?: unknown; message?: unknown } };
      if (status === 200) return answer.error === undefined;
      const isTold = typeof answer.error?.code === 'string' && answer.error.message !== '';
      return isTold && status >= 400 && status < 500;
    }),
    400,
  );
});

/** Sends bytes, cut off after them; what came back until the end or a while. */
function say(runtimeDir: string, bytes: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = net.connect(join(runtimeDir, controlSocketName));
    let text = '';
    socket.on('data', (piece) => {
      text += piece;
    });
    socket.on('error', () => {});
    socket.on('close', () => resolve(text));
    socket.end(bytes);
  });
}

t.test('no field that nobody knows is taken', async (t) => {
  const runtimeDir = await listen(t);
  const valid: [string, Record<string, unknown>][] = [
    ['/v1/stop', { force: true }],
    ['/v1/restart', { class: 'app', wait: false }],
    ['/v1/retry', { class: 'app' }],
    ['/v1/backend', { class: 'app', backend: 'a:1', activation: 'active' }],
    ['/v1/upgrade', { layoutVersion: 1 }],
    ['/v1/scale', { class: 'app', instances: 3, wait: true }],
    ['/v1/reload', {}],
    ['/v1/lend', { class: 'app', waitMs: 0 }],
    ['/v1/give-back', { id: '1' }],
    ['/v1/reopen-logs', {}],
  ];
  const posted = routeNames.filter((name) => name.startsWith('POST '));
  t.same(valid.map(([path]) => `POST ${path}`).sort(), [...posted].sort(), 'every route');
  for (const [path, body] of valid) {
    t.equal((await ask(runtimeDir, 'POST', path, JSON.stringify(body))).status, 200, path);
  }
  const change = fc.record({
    asked: fc.constantFrom(...valid),
    name: fc.oneof(fc.string(), fc.constantFrom('constructor', 'toString', 'Class', 'class ')),
    value: fc.jsonValue({ maxDepth: 1 }),
  });
  await holds(
    t,
    fc.asyncProperty(change, async ({ asked: [path, body], name, value }) => {
      if (Object.hasOwn(body, name) || name === '__proto__' || name === 'wait') return true;
      const changed = JSON.stringify({ ...body, [name]: value });
      const { status, text } = await ask(runtimeDir, 'POST', path, changed);
      const { error } = JSON.parse(text) as { error?: { message?: string } };
      return status === 400 && error?.message?.includes('is not known here') === true;
    }),
    200,
  );
});

t.test('any bytes, and requests that break off', async (t) => {
  const runtimeDir = await listen(t);
  const client = new ControlClient(runtimeDir, { timeoutMs: 60_000 });
  const header = fc.constantFrom(
    ...['Content-Length: 5', 'Content-Length: -1', 'Transfer-Encoding: chunked', 'Expect: x'],
    ...['Connection: close', 'Upgrade: websocket\r\nConnection: upgrade', 'X: \xff', 'broken'],
  );
  const whole = fc
    .tuple(method, path, fc.array(header, { maxLength: 4 }), body)
    .map(
      ([method, path, headers, body]) =>
        `${[`${method} ${path} HTTP/1.1`, 'Host: x', ...headers].join('\r\n')}\r\n\r\n${body}`,
    );
  const cut = fc
    .tuple(whole, fc.double({ min: 0, max: 1, noNaN: true }))
    .map(([text, part]) => Buffer.from(text.slice(0, text.length * part)));
  const noise = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes));
  await holds(
    t,
    fc.asyncProperty(fc.oneof(cut, noise), async (bytes) => {
      const text = await say(runtimeDir, bytes);
      const isHttp = text === '' || /^HTTP\/1\.1 \d{3} /.test(text);
      return isHttp && (await client.ping()).pid === 99;
    }),
    200,
  );
});
