// SPDX-License-Identifier: Apache-2.0
// Snapshots of small programs, made and started by the installed Node.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, realpathSync, utimesSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { type BuildOptions, type Built, buildSnapshot, whyNotUsable } from './build.ts';
import type { StoredRecord } from './record.ts';
import { snapshotArguments, withoutSnapshot } from './snapshot.ts';

const library = fileURLToPath(new URL('./snapshot.ts', import.meta.url));

/** What serve() does here: answers as a CGI program. */
const serve = `
import { atStart } from ${JSON.stringify(library)};
export const serve = (answer: (body: string) => string) => new Promise<void>((resolve) => atStart(() => {
  let body = '';
  process.stdin.on('data', (bytes) => { body += bytes; });
  process.stdin.on('end', () => {
    process.stdout.write('Content-Type: text/plain\\n\\n' + answer(body));
    resolve();
  });
}));
`;

function makeFiles(t: Test, files: Record<string, string>): string {
  const directory = realpathSync(t.testdir({ 'serve.ts': serve, ...files }));
  return directory;
}

interface Ran {
  status: number | null;
  out: string;
  err: string;
}

async function run(words: string[], env: Record<string, string> = {}, input = ''): Promise<Ran> {
  // The options that tests themselves run with are no part of it.
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const child = spawn('env', ['-u', 'NODE_OPTIONS', ...variables, ...words]);
  const ran: Ran = { status: null, out: '', err: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    ran.out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    ran.err += text;
  });
  child.stdin.on('error', () => undefined); // it may end without reading
  child.stdin.end(input);
  const [status] = (await once(child, 'close')) as [number | null];
  return { ...ran, status };
}

const start = (program: string): string[] => [
  process.execPath,
  ...(snapshotArguments(program) ?? ['--no-snapshot-here']),
  program,
];

async function refuses(t: Test, program: string, options: Partial<BuildOptions> = {}) {
  const before = readdirSync(t.testdirName).sort();
  const error = await buildSnapshot({ program, ...options }).then(
    () => t.fail('no error'),
    (reason: Error) => reason,
  );
  t.same(readdirSync(t.testdirName).sort(), before, 'nothing is left');
  return error instanceof Error ? error.message : '';
}

t.test('a program answers from its snapshot as CGI', async (t) => {
  const directory = makeFiles(t, {
    'part.mts': 'export const part = await Promise.resolve("part");',
    'old.cjs': 'exports.name = require("node:path").basename(__filename);',
    'app.ts': `
      import { createServer, IncomingMessage, METHODS, ServerResponse } from 'node:http';
      import { randomInt, randomUUID } from 'node:crypto';
      import { part } from './part.mts';
      import old from './old.cjs';
      import { serve } from './serve.ts';
      class Message extends IncomingMessage { hello() { return 'hello'; } }
      class Answer extends Response {}
      const index = new Map([[part, [3, 1, 2].toSorted()]]);
      const setHeader = ServerResponse.prototype.setHeader;
      const id = randomUUID(); crypto.randomUUID(); randomInt(9);
      const pid = process.pid;
      console.error('initialised');
      await serve((body) => JSON.stringify({
        body, old: old.name, index: [...index], isNew: pid !== process.pid, url: import.meta.url,
        query: process.env.QUERY_STRING, args: process.argv.slice(1),
        http: [METHODS.includes('GET'), typeof createServer(), new Answer('x', { status: 201 }).status],
        message: new Message(null as never).hello(),
        kind: new Message(null as never) instanceof IncomingMessage,
        header: setHeader.call(new ServerResponse(new Message(null as never)), 'a', 'b').getHeader('a'),
        own: Object.hasOwn(Object.getPrototypeOf(Message.prototype), 'read'),
        id, next: [randomUUID(), crypto.randomUUID()],
      }));
      process.stdout.write('\\nafter serve()');
    `,
  });
  const program = `${directory}/app.ts`;
  const built = await buildSnapshot({ program, executable: `${directory}/app.cgi` });
  t.match(built, { snapshot: `${directory}/app.snapshot`, isNew: true, warnings: [] });
  t.same(readdirSync(directory).sort(), [
    ...[
      'app.cgi',
      'app.snapshot',
      'app.snapshot.json',
      'app.ts',
      'old.cjs',
      'part.mts',
      'serve.ts',
    ],
  ]);
  const ids = new Set<string>();
  for (const words of [start(program), [`${directory}/app.cgi`]]) {
    const ran = await run([...words, 'one'], { QUERY_STRING: 'a=b' }, 'text');
    t.match(ran, {
      status: 0,
      err: '',
      out: /^Content-Type: text\/plain\n\n.*\nafter serve\(\)$/s,
    });
    const answer = JSON.parse(ran.out.split('\n')[2] ?? '');
    t.match(answer, {
      ...{ body: 'text', old: 'old.cjs', index: [['part', [1, 2, 3]]], isNew: true },
      ...{ url: `file://${program}`, query: 'a=b', args: [program, 'one'] },
      ...{ http: [true, 'object', 201], message: 'hello', kind: true, header: 'b', own: false },
    });
    for (const id of [answer.id, ...answer.next]) ids.add(id);
  }
  t.equal(ids.size, 5, 'random bytes are not kept for the processes to come');

  const again = await buildSnapshot({ program, onlyIfStale: true });
  t.match(again, { isNew: false, reason: null });
});

