// SPDX-License-Identifier: Apache-2.0
// Pools over real processes and threads; rules that need time are in pool-rules.test.ts.
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readlinkSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { RecordedExchange } from './testing/recorded-exchange.ts';
import { builtProgram, eventually, makeWorld, type World } from './testing/world.ts';

const execute = promisify(execFile);

async function ask({ pool }: Pick<World, 'pool'>, url: string, body: readonly Buffer[] = []) {
  const exchange = new RecordedExchange(url, body);
  pool.run(exchange);
  await exchange.whenOver;
  return exchange;
}

for (const kind of ['process-pool', 'thread-pool'] as const) {
  t.test(`${kind}: requests, answers, bodies`, async (t) => {
    const world = await makeWorld(t, kind);
    const made = await ask(world, '/head');
    t.match(made, { status: 201, fields: ['X-One', '\xe9', 'X-One', '2'], flushes: 1 });
    t.equal(made.text, 'one fran\xe7ois \xe9');
    t.same(made.lines, ['a line for the log']);
    t.match(await ask(world, '/bad-head'), { status: 200, text: /X: a value with a character/ });
    const body = [Buffer.from('a '), Buffer.alloc(600_000, 'b'), Buffer.from(' c')];
    const echoed = await ask(world, '/echo', body);
    t.ok(Buffer.concat(echoed.chunks).equals(Buffer.concat(body)));
    t.equal((await ask(world, '/stream/2000000')).bytes, 2_000_000);
    const name = (await ask(world, '/name')).text;
    t.equal((await ask(world, '/name')).text, name, 'the same worker');
    t.same(world.lines, []);
  });

  t.test(`${kind}: a worker that dies costs its request, and is replaced`, async (t) => {
    const world = await makeWorld(t, kind);
    const before = (await ask(world, '/name')).text;
    const lost = await ask(world, '/exit/3');
    t.match(lost, {
      status: 502,
      text: /ended without an answer/,
      lines: [/ended with status 3$/],
    });
    t.not((await ask(world, '/name')).text, before);
    t.match(await ask(world, '/throw'), { status: 502 });
    t.match(world.lines, [
      /ended with status 3$/,
      kind === 'thread-pool' ? /ended by an error: Error: a handler/ : /ended with status \d$/,
    ]);
    const answered = await ask(world, '/answer-and-exit');
    t.match(answered, { status: 200, text: 'all there is', lines: [] });
    await eventually(() => world.lines.length === 3); // what comes before may be sent to the dying one
    t.equal((await ask(world, '/name')).status, 200);
  });

  t.test(
    `${kind}: a request that computes beyond its deadline gets 504, its worker is replaced`,
    async (t) => {
      const world = await makeWorld(t, kind, {
        settings: { deadlineMs: 1, processes: 2, maxProcesses: 2, threads: 2 },
        rules: { pingMs: 100 },
      });
      const late = await ask(world, '/spin');
      t.match(late, { status: 504, text: /took too long/, lines: [/no answer within 1 ms/] });
      await eventually(() => world.lines.length > 0);
      t.match(world.lines, [/was ended: it did not answer within 100 ms after an abort/]);
      await eventually(() => world.pool.counts().workers === 2);
    },
  );

  t.test(`${kind}: a client leaves, the handler hears of it, its worker goes on`, async (t) => {
    const world = await makeWorld(t, kind);
    const exchange = new RecordedExchange('/never');
    world.pool.run(exchange);
    const has = (word: string) => world.traces().some((name) => name.startsWith(word));
    await eventually(() => has('running'));
    exchange.leave();
    await eventually(() => has('aborted'));
    t.equal((await ask(world, '/served')).text, '1');
    t.same(world.lines, []);
  });

  t.test(`${kind}: a client leaves, and the handler only computes`, async (t) => {
    const world = await makeWorld(t, kind, { rules: { pingMs: 100 } });
    const exchange = new RecordedExchange('/spin-on-abort');
    world.pool.run(exchange);
    await eventually(() => world.traces().some((name) => name.startsWith('running')));
    exchange.leave();
    t.equal((await ask(world, '/served')).text, '1', 'of another worker');
    t.match(world.lines, [/did not answer within/]);
  });

  t.test(`${kind}: replacement after maxRequests loses nothing`, async (t) => {
    const world = await makeWorld(t, kind, { settings: { maxRequests: 2 } });
    const exchanges = Array.from({ length: 12 }, () => new RecordedExchange('/name'));
    for (const exchange of exchanges) world.pool.run(exchange);
    await Promise.all(exchanges.map(({ whenOver }) => whenOver));
    t.same(
      exchanges.map(({ status }) => status),
      Array(12).fill(200),
    );
    const names = new Set<string>();
    while (names.size < 3) names.add((await ask(world, '/name')).text);
    await eventually(() => world.traces().some((name) => name.startsWith('stopped')));
    t.same(world.lines, []);
  });

  t.test(`${kind}: a worker that leaks is replaced at maxMemoryMb`, async (t) => {
    const maxMemoryMb = 120;
    const world = await makeWorld(t, kind, {
      settings: { maxMemoryMb },
      program: { maxMemoryMb },
    });
    const names = new Set<string>();
    while (names.size < 2) {
      // One that goes on to leak until its replacement is there may meet V8's own limit.
      const isEnough = world.lines.length > 0;
      const answer = await ask(world, isEnough ? '/name' : '/leak');
      t.equal(answer.status, 200);
      names.add(answer.text);
    }
    t.match(world.lines[0], /is replaced: it has \d+ MB of memory, allowed are 120/);
  });

  t.test(`${kind}: stop waits for requests and background tasks, and runs hooks`, async (t) => {
    const world = await makeWorld(t, kind);
    writeFileSync(`${world.directory}/gate`, '');
    const waiting = new RecordedExchange('/wait/gate');
    const queued = new RecordedExchange('/background/short');
    world.pool.run(waiting);
    world.pool.run(queued);
    t.match(world.pool.counts(), { running: 1, waiting: 1, workers: 1 });
    const stopped = world.pool.stop(60_000);
    t.match(await ask(world, '/name'), { status: 503 });
    rmSync(`${world.directory}/gate`);
    await stopped;
    t.match([waiting.status, queued.status], [200, 200]);
    const traces = world.traces().join(' ');
    t.match(traces, /background-/);
    t.match(traces, /stopped-/);
    t.same(world.pool.counts(), { running: 0, waiting: 0, workers: 0 });
    t.same(world.lines, []);
  });

  t.test(`${kind}: stop breaks off what does not end`, async (t) => {
    const world = await makeWorld(t, kind, {
      settings: { processes: 3, maxProcesses: 3, threads: 3 },
    });
    const begun = new RecordedExchange('/half');
    const never = new RecordedExchange('/never');
    world.pool.run(begun);
    world.pool.run(never);
    await eventually(() => begun.bytes > 0);
    await eventually(() => world.traces().some((name) => name.startsWith('running')));
    t.equal((await ask(world, '/background/endless')).status, 200);
    await world.pool.stop(1);
    t.match(never, { status: 503, text: /is being stopped/ });
    t.ok(begun.isBroken);
    t.same(world.pool.counts(), { running: 0, waiting: 0, workers: 0 });
  });

  t.test(`${kind}: all are replaced, and the old ones stay when the new ones fail`, async (t) => {
    const gate = `${t.testdir()}/fails`;
    const world = await makeWorld(t, kind, { program: { failsWhile: gate } });
    const before = (await ask(world, '/name')).text;
    await world.pool.replaceAll();
    const after = (await ask(world, '/name')).text;
    t.not(after, before);
    writeFileSync(gate, '');
    await t.rejects(world.pool.replaceAll(), /did not start: onWorkerStart: Error: the test wants/);
    t.equal((await ask(world, '/name')).text, after);
  });

  t.test(`${kind}: a program that does not start`, async (t) => {
    const file = `${t.testdir({ 'program.mjs': 'throw new Error("no");' })}/program.mjs`;
    await t.rejects(makeWorld(t, kind, { file }), /ended .* before it took requests/s);
    const missing = makeWorld(t, kind, { file: `${file}.none` });
    await t.rejects(missing, /ended .* before it took requests/s);
  });
}

