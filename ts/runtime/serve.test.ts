// SPDX-License-Identifier: Apache-2.0
// Whole programs of users, with what behaviours.test.ts does not vary: applications, several servlets and
// addresses, mistakes.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import t, { type Test } from 'tap';
import { bundle } from './testing/bundle.ts';
import { ask } from './testing/calls.ts';
import { AjpClient, FastcgiClient, HttpClient } from './testing/clients.ts';
import { freePort } from './testing/free-port.ts';
import { eventually } from './testing/program.ts';

const root = mkdtempSync(`${tmpdir()}/usher-serve-`);
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const runtime = await bundle(new URL('./index.ts', import.meta.url), `${root}/runtime.mjs`);
const require = createRequire(import.meta.url);

let programs = 0;

/** A program's text; `serve` is there, and what it prints is kept. */
function start(t: Test, text: string, env: NodeJS.ProcessEnv = {}) {
  const file = `${root}/p${++programs}/program.mjs`;
  mkdirSync(dirname(file));
  const write = (text: string) =>
    writeFileSync(file, `import { metadataOf, serve } from ${JSON.stringify(runtime)};\n${text}\n`);
  write(text);
  const child = spawn(process.execPath, [file], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const program = { child, said: '', write, dir: dirname(file) };
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (text) => {
      program.said += text;
    });
  }
  t.teardown(() => child.kill('SIGKILL'));
  return program;
}

const ended = ({ child }: ReturnType<typeof start>) =>
  eventually('the end of the program', () => child.exitCode !== null || child.signalCode);

/** What console.log(served.addresses) of `tell` has printed. */
const tell = 'console.log("at " + JSON.stringify(served.addresses));';

async function addresses(program: ReturnType<typeof start>): Promise<string[]> {
  const [, json = ''] = await eventually('its addresses', () => /^at (.*)$/m.exec(program.said));
  return JSON.parse(json).map(({ address }: { address: string }) => address);
}

const http = 'listen: { protocol: "http", address: "127.0.0.1:0" }';

t.test('applications of Express and Fastify', async (t) => {
  const express = start(
    t,
    `import express from ${JSON.stringify(require.resolve('express'))};
     const app = express();
     app.use(express.json());
     app.post('/sum', (req, res) => res.json({ sum: req.body.a + req.body.b, ip: req.ip }));
     const served = await serve(app, { ${http} }); ${tell}`,
  );
  const fastify = start(
    t,
    `import fastify from ${JSON.stringify(require.resolve('fastify'))};
     const app = fastify();
     app.register(async (app) => { app.get('/x/:name', async (req) => ({ hello: req.params.name })); });
     const served = await serve(app, { ${http}, model: 'process-pool', processes: 1 }); ${tell}`,
  );
  const [first = ''] = await addresses(express);
  const fields = [['Content-Type', 'application/json']] as const;
  const sum = await ask(new HttpClient(first), '/sum', {
    method: 'POST',
    body: '{"a":1,"b":2}',
    fields,
  });
  t.match(JSON.parse(sum.text), { sum: 3, ip: '127.0.0.1' });
  const [second = ''] = await addresses(fastify);
  t.same(JSON.parse((await ask(new HttpClient(second), '/x/you')).text), { hello: 'you' });
});

t.test('an application that cannot start ends the program, with the reason', async (t) => {
  const program = start(
    t,
    `import fastify from ${JSON.stringify(require.resolve('fastify'))};
     const app = fastify();
     app.register(async () => { throw new Error('no database'); });
     await serve(app, { ${http} });`,
  );
  await ended(program);
  t.equal(program.child.exitCode, 1);
  t.match(program.said, /no database/);
});

t.test('several protocols, several servlets', async (t) => {
  const program = start(
    t,
    `const say = (name) => (req, res) => res.end([name, metadataOf(req).scriptName, req.url].join(' '));
     const served = await serve(
       { '/shop': say('shop'), '/': say('rest'), cart: (request) => new Response('cart') },
       { listen: [
         { protocol: 'fastcgi', address: process.argv[1] + '.sock' },
         { protocol: 'ajp13', address: '127.0.0.1:0' },
         { protocol: 'http', address: '127.0.0.1:0' },
       ] }); ${tell}`,
  );
  const [fastcgi = '', ajp = '', web = ''] = await addresses(program);
  const all = [new FastcgiClient(fastcgi), new AjpClient(ajp), new HttpClient(web)];
  for (const client of all) {
    t.equal((await ask(client, '/shop/x?y')).text, 'shop /shop /shop/x?y');
    t.equal((await ask(client, '/shopping')).text, 'rest  /shopping');
    t.equal((await ask(client, '/servlets/cart')).text, 'cart');
    client.end();
  }
});

t.test(
  'development: HTTP by itself, new when the file changes, the old one while it is wrong',
  async (t) => {
    const port = await freePort();
    const program = start(t, `serve((req, res) => res.end('first'));`, { PORT: `${port}` });
    const client = new HttpClient(`127.0.0.1:${port}`);
    const text = () => ask(client, '/').then(({ text }) => text);
    await eventually('it is said', () => program.said.includes(`at http://127.0.0.1:${port}/`));
    t.equal(await text(), 'first');
    program.write(`serve((req, res) => res.end('second'));`);
    await eventually('the second', async () => (await text()) === 'second');
    program.write('this is no program');
    await eventually('the reason', () =>
      program.said.includes('no new workers, so those before go on'),
    );
    t.equal(await text(), 'second');
    client.end();
    program.child.kill('SIGTERM');
    await ended(program);
    t.equal(program.child.exitCode, 0);
  },
);

t.test('enough: without workers the program ends by itself', async (t) => {
  const program = start(
    t,
    `const served = await serve((req, res) => res.end('x'), { ${http}, maxRequests: 2 }); ${tell}`,
  );
  const [address = ''] = await addresses(program);
  const client = new HttpClient(address);
  for (let i = 0; i < 2; i++) t.equal((await ask(client, '/')).status, 200);
  client.end();
  await ended(program);
  t.equal(program.child.exitCode, 0);
  t.match(program.said, /the program ends: it has served 2 requests \(maxRequests\)/);
});

const mistakes: [text: string, message: RegExp][] = [
  [`await serve(1);`, /TypeError: .*a number; allowed are function \(req, res\)/],
  [`await serve(() => {}, { modell: 1 });`, /option "modell" is unknown/],
  [
    `await serve(() => {}, { listen: { protocol: 'http', address: '127.0.0.1:99999' } });`,
    /127.0.0.1:99999/,
  ],
  [`await serve(() => {}, { listen: { protocol: 'ajp13', address: '0.0.0.0:0' } });`, /secretFile/],
  [
    `await serve(() => {}, { ${http} }); await serve(() => {}, { ${http} });`,
    /it was called before/,
  ],
  [
    `await serve(() => {}, { ${http}, onMasterStart() { throw new Error('no disk'); } });`,
    /no disk/,
  ],
  [
    `await serve(() => {}, { ${http}, model: 'process-pool', processes: 1, onWorkerStart() { throw new Error('no disk'); } });`,
    /no disk/,
  ],
];

t.test('mistakes end the program, with the reason', async (t) => {
  for (const [text, message] of mistakes) {
    const program = start(t, text);
    await ended(program);
    t.equal(program.child.exitCode, 1, text);
    t.match(program.said, message, text);
  }
});