t.test('stale', async (t) => {
  const directory = makeFiles(t, {
    'part.mjs': 'export const part = 1;',
    'data.txt': 'data',
    'app.mjs': `
      import { part } from './part.mjs';
      import { serve } from './serve.mjs';
      serve(() => 'part ' + part);`,
    'serve.mjs': serve.replace(/: \(body: string\) => string|<void>/g, '').replace(
      /import .*/,
      `import { startupSnapshot } from 'node:v8';
       const atStart = (main) => startupSnapshot.isBuildingSnapshot()
         ? globalThis[Symbol.for('usher.snapshot.atStart')](main) : main();`,
    ),
  });
  const [program, executable] = [`${directory}/app.mjs`, `${directory}/app.cgi`];
  const told: string[] = [];
  const write = process.stderr.write;
  process.stderr.write = (text) => told.push(String(text)) > 0;
  t.teardown(() => {
    process.stderr.write = write;
  });
  t.equal(snapshotArguments(program), null, 'there is none');
  t.same(told, []);
  await buildSnapshot({ program, executable, depends: [`${directory}/data.txt`] });
  t.ok(snapshotArguments(program));
  t.match(await run([executable]), { status: 0, err: '', out: /part 1$/ });

  writeFileSync(`${directory}/part.mjs`, 'export const part = "two";');
  t.equal(snapshotArguments(program), null);
  t.equal(snapshotArguments(program), null);
  const reason = `${directory}/part.mjs has changed`;
  t.same(told, [`usher: ${directory}/app.snapshot is not used: ${reason}\n`], 'told once');
  t.match(await run([executable]), {
    ...{ status: 0, out: /part two$/ },
    err: `usher: the snapshot of ${program} is not used: ${reason}\n`,
  });
  t.match(await buildSnapshot({ program, onlyIfStale: true }), { isNew: true, reason });
  t.match(await run(start(program)), { out: /part two$/ });
  t.match(await run([executable]), {
    ...{ status: 0, out: /part two$/ },
    err: `usher: ${directory}/app.snapshot is not used: Node or the snapshot is another one\n`,
  });
  await buildSnapshot({ program, executable, depends: [`${directory}/data.txt`] });
  t.match(await run([executable]), { status: 0, err: '' });
  const env = { NODE_OPTIONS: '--max-old-space-size=200' };
  t.match(await run([executable], env), {
    status: 0,
    out: /part two$/,
    err: /NODE_OPTIONS is set/,
  });
  utimesSync(`${directory}/data.txt`, 5, 5.5);
  t.equal(await whyNotUsable(program), `${directory}/data.txt has changed`);

  const path = `${directory}/app.snapshot.json`;
  const record = JSON.parse(readFileSync(path, 'utf8')) as StoredRecord;
  const changes: [Partial<StoredRecord>, RegExp][] = [
    [{ node: 'v1.2.3' }, /was made by Node v1\.2\.3 linux \w+, this is v/],
    [{ v8Tag: 5 }, /other options of V8/],
    [{ program: '/elsewhere.ts' }, /is of \/elsewhere\.ts/],
    [{ format: 99 }, /no record of a snapshot that this version knows/],
  ];
  for (const [change, expected] of changes) {
    writeFileSync(path, JSON.stringify({ ...record, files: [], ...change }));
    t.equal(snapshotArguments(program), null);
    t.match(told.at(-1), expected);
  }
  writeFileSync(path, JSON.stringify({ ...record, files: [] }));
  t.ok(snapshotArguments(program));
  writeFileSync(`${directory}/app.snapshot`, 'half');
  t.equal(snapshotArguments(program), null);
  t.match(told.at(-1), /app\.snapshot has changed/);
});

