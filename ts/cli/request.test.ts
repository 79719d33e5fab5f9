// SPDX-License-Identifier: Apache-2.0
// usher request against a real program over FastCGI and AJP, and against what is none.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { ControlError, type ControlHandlers } from '../control/server.ts';
import {
  listenAsManager,
  makeRuntimeDir,
  sampleClass,
  sampleStatus,
} from '../control/testing/sample.ts';
import { bundle } from '../runtime/testing/bundle.ts';
import { splitHead } from './ask/fastcgi.ts';
import { usher } from './testing/usher.ts';

const root = mkdtempSync(`${tmpdir()}/usher-request-`);
t.teardown(() => rmSync(root, { recursive: true, force: true }));

/** Answers with what it was asked. */
const program = `await serve((request, response) => {
  let body = '';
  request.on('data', (piece) => { body += piece; });
  request.on('end', () => {
    response.statusCode = request.url.startsWith('/broken') ? 500 : 200;
    response.setHeader('Content-Type', 'application/json');
    const { method, url, headers } = request;
    response.end(JSON.stringify({ method, url, headers, body }));
  });
}, {
  listen: [
    { protocol: 'fastcgi', address: '${root}/fastcgi.sock' },
    { protocol: 'ajp13', address: '127.0.0.1:0', secretFile: '${root}/secret' },
  ],
})`;

async function startProgram(t: Test): Promise<{ fastcgi: string; ajp: string }> {
  const runtime = await bundle(
    new URL('../runtime/index.ts', import.meta.url),
    `${root}/runtime.mjs`,
  );
  const file = `${root}/program.mjs`;
  writeFileSync(`${root}/secret`, 'open sesame\n', { mode: 0o600 });
  writeFileSync(
    file,
    `import { serve } from ${JSON.stringify(runtime)};
const served = ${program};
console.log('at ' + JSON.stringify(served.addresses));\n`,
  );
  const child = spawn(process.execPath, [file], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => child.kill('SIGKILL'));
  const text = await new Promise<string>((resolve) => {
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      said += piece;
      if (said.includes('\n')) resolve(said);
    });
  });
  const addresses = JSON.parse(text.slice(3)) as { address: string }[];
  return { fastcgi: addresses[0]?.address ?? '', ajp: addresses[1]?.address ?? '' };
}

async function startManager(t: Test, handlers: Partial<ControlHandlers>) {
  const runtimeDir = makeRuntimeDir(t);
  const server = await listenAsManager(runtimeDir, handlers);
  t.teardown(() => server.close());
  return { runtimeDir, at: ['--runtime-dir', runtimeDir] };
}

const backend = (address: string) => ({
  ...{ address, name: null, state: 'up' as const, isBackup: false, lastError: null, inFlight: 0 },
  ...{ requests: 0, failures: 0, route: null, activation: 'active' as const, engine: null },
});

t.test('a program of usher/runtime', async (t) => {
  const { fastcgi, ajp } = await startProgram(t);
  const { at } = await startManager(t, {
    status: () =>
      sampleStatus({
        classes: [
          sampleClass({ name: 'fast', kind: 'external', backends: [backend(fastcgi)] }),
          sampleClass({ name: 'java', protocol: 'ajp', backends: [backend(ajp)] }),
          sampleClass({ name: 'gone', kind: 'external', backends: [] }),
        ],
      }),
  });
  const secret = ['--secret-file', `${root}/secret`];
  for (const [name, more] of [['fast', []] as const, ['java', secret] as const]) {
    await t.test(name, async (t) => {
      const words = ['request', name, '/a/b?c=d', ...more, ...at];
      const run = await usher([...words, '-H', 'X-One: 1', '-H', 'Cookie: id=7']);
      t.equal(run.exitCode, 0, run.err);
      t.match(JSON.parse(run.out), {
        ...{ method: 'GET', url: '/a/b?c=d', body: '' },
        headers: { 'x-one': '1', cookie: 'id=7', host: '127.0.0.1' },
      });
      t.match(run.err, /^< 200$/m);
      t.match(run.err, /^< content-type: application\/json$/im);
      t.match(run.err, /^\* connected .* end .* body of \d+ B$/m);
      t.notMatch(run.err, /id=7/, 'nothing secret is shown');
      t.notMatch(run.err, /sesame/);

      const large = 'x'.repeat(100_000);
      writeFileSync(`${root}/body`, large);
      const post = await usher([...words, '-d', `@${root}/body`]);
      t.match(JSON.parse(post.out), { method: 'POST', body: large });

      const json = JSON.parse((await usher([...words, '-X', 'PUT', '-d', 'y', '--json'])).out) as {
        status: number;
        body: string;
      };
      t.match(json, { status: 200, protocol: name === 'fast' ? 'fastcgi' : 'ajp' });
      t.match(JSON.parse(json.body), { method: 'PUT', body: 'y' });
      t.match(await usher(['request', name, '/broken', ...more, ...at]), {
        exitCode: 0,
        err: /^< 500$/m,
      });
    });
  }
  t.match(
    await usher(['request', 'java', '/', ...at]),
    { exitCode: 0, err: /^< 403$/m },
    'no secret',
  );
  t.match(await usher(['request', 'gone', '/', ...at]), { exitCode: 1, err: /none of the hosts/ });
});