t.test('forking: each request has a process of its own that is used once', async (t) => {
  const world = await makeWorld(t, 'forking', { settings: { processes: 2, maxProcesses: 3 } });
  const names = new Set<string>();
  for (let i = 0; i < 5; i++) {
    t.equal((await ask(world, '/served')).text, '1');
    names.add((await ask(world, '/name')).text);
  }
  t.equal(names.size, 5);
  t.same(world.lines, []);
  t.equal((await ask(world, '/kill')).status, 502);
  t.match(world.lines, [/was killed by SIGSEGV$/]);
});

t.test('forking: more than maxProcesses at once are refused', async (t) => {
  const world = await makeWorld(t, 'forking', { settings: { processes: 1, maxProcesses: 2 } });
  writeFileSync(`${world.directory}/gate`, '');
  const both = [new RecordedExchange('/wait/gate'), new RecordedExchange('/wait/gate')];
  for (const exchange of both) world.pool.run(exchange);
  t.match(await ask(world, '/name'), { status: 503, retryAfter: '1', lines: [/maxProcesses/] });
  rmSync(`${world.directory}/gate`);
  for (const exchange of both) await exchange.whenOver;
  t.match([both[0]!.status, both[1]!.status], [200, 200]);
  t.not(both[0]!.text, both[1]!.text);
});