t.test('programs that cannot be in a snapshot', async (t) => {
  const cases: Record<string, [string, RegExp]> = {
    'a server': [
      'import net from "node:net";\nnet.createServer().listen(0);',
      /net\.Server\.listen\(\) cannot be called before serve\(\).*\n +at \S*app\.ts:2:\d+/,
    ],
    'a server of HTTP': [
      'import { createServer } from "node:http";\n\ncreateServer().listen(0);',
      /http\.createServer\(\) cannot be called before serve\(\).*app\.ts:3:\d+/s,
    ],
    'a worker': [
      'import { Worker } from "node:worker_threads"; new Worker("1", { eval: true });',
      /worker_threads\.Worker\(\) cannot be called/,
    ],
    'a timer': ['setInterval(() => 0, 9);', /setInterval\(\) cannot be called.*app\.ts:1:/s],
    'a signal': ['process.on("SIGTERM", () => 0);', /process\.on\('SIGTERM'\) cannot/],
    'a program': [
      'import { spawn } from "child_process"; spawn("true");',
      /child_process\.spawn\(\) cannot/,
    ],
    fetch: ['await fetch("http://127.0.0.1:1");', /fetch\(\) cannot/],
    'an error': ['\nthrow new TypeError("broken");', /TypeError: broken\n.*app\.ts:2:7/],
    'no serve()': ['export {};', /ended without serve\(\)/],
    'an object of Intl': [
      'import { serve } from "./serve.ts"; const f = new Intl.NumberFormat("de"); serve(() => f.format(1));',
      /an object.*cannot put into a snapshot.*Intl\.NumberFormat/s,
    ],
    syntax: ['const = 1;', /app\.ts:1:7: Expected identifier/],
    'no module': ['import "nobody-has-this";', /app\.ts:1:8: Could not resolve "nobody-has-this"/],
    exit: ['process.exit(7);', /status 7/],
  };
  for (const [name, [text, expected]] of Object.entries(cases)) {
    await t.test(name, async (t) => {
      const directory = makeFiles(t, { 'app.ts': text });
      t.match(await refuses(t, `${directory}/app.ts`), expected);
    });
  }
  await t.test('no end', async (t) => {
    const directory = makeFiles(t, {
      'app.ts': 'await new Promise((resolve) => setTimeout(resolve, 1e8));',
    });
    const late = await refuses(t, `${directory}/app.ts`, { timeoutMs: 1 });
    t.match(late, /not come to an end of its initialisation: it waits for a timer/);
  });
  await t.test('given up', async (t) => {
    const directory = makeFiles(t, { 'app.ts': 'for (;;);' });
    const aborted = new AbortController();
    const built: Promise<Built> = buildSnapshot({ program: `${directory}/app.ts` }, aborted.signal);
    aborted.abort();
    await t.rejects(built, { name: 'AbortError' });
    t.same(readdirSync(directory).sort(), ['app.ts', 'serve.ts']);
  });
  await t.test('no program', async (t) => {
    const directory = makeFiles(t, { 'app.py': '' });
    await t.rejects(buildSnapshot({ program: `${directory}/app.ts` }), /does not exist/);
    await t.rejects(buildSnapshot({ program: directory }), /is not a file/);
    await t.rejects(buildSnapshot({ program: `${directory}/app.py` }), /ends with one of \.js/);
  });
});

t.test('options of Node without the snapshot', (t) => {
  const given = ['--snapshot-blob', 'a', '--no-warnings', '--snapshot-blob=b', '--stack-size=9'];
  t.same(withoutSnapshot(given), ['--no-warnings', '--stack-size=9']);
  t.end();
});
