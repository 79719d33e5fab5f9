// SPDX-License-Identifier: Apache-2.0
// One list of behaviours for every protocol and every execution model: the same program file, started in all
// the ways. What was passed makes the table in docs/runtime-matrix.md (USHER_WRITE_MATRIX=1 writes it).
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { crc32 } from 'node:zlib';
import t, { type Test } from 'tap';
import type { ProtocolName } from './metadata.ts';
import type { ModelName, ServeOptions } from './options.ts';
import { bundle } from './testing/bundle.ts';
import { ask } from './testing/calls.ts';
import { eventually, isRunning, Program } from './testing/program.ts';

const models: readonly ModelName[] = [
  'sequential',
  'concurrent',
  'forking',
  'process-pool',
  'thread-pool',
];
const isPool = (model: ModelName) => model !== 'sequential' && model !== 'concurrent';
const hasProcesses = (model: ModelName) => model === 'forking' || model === 'process-pool';

interface Pair {
  protocol: ProtocolName;
  /** null: CGI, which has a process for each request whatever the model. */
  model: ModelName | null;
}

interface World extends Pair {
  program: Program;
  start(options?: ServeOptions): Promise<Program>;
}

interface Behaviour {
  name: string;
  /** Default: all. */
  makesSense?(pair: Pair): boolean;
  show(t: Test, world: World): Promise<void>;
}

const pattern = (bytes: number) =>
  Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 8)) % 251));

const hasUnknownLength = ({ protocol }: Pair) => protocol !== 'ajp12' && protocol !== 'cgi';
const isServer = ({ model }: Pair) => model !== null;