t.test('forking: descriptors that a request hoards are gone with its process', async (t) => {
  const world = await makeWorld(t, 'forking', { settings: { processes: 1 } });
  t.match(await ask(world, '/hoard'), { status: 200, text: /^\d{2,}$/ });
  const { text } = await ask(world, '/descriptors');
  t.notMatch(text, '/dev/null\n/dev/null\n/dev/null');
});

t.test('a worker process inherits no socket of the master, and reads nothing', async (t) => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  const { fd } = (server as unknown as { _handle: { fd: number } })._handle;
  const socket = readlinkSync(`/proc/self/fd/${fd}`);
  const world = await makeWorld(t, 'process-pool');
  const { text } = await ask(world, '/descriptors');
  t.notMatch(text, socket);
  t.match(text, '/dev/null');
});

t.test('a worker process leaves signals to the master', async (t) => {
  const world = await makeWorld(t, 'process-pool');
  t.equal((await ask(world, '/signals')).text, 'here');
  t.equal((await ask(world, '/name')).status, 200);
});

t.test('threads have memory in common, by name', async (t) => {
  const shared = new Map([['counter', new SharedArrayBuffer(4)]]);
  const world = await makeWorld(t, 'thread-pool', {
    settings: { threads: 2 },
    shared,
    program: { isCounting: true },
  });
  await Promise.all([ask(world, '/count'), ask(world, '/count'), ask(world, '/count')]);
  t.equal(new Int32Array(shared.get('counter')!)[0], 3);
  const refused = makeWorld(t, 'thread-pool', { program: { isCounting: true } });
  await t.rejects(refused, /the main thread has not asked for it before serve\(\); it knows none/);
});

const source = fileURLToPath(new URL('testing/whole-program.ts', import.meta.url));

t.test('programs of all sorts run again in their workers', async (t) => {
  const script = builtProgram('whole-program', 'cjs');
  const programs = {
    module: [builtProgram('whole-program', 'esm')],
    CommonJS: [script],
    'without extension': [script.replace(/\.js$/, '')],
    TypeScript: ['--import', import.meta.resolve('tsx'), source],
  };
  for (const [name, args] of Object.entries(programs)) {
    for (const kind of ['forking', 'process-pool', 'thread-pool', 'reload']) {
      const { stdout } = await execute(process.execPath, [...args, kind, 'answers']);
      t.equal(stdout, `200 ${kind} 200 ${kind}\n`, `${name}, ${kind}`);
    }
  }
});

t.test('worker processes end with a master that is killed', async (t) => {
  const file = builtProgram('whole-program', 'esm');
  const master = spawn(process.execPath, [file, 'process-pool', 'waits'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  master.stdout.on('data', (chunk) => {
    text += chunk;
  });
  await eventually(() => text.includes('running'));
  master.kill('SIGKILL');
  await once(master.stdout, 'close'); // the workers have it as well
  t.match(text, /^running\n/, 'what a worker still says depends on whether the kernel kills it');
});

t.test('models with processes refuse memory in common', async (t) => {
  const file = builtProgram('whole-program', 'esm');
  const refused = execute(process.execPath, [file, 'forking', 'answers', 'shared']);
  await t.rejects(refused, /"counter": the workers of this model are processes/);
  const { stdout } = await execute(process.execPath, [file, 'thread-pool', 'answers', 'shared']);
  t.match(stdout, /^200 /);
});