t.test('an instance is lent and given back, whatever comes of it', async (t) => {
  const asked: string[] = [];
  let onConnection: (socket: Socket) => void = () => undefined;
  const { runtimeDir, at } = await startManager(t, {
    lend: async ({ class: name }) => {
      if (name === 'busy') throw new ControlError(409, 'busy', 'no instance of "busy" was free');
      asked.push(`lend ${name}`);
      return {
        ...{ id: '7', class: name, protocol: 'fastcgi', program: '/srv/app.fcgi', listen: null },
        instance: { pid: 200, socket: 'e1', isReserved: true },
      };
    },
    giveBack: (request) => {
      asked.push(`back ${request.id}`);
      return request;
    },
  });
  mkdirSync(join(runtimeDir, 'sockets'));
  const server: Server = createServer((socket) =>
    onConnection(socket.on('error', () => undefined)),
  );
  server.listen(join(runtimeDir, 'sockets/e1'));
  t.teardown(() => server.close());

  const cases: [title: string, (socket: Socket) => void, err: RegExp][] = [
    [
      'closes',
      (socket) => socket.destroy(),
      /closed the connection before the end|ECONNRESET|EPIPE/,
    ],
    ['speaks no FastCGI', (socket) => socket.end('HTTP/1.1 200 OK\r\n\r\n'), /cannot be read/],
    ['says nothing', () => undefined, /no answer within 0.2 s/],
    [
      'refuses',
      (socket) => socket.end(Buffer.from('0103000100080000' + '0000000002000000', 'hex')),
      /it is overloaded/,
    ],
  ];
  for (const [title, behave, err] of cases) {
    onConnection = behave;
    const timeout = title === 'says nothing' ? '0.2' : '30';
    const run = await usher(['request', 'app', '/', '--timeout', timeout, ...at]);
    t.match(run, { exitCode: 1, err }, title);
    t.match(run.err, /^> SCRIPT_FILENAME=\/srv\/app.fcgi$/m);
    t.same(asked.splice(0), ['lend app', 'back 7']);
  }
  t.match(await usher(['request', 'busy', '/', ...at]), { exitCode: 1, err: /was free/ });
  t.match(await usher(['request', 'app', 'x', ...at]), { exitCode: 2, err: /begins with/ });
  t.match(await usher(['request', 'app', '/', '-H', 'x', ...at]), { exitCode: 2 });
  t.match(await usher(['request', 'app', '/', '--param', 'x', ...at]), { exitCode: 2 });
});

t.test('heads of CGI answers', async (t) => {
  const split = (text: string) => splitHead(Buffer.from(text));
  t.match(split('Status: 404 Not Found\r\nA: b\r\n\r\nbody'), {
    status: 404,
    headers: [
      ['Status', '404 Not Found'],
      ['A', 'b'],
    ],
    body: Buffer.from('body'),
  });
  t.match(split('Location: /x\n\n'), { status: 302, body: Buffer.alloc(0) });
  t.match(split('A: b\n\n\n'), { status: 200, body: Buffer.from('\n') });
  t.match(split('no head'), { status: 0, headers: [], body: Buffer.from('no head') });
});