const behaviours: Behaviour[] = [
  {
    name: 'a request: method, URL, fields, metadata',
    async show(t, { protocol, program }) {
      const fields = [
        ['X-Some', 'field'],
        ['Cookie', 'a=b; c="d"'],
        ['User-Agent', 'me \xe4'],
      ] as const;
      const answer = await ask(program.client, '/echo?x=%20y&z', { fields, remoteUser: 'anna' });
      t.equal(answer.status, 200);
      t.same(answer.header('Content-Type'), ['application/json']);
      const said = JSON.parse(answer.body.toString());
      t.match(said, {
        method: 'GET',
        url: '/echo?x=%20y&z',
        bytes: 0,
        headers: {
          host: 'shop.example',
          'x-some': 'field',
          cookie: 'a=b; c="d"',
          // Environments of Node's programs are texts.
          'user-agent': protocol === 'cgi' ? 'me \xc3\xa4' : 'me \xe4',
        },
        metadata: { protocol, role: 'responder', pathInfo: '/echo', scriptName: '' },
      });
      if (protocol === 'http') return;
      t.match(said, {
        address: '192.0.2.7',
        metadata: {
          remoteUser: 'anna',
          authType: 'Basic',
          remoteAddress: '192.0.2.7',
          remotePort: 4711,
          serverName: 'shop.example',
          serverPort: 80,
          isSecure: false,
        },
      });
    },
  },
  {
    name: 'methods',
    async show(t, { program, protocol }) {
      const methods = ['PUT', 'DELETE', 'OPTIONS', 'PROPFIND', 'PATCH'];
      for (const method of protocol === 'cgi' ? methods.slice(0, 1) : methods) {
        const { body } = await ask(program.client, '/echo', { method });
        t.equal(JSON.parse(body.toString()).method, method);
      }
      const head = await ask(program.client, '/fields', { method: 'HEAD' });
      t.equal(head.status, 418);
      t.equal(head.body.length, 0);
    },
  },
  {
    name: 'bodies of known length',
    async show(t, { program, protocol }) {
      const sizes = [1, 8186, 8187, 70_000, 1_000_000];
      for (const bytes of protocol === 'cgi' ? [70_000] : sizes) {
        const body = pattern(bytes);
        const answer = await ask(program.client, '/echo', { method: 'POST', body });
        t.match(JSON.parse(answer.body.toString()), { bytes, crc: crc32(body) });
      }
    },
  },
  {
    name: 'bodies of unknown length',
    makesSense: hasUnknownLength,
    async show(t, { program }) {
      for (const bytes of [0, 1, 8187, 300_000]) {
        const body = pattern(bytes);
        const question = { method: 'POST', body, bodyBytes: null };
        const answer = await ask(program.client, '/echo', question);
        t.match(JSON.parse(answer.body.toString()), { bytes, crc: crc32(body) });
      }
    },
  },
  {
    name: 'a body that nobody reads',
    async show(t, { program }) {
      for (const bytes of [10, 50_000]) {
        const answer = await ask(program.client, '/unread', {
          method: 'POST',
          body: pattern(bytes),
        });
        t.equal(answer.text, 'not read');
        t.equal((await ask(program.client, '/unread')).text, 'not read', 'and the next request');
      }
    },
  },
  {
    name: 'fields and statuses of answers',
    async show(t, { program, protocol }) {
      const answer = await ask(program.client, '/fields');
      t.equal(answer.status, 418);
      t.equal(answer.text, 'tea');
      t.same(answer.header('Set-Cookie'), ['a=1', 'b=2; Path=/']);
      t.same(answer.header('X-Long'), ['l'.repeat(2000)]);
      t.same(answer.header('X-Latin'), ['\xe4\xf6']);
      if (protocol !== 'http') t.same(answer.header('Connection'), [], 'is no business of it');
      for (const code of [204, 304]) {
        const empty = await ask(program.client, `/status?code=${code}`);
        t.same([empty.status, empty.body.length], [code, 0]);
      }
      t.equal((await ask(program.client, '/status?code=503&body=no')).text, 'no');
    },
  },
  {
    name: 'large answers',
    async show(t, { program }) {
      const answer = await ask(program.client, '/large?bytes=3000000');
      t.equal(answer.body.length, 3_000_000);
    },
  },
  {
    name: 'answers that come in parts, as they are made',
    async show(t, { program }) {
      const call = await program.client.open({ url: '/parts?part=part-1&part=part-2' });
      call.endBody();
      t.equal((await call.head()).status, 200);
      for (const name of ['part-1', 'part-2']) {
        t.equal(await call.until(';'), `${name};`);
        program.files.make(name);
      }
      t.equal((await call.answer()).text, 'end');
    },
  },
  {
    name: 'both ways at a time',
    async show(t, { program }) {
      const call = await program.client.open({ url: '/duplex', method: 'POST', bodyBytes: 30_000 });
      call.send(pattern(10_000));
      t.equal((await call.head()).status, 200, 'the head comes before the body has ended');
      call.send(pattern(10_000));
      call.send(pattern(10_000));
      call.endBody();
      const { body } = await call.answer();
      const expected = Buffer.concat([pattern(10_000), pattern(10_000), pattern(10_000)]);
      t.equal(crc32(body), crc32(Buffer.concat([expected, Buffer.from('end')])));
    },
  },
  {
    name: 'a handler that throws: 500',
    async show(t, { program }) {
      for (const path of ['/throw', '/reject']) {
        const answer = await ask(program.client, path);
        t.equal(answer.status, 500);
        t.notMatch(answer.text, 'on purpose', 'the client learns nothing about the program');
      }
    },
  },
  {
    name: 'an answer that is broken off',
    makesSense: isServer,
    async show(t, { program }) {
      const late = await ask(program.client, '/late').then(
        ({ status, text }) => `${status} ${text}`,
        () => 'broken off',
      );
      t.equal(late, 'broken off', 'the client knows that it is not whole');
      t.equal((await ask(program.client, '/unread')).status, 200);
    },
  },
  {
    name: 'a client that leaves',
    // Over AJP 1.2 it shows when more is written.
    makesSense: (pair) => isServer(pair) && pair.protocol !== 'ajp12',
    async show(t, { program }) {
      const call = await program.client.open({ url: '/left?name=left' });
      call.endBody();
      await call.until('here;');
      call.leave();
      const finished = await eventually(
        'the handler to know',
        () => program.files.lines('left')[0],
      );
      t.equal(finished, 'false');
      t.equal((await ask(program.client, '/unread')).status, 200);
    },
  },
  {
    name: 'how many requests run at a time',
    makesSense: isServer,
    async show(t, { program, model }) {
      const { client, files } = program;
      const held = ['hold-1', 'hold-2'].map((name) => ask(client, `/hold?name=${name}`));
      const begun = () => files.lines('begun');
      if (model === 'sequential') {
        const [first = ''] = await eventually('the first', () =>
          begun().length > 0 ? begun() : null,
        );
        t.equal(begun().length, 1, 'the second waits');
        files.make(first);
        await eventually('the second', () => begun().length === 2);
        for (const name of begun()) files.make(name);
      } else {
        await eventually('both', () => begun().length === 2);
        for (const name of begun()) files.make(name);
      }
      for (const answer of await Promise.all(held)) t.equal(answer.text, 'held');
    },
  },
  {
    name: 'more than can wait: 503',
    makesSense: ({ model }) => model !== null && model !== 'concurrent',
    async show(t, { start, model }) {
      const limits: Partial<Record<ModelName, ServeOptions>> = {
        sequential: { backlog: 1 },
        forking: { processes: 1, maxProcesses: 2 },
        'process-pool': { processes: 1, backlog: 1 },
        'thread-pool': { threads: 1, backlog: 1 },
      };
      const program = await start(limits[model as ModelName] ?? {});
      const { client, files } = program;
      const asked = ['a', 'b', 'c'].map((name) => ask(client, `/hold?name=${name}`));
      const first = await Promise.race(asked);
      t.equal(first.status, 503);
      t.ok(Number(first.header('Retry-After')[0]) > 0);
      for (const name of ['a', 'b', 'c']) files.make(name);
      const statuses = (await Promise.all(asked)).map(({ status }) => status);
      t.same(statuses.sort(), [200, 200, 503]);
    },
  },
  {
    name: 'memory of the program: kept from request to request, or not',
    async show(t, { program, model }) {
      const counts: string[] = [];
      for (let i = 0; i < 3; i++) counts.push((await ask(program.client, '/count')).text);
      const numbers = counts.map((text) => Number(text.split(' ')[0]));
      const pids = new Set(counts.map((text) => text.split(' ')[1]));
      if (model === 'forking' || model === null) {
        t.same(numbers, [1, 1, 1], 'each request finds it as it was at first');
        t.equal(pids.size, 3);
      } else {
        t.ok(Math.max(...numbers) > 1);
        if (!isPool(model) || model === 'thread-pool') t.same([...pids], [String(program.pid)]);
        else t.notOk(pids.has(String(program.pid)));
      }
    },
  },
  {
    name: 'deadline: a handler that never answers, 504',
    async show(t, { start }) {
      const program = await start({ deadlineMs: 500 });
      t.equal((await ask(program.client, '/hang')).status, 504);
      t.equal((await ask(program.client, '/unread')).status, 200);
    },
  },
  {
    name: 'deadline: a handler that computes for ever, 504',
    async show(t, { start }) {
      const program = await start({ deadlineMs: 500 });
      t.equal((await ask(program.client, '/spin')).status, 504);
      t.equal((await ask(program.client, '/unread')).status, 200, 'others are served');
    },
  },
  {
    name: 'a worker that dies: 502 for its request, others are served',
    makesSense: ({ model }) => model !== null && isPool(model),
    async show(t, { program }) {
      t.equal((await ask(program.client, '/exit')).status, 502);
      await program.log(/ended with status 3/);
      for (let i = 0; i < 3; i++) t.equal((await ask(program.client, '/unread')).status, 200);
    },
  },
  {
    name: 'stop: what was accepted is finished, hooks run, nothing is left',
    makesSense: isServer,
    async show(t, { start, model }) {
      const program = await start({});
      const { client, files } = program;
      const held = ask(client, '/hold?name=at-stop');
      await eventually('the request', () => files.lines('begun').length === 1);
      const children = program.children();
      t.equal(children.length > 0, hasProcesses(model as ModelName));
      program.signal('SIGTERM');
      await eventually('no more is taken', async () => !(await program.listens()));
      files.make('at-stop');
      t.equal((await held).text, 'held');
      t.equal(await program.ended(), 0);
      const hooks = files.lines('hooks');
      t.equal(hooks[0], `master start ${program.pid}`);
      t.equal(hooks.at(-1), `master stop ${program.pid}`);
      const count = (what: string) => hooks.filter((line) => line.startsWith(what)).length;
      t.ok(count('worker start') > 0);
      t.equal(count('worker stop'), count('worker start'));
      t.same(children.filter(isRunning), [], 'all workers have ended');
    },
  },
  {
    name: 'the master is killed: no worker is left, whatever it does',
    makesSense: ({ model }) => model !== null && hasProcesses(model),
    async show(t, { start }) {
      const program = await start();
      const call = await program.client.open({ url: '/spin-after?name=spins' });
      call.endBody();
      await eventually('the handler to compute', () => program.files.has('spins'));
      const children = program.children();
      t.ok(children.length > 0);
      program.signal('SIGKILL');
      await eventually('the workers to end', () => !children.some(isRunning));
      t.equal(await program.ended(), 'SIGKILL');
      call.leave();
    },
  },
];

// ---- the run

type Result = 'passed' | 'failed' | 'none';
const results = new Map<string, Map<string, Result>>();

/** USHER_TEST_PAIRS="http forking,cgi": only these, while something is being mended. */
const wanted = process.env.USHER_TEST_PAIRS?.split(',');

const pairs: Pair[] = [
  ...(['fastcgi', 'ajp13', 'ajp12', 'http'] as const).flatMap((protocol) =>
    models.map((model) => ({ protocol, model })),
  ),
  { protocol: 'cgi', model: null },
];
const nameOf = ({ protocol, model }: Pair) => (model === null ? protocol : `${protocol} ${model}`);

const root = mkdtempSync(`${tmpdir()}/usher-behaviours-`);
const file = await bundle(
  new URL('./testing/behaving.ts', import.meta.url),
  `${root}/behaving.mjs`,
);

for (const pair of pairs.filter((one) => wanted?.includes(nameOf(one)) ?? true)) {
  t.test(nameOf(pair), async (t) => {
    let count = 0;
    const start = async (options: ServeOptions = {}): Promise<Program> => {
      const dir = `${root}/${nameOf(pair).replace(' ', '-')}-${++count}`;
      const { protocol, model } = pair;
      if (protocol === 'cgi' || model === null) return Program.cgi(file, dir, options);
      const program = await Program.start(file, dir, protocol, { model, ...options });
      t.teardown(() => program.kill());
      return program;
    };
    const program = await start();
    const column = new Map<string, Result>();
    results.set(nameOf(pair), column);
    for (const { name, makesSense = () => true, show } of behaviours) {
      if (!makesSense(pair)) {
        column.set(name, 'none');
        continue;
      }
      await t.test(name, async (t) => {
        await show(t, { ...pair, program, start });
        column.set(name, t.counts.fail === 0 ? 'passed' : 'failed');
      });
    }
  });
}

t.test('the table of the manual', { skip: wanted !== undefined }, async (t) => {
  const place = new URL('../../docs/runtime-matrix.md', import.meta.url);
  const text = table();
  if (process.env.USHER_WRITE_MATRIX) writeFileSync(place, text);
  t.equal(readFileSync(place, 'utf8'), text);
});

t.teardown(() => rmSync(root, { recursive: true, force: true }));

function table(): string {
  const signs: Record<Result, string> = { passed: '✓', failed: 'FAILED', none: '' };
  const names = pairs.map(nameOf);
  const cell = (behaviour: string, pair: string) =>
    signs[results.get(pair)?.get(behaviour) ?? 'failed'];
  const rows = behaviours.map(
    ({ name }) => `| ${name} | ${names.map((pair) => cell(name, pair)).join(' | ')} |`,
  );
  return [
    '<!-- SPDX-License-Identifier: Apache-2.0 -->',
    '# Runtime library: what was shown for which protocol and model',
    '',
    'Written by the tests (`USHER_WRITE_MATRIX=1 npx tap ts/runtime/behaviours.test.ts`): ✓ means that the',
    'behaviour was shown in that pair; nothing, that it makes no sense there. CGI has a process for each',
    'request, whatever the model.',
    '',
    `| | ${names.join(' | ')} |`,
    `|---|${names.map(() => '---|').join('')}`,
    ...rows,
    '',
  ].join('\n');
}
