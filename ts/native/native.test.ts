// SPDX-License-Identifier: Apache-2.0
// The addon as it was built: every member is there, arguments are checked, channel and link work.
import { type ChildProcessWithoutNullStreams, execFile, spawn } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { Worker } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { type Channel, type ClassLimits, native, type Ref } from './native.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const source = readFileSync(`${root}/ts/native/native.ts`, 'utf8');

const limits: ClassLimits = {
  flags: native.classFlags.keepConn,
  queueLimit: 10,
  queueTimeoutMs: 0,
  connectTimeoutMs: 30_000,
  idleTimeoutMs: 0,
  requestTimeoutMs: 0,
};

function makeRuntimeDir(t: Test): { runtimeDir: string; livePath: string } {
  const runtimeDir = mkdtempSync(`${tmpdir()}/usher-`); // short: sockets stand in it
  t.teardown(() => rmSync(runtimeDir, { recursive: true }));
  const livePath = `${runtimeDir}/live`;
  mkdirSync(`${runtimeDir}/channel`);
  writeFileSync(livePath, '');
  return { runtimeDir, livePath };
}

function openChannel(t: Test): { channel: Channel; runtimeDir: string; livePath: string } {
  const place = makeRuntimeDir(t);
  const channel = new native.Channel(place.runtimeDir);
  t.teardown(() => channel.close());
  return { channel, ...place };
}

/** A worker of another process (native/test/worker_helper.c). */
class OtherWorker {
  readonly process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(t: Test, runtimeDir: string, livePath: string, server = 'nginx-1') {
    this.process = spawn(`${root}/build/test/worker_helper`, [runtimeDir, server, livePath]);
    this.#lines = createInterface({ input: this.process.stdout })[Symbol.asyncIterator]();
    t.teardown(() => this.process.kill('SIGKILL'));
  }

  async answer(): Promise<string> {
    return (await this.#lines.next()).value;
  }

  tell(line: string): Promise<string> {
    this.process.stdin.write(`${line}\n`);
    return this.answer();
  }

  async kill(): Promise<void> {
    const exited = new Promise((resolve) => this.process.once('exit', resolve));
    this.process.kill('SIGKILL');
    await exited;
  }
}

/** The doorbell does not keep the process alive; a test that waits for it only must. */
async function kept<Result>(promise: Promise<Result>): Promise<Result> {
  const timer = setInterval(() => {}, 1000);
  try {
    return await promise;
  } finally {
    clearInterval(timer);
  }
}

// ---- the boundary ----------------------------------------------------------------------------

function declaredMembers(name: string): string[] {
  const body =
    new RegExp(`(?:class|interface) ${name} \\{\n(.*?)\n\\}`, 's').exec(source)?.[1] ?? '';
  return [...body.matchAll(/^ {2}(\w+)[(:]/gm)].map((match) => match[1] ?? '');
}

t.test('every declared member exists, and no other', (t) => {
  t.same(Object.keys(native).sort(), declaredMembers('Native').sort());
  for (const name of ['Channel', 'LauncherLink'] as const) {
    const members = Object.getOwnPropertyNames(native[name].prototype);
    t.same(members.sort(), declaredMembers(name).sort(), name);
  }
  t.end();
});

t.test('every argument is checked, and the error names it', (t) => {
  const { channel } = openChannel(t);
  const ref: Ref = { index: 1, generation: 1 };
  const inet = { kind: 'inet', host: '127.0.0.1', port: 80 };
  const nothing = (): void => {};
  const number = /expected a whole number from/;
  const text = /expected a string without NUL/;
  const oneOf = /expected one of/;
  const object = /expected an object/;
  const cases: [method: string, good: unknown[], at: number, bad: unknown, name: string, RegExp][] =
    [
      ['setManagerState', ['running', 1], 0, 'well', 'state', /one of absent running stopped/],
      ['setManagerState', ['running', 1], 1, -1, 'pid', number],
      ['listen', [1, nothing], 0, 0.5, 'timeoutMs', number],
      ['listen', [1, nothing], 1, null, 'onRing', /expected a function/],
      ['rest', [1], 0, -1, 'restMs', number],
      ['addClass', ['static', '/a', null, limits], 0, undefined, 'kind', oneOf],
      ['addClass', ['static', '/a', null, limits], 1, 'a\0b', 'key', text],
      ['addClass', ['static', '/a', null, limits], 2, undefined, 'server', text],
      ['addClass', ['static', '/a', null, limits], 3, undefined, 'limits', object],
      [
        'addClass',
        ['static', '/a', null, limits],
        3,
        { ...limits, queueLimit: 2 ** 32 },
        'limits.queueLimit',
        number,
      ],
      ['setLimits', [ref, limits], 0, 7, 'ref', object],
      ['setLimits', [ref, limits], 1, {}, 'limits.flags', number],
      ['setFull', [ref, true], 1, 1, 'isFull', /expected true or false/],
      ['setClass', [ref, 'cold', 0, 0, ''], 0, { index: 1 }, 'ref.generation', number],
      ['setClass', [ref, 'cold', 0, 0, ''], 1, 'hot', 'state', oneOf],
      ['setClass', [ref, 'cold', 0, 0, ''], 2, 600, 'verdictStatus', number],
      ['setClass', [ref, 'cold', 0, 0, ''], 3, Number.NaN, 'retryAfterS', number],
      ['setClass', [ref, 'cold', 0, 0, ''], 4, null, 'reason', text],
      ['removeClass', [ref], 0, null, 'ref', object],
      ['addEndpoint', [ref, inet, 1, 'ready', 0], 0, 1, 'classRef', object],
      ['addEndpoint', [ref, inet, 1, 'ready', 0], 1, {}, 'address.kind', oneOf],
      [
        'addEndpoint',
        [ref, inet, 1, 'ready', 0],
        1,
        { ...inet, host: 'localhost' },
        'address.host',
        /numeric IPv4/,
      ],
      [
        'addEndpoint',
        [ref, inet, 1, 'ready', 0],
        1,
        { ...inet, kind: 'inet6' },
        'address.host',
        /numeric IPv6/,
      ],
      [
        'addEndpoint',
        [ref, inet, 1, 'ready', 0],
        1,
        { ...inet, port: 65_536 },
        'address.port',
        number,
      ],
      [
        'addEndpoint',
        [ref, inet, 1, 'ready', 0],
        1,
        { kind: 'unix', path: '' },
        'address.path',
        /a path of 1 to 107 bytes/,
      ],
      [
        'addEndpoint',
        [ref, inet, 1, 'ready', 0],
        1,
        { kind: 'serverSocket', name: 'x'.repeat(108) },
        'address.name',
        /a path of 1 to 107/,
      ],
      ['addEndpoint', [ref, inet, 1, 'ready', 0], 2, 0, 'concurrency', number],
      ['addEndpoint', [ref, inet, 1, 'ready', 0], 3, 'cold', 'state', oneOf],
      ['addEndpoint', [ref, inet, 1, 'ready', 0], 4, '1', 'pid', number],
      ['setEndpoint', [ref, 'ready', 1], 0, null, 'ref', object],
      ['setEndpoint', [ref, 'ready', 1], 1, '', 'state', oneOf],
      ['setEndpoint', [ref, 'ready', 1], 2, null, 'pid', number],
      ['removeEndpoint', [ref], 0, undefined, 'ref', object],
      ['inFlight', [ref], 0, undefined, 'ref', object],
      ['served', [ref], 0, undefined, 'ref', object],
      ['unreached', [ref], 0, undefined, 'ref', object],
      ['hung', [ref], 0, undefined, 'ref', object],
      ['attachServer', ['a', '/b'], 0, 1, 'server', text],
      ['attachServer', ['a', '/b'], 1, undefined, 'live', /an object/],
      ['detachServer', [0], 0, null, 'handle', number],
      ['settle', [0], 0, null, 'handle', number],
      ['generationLives', [0, 1], 0, null, 'handle', number],
      ['generationLives', [0, 1], 1, null, 'generation', number],
      ['damage', [0], 0, 'all', 'handle', number],
      ['startRequests', [0], 0, null, 'handle', number],
      ['finishStartRequest', [0, 1], 0, null, 'handle', number],
      ['finishStartRequest', [0, 1], 1, 256, 'entry', number],
      ['load', [ref], 0, null, 'classRef', object],
      ['repairHints', [ref], 0, null, 'classRef', object],
    ];
  const call = channel as unknown as Record<string, (...args: unknown[]) => unknown>;
  for (const [method, good, at, bad, name, expected] of cases) {
    const message = new RegExp(`^${name.replace('.', '\\.')}: .*${expected.source}`);
    t.throws(
      () => call[method]?.(...good.with(at, bad)),
      { name: 'TypeError', message },
      `${method} ${name}`,
    );
  }

  const functions: [() => unknown, RegExp][] = [
    [
      () => native.parseOptions('all' as 'static', []),
      /^scope: expected one of static external dynamic$/,
    ],
    [() => native.parseOptions('static', 'x' as unknown as string[]), /^words: expected an array/],
    [
      () => native.parseOptions('static', ['x', 1 as unknown as string]),
      /^words\[1\]: expected a string/,
    ],
    [() => native.parseOptions('static', [], 1 as unknown as string), /^name: expected a string/],
    [() => native.splitCommand(1 as unknown as string), /^command: expected a string/],
    [() => native.checkClassName(null as unknown as string), /^name: expected a string/],
    [() => native.checkLoopback(7 as unknown as string), /^address: expected a string/],
    [() => native.acceptQueue(0), /^inode: expected a whole number/],
    [() => native.connections(1, 2 as unknown as string, 0, false), /^path: expected a string/],
    [() => native.connections(1, '', 65_536, false), /^port: expected a whole number/],
    [() => native.isLocked(undefined as unknown as string), /^path: expected a string/],
    [() => new native.Channel(1 as unknown as string), /^runtimeDir: expected a string/],
    [() => new native.LauncherLink(-1, nothing, nothing), /^fd: expected a whole number/],
    [
      () => new native.LauncherLink(0, 1 as unknown as () => void, nothing),
      /^onMessage: expected a function/,
    ],
    [
      () => new native.LauncherLink(0, nothing, 1 as unknown as () => void),
      /^onClose: expected a function/,
    ],
  ];
  for (const [run, message] of functions) t.throws(run, { name: 'TypeError', message });
  t.end();
});

// ---- channel ---------------------------------------------------------------------------------

t.test('classes', (t) => {
  const { channel } = openChannel(t);
  const one = channel.addClass('static', '/srv/a.fcgi', null, limits);
  const two = channel.addClass('external', 'tomcat', 'nginx-1', { ...limits, flags: 0 });
  channel.setClass(two, 'failed', 503, 5, 'connection refused');
  channel.setLimits(one, { ...limits, idleTimeoutMs: 4_000_000_000 });
  t.match(channel.classes(), [
    {
      ref: one,
      kind: 'static',
      state: 'cold',
      serverId: '0',
      key: '/srv/a.fcgi',
      limits: { ...limits, idleTimeoutMs: 4_000_000_000 },
    },
    {
      ref: two,
      kind: 'external',
      state: 'failed',
      serverId: /^[0-9a-f]{1,16}$/,
      key: 'tomcat',
      limits: { ...limits, flags: 0 },
    },
  ]);
  t.throws(() => channel.addClass('dynamic', '/srv/a.fcgi', null, limits), {
    code: 'ERR_USHER_INVALID',
    message: /^addClass: /,
  });
  channel.removeClass(one);
  t.throws(() => channel.removeClass(one), { code: 'ERR_USHER_STALE' });
  t.equal(channel.classes().length, 1);
  t.end();
});

t.test('endpoints', (t) => {
  const { channel } = openChannel(t);
  const classRef = channel.addClass('static', '/srv/a.fcgi', null, limits);
  const addresses = [
    { kind: 'serverSocket', name: 'a.1' },
    { kind: 'unix', path: '/run/a.sock' },
    { kind: 'inet', host: '127.0.0.1', port: 9000 },
    { kind: 'inet6', host: '::1', port: 65_535 },
  ] as const;
  const refs = addresses.map((address) => channel.addEndpoint(classRef, address, 4, 'starting', 7));
  t.same(
    channel.endpoints(),
    addresses.map((address, i) => ({
      ref: refs[i],
      classRef,
      state: 'starting',
      concurrency: 4,
      pid: 7,
      address,
    })),
  );
  const [first] = refs as [Ref];
  channel.setEndpoint(first, 'draining', 8);
  t.match(channel.endpoints()[0], { state: 'draining', pid: 8 });
  t.equal(channel.inFlight(first), 0);
  t.equal(channel.served(first), 0);
  t.equal(channel.unreached(first), 0);
  t.equal(channel.hung(first), 0);
  t.throws(() => channel.removeClass(classRef), { code: 'ERR_USHER_INVALID' });
  for (const ref of refs) channel.removeEndpoint(ref);
  t.same(channel.endpoints(), []);
  for (const method of ['inFlight', 'served', 'unreached', 'hung', 'removeEndpoint'] as const) {
    t.throws(() => channel[method](first), { code: 'ERR_USHER_STALE' }, method);
  }
  t.end();
});

t.test('a former manager’s table stays', (t) => {
  const { channel, runtimeDir } = openChannel(t);
  channel.addClass('static', '/srv/a.fcgi', null, limits);
  channel.close();
  const next = new native.Channel(runtimeDir);
  t.match(next.classes(), [{ key: '/srv/a.fcgi' }]);
  next.close();
  t.end();
});

t.test('what cannot be opened', (t) => {
  t.throws(() => new native.Channel('/nonexistent'), {
    code: 'ERR_USHER_SYSTEM',
    errno: 2,
    message: /nonexistent/,
  });
  const { channel, runtimeDir } = openChannel(t);
  t.throws(() => channel.attachServer('nginx-1', `${runtimeDir}/live`), {
    code: 'ERR_USHER_NOT_FOUND',
  });
  channel.close();
  channel.close();
  const spoilt = makeRuntimeDir(t).runtimeDir;
  writeFileSync(`${spoilt}/channel/table`, 'something else');
  t.throws(() => new native.Channel(spoilt), { code: /^ERR_USHER_(CORRUPT|VERSION)$/ });
  t.end();
});

t.test('who may not open the files gets descriptors', (t) => {
  const { channel, runtimeDir, livePath } = openChannel(t);
  const worker = new OtherWorker(t, runtimeDir, livePath);
  return worker.answer().then(() => {
    channel.addClass('static', '/srv/a.fcgi', null, limits);
    const [table, places, cells, live] = [
      `${runtimeDir}/channel/table`,
      `${runtimeDir}/channel/places`,
      `${runtimeDir}/channel/nginx-1.cells`,
      livePath,
    ].map((path) => openSync(path, 'r+')) as [number, number, number, number];
    const other = new native.Channel(runtimeDir, { table, places });
    t.match(other.classes(), [{ key: '/srv/a.fcgi' }]);
    const handle = other.attachServer('nginx-1', { cells, live });
    t.equal(other.settle(handle).workers, 1);
    t.throws(() => new native.Channel(runtimeDir, { table: places, places }), {
      code: 'ERR_USHER_CORRUPT',
    });
    other.close();
    channel.close();
    for (const fd of [table, places, cells]) closeSync(fd);
    t.throws(() => closeSync(live), { code: 'EBADF' }, 'the live file was the channel’s');
  });
});

t.test('a closed channel', (t) => {
  const { channel } = openChannel(t);
  channel.close();
  t.throws(() => channel.classes(), { code: 'ERR_USHER_CLOSED', message: 'the channel is closed' });
  t.throws(() => channel.beat(), { code: 'ERR_USHER_CLOSED' });
  t.throws(() => channel.listen(1, () => {}), { code: 'ERR_USHER_CLOSED' });
  t.end();
});

t.test('a worker of another process', async (t) => {
  const { channel, runtimeDir, livePath } = openChannel(t);
  channel.setManagerState('running', process.pid);
  channel.beat();
  let onRing = (_rang: boolean): void => {};
  const nextRing = (): Promise<boolean> =>
    new Promise((resolve) => {
      onRing = (rang) => rang && resolve(rang);
    });
  channel.listen(20, (rang) => onRing(rang));
  t.throws(() => channel.listen(20, () => {}), { code: 'ERR_USHER_INVALID' });

  const worker = new OtherWorker(t, runtimeDir, livePath);
  t.equal(await worker.answer(), 'attached 1');
  const handle = channel.attachServer('nginx-1', livePath);
  t.match(channel.settle(handle), { workers: 1, settled: 0, generation: 1, oldestGeneration: 1 });
  t.equal(channel.generationLives(handle, 1), true);
  t.equal(channel.generationLives(handle, 2), false);

  await t.test('asks for a class', async (t) => {
    const ring = nextRing();
    t.equal(await worker.tell('begin /srv/é.fcgi'), 'begin 0');
    t.equal(await worker.tell('admit'), 'admit again');
    t.equal(await ring, true, 'the doorbell rang');
    const requests = channel.startRequests(handle);
    t.match(requests, [{ key: '/srv/é.fcgi' }]);
    channel.finishStartRequest(handle, requests[0]?.entry ?? -1);
    t.same(channel.startRequests(handle), []);
    channel.rest(60_000);
    const next = new Promise((resolve) => {
      onRing = resolve;
    });
    channel.rest(0);
    t.equal(await next, false, 'and goes on to call without a ring, after a rest');
  });

  await t.test('is served', async (t) => {
    const classRef = channel.addClass('dynamic', '/srv/é.fcgi', null, limits);
    const address = { kind: 'unix', path: '/run/a.sock' } as const;
    const endpoint = channel.addEndpoint(classRef, address, 1, 'ready', 7);
    channel.setClass(classRef, 'ready', 0, 0, '');
    t.equal(await worker.tell('admit'), 'admit ok /run/a.sock');
    t.equal(channel.inFlight(endpoint), 1);
    t.same(channel.changed(), [classRef.index]);
    t.match(channel.load(classRef), { arrivals: 1, admitted: 1, finished: 0, inFlight: 1 });
    t.equal(await worker.tell('end finished'), 'end');
    const load = channel.loadAndTimes(classRef);
    t.match(load, { arrivals: 1, finished: 1, inFlight: 0, waiting: 0 });
    t.equal(load.servingHistogram.length, native.limits.histogramBuckets);
    t.equal(
      load.servingHistogram.reduce((sum, count) => sum + count),
      1,
    );
    t.equal(channel.served(endpoint), 1);
    t.equal(channel.repairHints(classRef), 0);
  });

  await t.test('is refused', async (t) => {
    const classRef = channel.addClass('dynamic', '/srv/b.fcgi', null, limits);
    channel.setClass(classRef, 'refused', 403, 0, 'outside the roots');
    await worker.tell('begin /srv/b.fcgi');
    t.match(await worker.tell('admit'), /^admit refused 403 .*outside the roots/);
  });

  await t.test('dies', async (t) => {
    await worker.kill();
    t.match(channel.settle(handle), { workers: 0, settled: 1, oldestGeneration: 0 });
    t.equal(channel.generationLives(handle, 1), false);
    channel.detachServer(handle);
    t.throws(() => channel.settle(handle), { code: 'ERR_USHER_NOT_FOUND' });
    t.same(channel.startRequests(handle), []);
  });
});

t.test('doorbell', async (t) => {
  await t.test('is heard without a ring as well', async (t) => {
    const { channel } = openChannel(t);
    const rang = await kept(new Promise((resolve) => channel.listen(1, resolve)));
    t.equal(rang, false);
  });

  await t.test('rings while nobody looks are merged', async (t) => {
    const { channel, runtimeDir, livePath } = openChannel(t);
    const worker = new OtherWorker(t, runtimeDir, livePath);
    await worker.answer();
    const rings: boolean[] = [];
    const first = new Promise<void>((resolve) =>
      channel.listen(10_000, (rang) => {
        rings.push(rang);
        resolve();
      }),
    );
    worker.process.stdin.write('ring\n'.repeat(100));
    for (let i = 0; i < 100; i++) await worker.answer();
    await kept(first);
    t.ok(rings.length <= 100 && rings.every(Boolean), `${rings.length} calls`);
  });

  await t.test('may be closed in its own callback', async (t) => {
    const { channel } = openChannel(t);
    let calls = 0;
    const called = new Promise<void>((resolve) =>
      channel.listen(1, () => {
        calls += 1;
        channel.close();
        resolve();
      }),
    );
    await kept(called);
    await new Promise((resolve) => setTimeout(resolve, 20));
    t.equal(calls, 1);
  });

  await t.test('does not delay close()', (t) => {
    const { channel } = openChannel(t);
    channel.listen(100_000, () => {});
    const before = native.nowMs();
    channel.close();
    t.ok(native.nowMs() - before < 5000);
    t.end();
  });

  await t.test('ends with its thread of JavaScript, and keeps no process alive', async (t) => {
    const { runtimeDir } = makeRuntimeDir(t);
    const script = `const { Channel } = require(${JSON.stringify(`${root}/build/addon.node`)});
      new Channel(${JSON.stringify(runtimeDir)}).listen(1, () => {});`;
    for (const end of ['', 'process.exit(0)', 'setTimeout(() => {}, 20)']) {
      const worker = new Worker(`${script}\n${end}`, { eval: true });
      const code = await new Promise((resolve, reject) => {
        worker.once('exit', resolve).once('error', reject);
      });
      t.equal(code, 0, end);
    }
    const busy = script.replace('{}', '{ for (const end = Date.now() + 3; Date.now() < end; ); }');
    for (let i = 0; i < 10; i++) {
      const worker = new Worker(`${busy}\nsetInterval(() => {}, 1000)`, { eval: true });
      await new Promise((resolve) => worker.once('online', resolve));
      await new Promise((resolve) => setTimeout(resolve, 5 * i));
      await worker.terminate(); // in the midst of a call, most times
    }
    const { stderr } = await promisify(execFile)(process.execPath, ['-e', script]);
    t.equal(stderr, '');
  });
});

// ---- link ------------------------------------------------------------------------------------

async function runLink(scenario: string): Promise<unknown> {
  const helper = `${root}/build/test/link_helper`;
  const child = [process.execPath, '--import=tsx', `${root}/ts/native/testing/link-child.ts`];
  const { NODE_OPTIONS: _, ...env } = process.env;
  const { stdout } = await promisify(execFile)(helper, [...child, scenario], {
    cwd: root,
    env,
    timeout: 30_000,
  });
  return JSON.parse(stdout);
}

t.test('link', { jobs: 4 }, async (t) => {
  const expected: Record<string, unknown> = {
    echo: {
      texts: Array.from({ length: 100 }, (_, i) => `echo ${i}`),
      afterClose: 'ERR_USHER_CLOSED',
    },
    large: { isSame: true },
    descriptor: { text: 'descriptor', more: [], isCloseOnExec: true, read: 'through the pipe' },
    burst: { count: 100, last: 'burst 99', closes: 1, sent: 'ERR_USHER_CLOSED' },
    deaf: { isLimited: true },
    throwing: { texts: ['echo 1', 'echo 2', 'echo 3'], caught: ['echo 1', 'echo 2', 'echo 3'] },
    exiting: { isExiting: true },
  };
  for (const [scenario, result] of Object.entries(expected)) {
    void t.test(scenario, async (t) => t.same(await runLink(scenario), result));
  }
});

t.test('a link needs its kind of socket', (t) => {
  const nothing = (): void => {};
  const file = openSync('/dev/null', 'r');
  t.throws(() => new native.LauncherLink(file, nothing, nothing), {
    code: 'ERR_USHER_SYSTEM',
    message: /not|Socket/,
  });
  closeSync(file);
  t.throws(() => new native.LauncherLink(1_000_000, nothing, nothing), {
    code: 'ERR_USHER_SYSTEM',
    errno: 9,
  });
  t.end();
});

// ---- functions -------------------------------------------------------------------------------

t.test('options', (t) => {
  const rows = native.options();
  const processes = rows.find(({ id }) => id === 'processes');
  t.match(processes, { name: 'processes', type: 'count', defaultText: '1', scopes: ['static'] });
  t.same(new Set(rows.map(({ id }) => id)).size, rows.length, 'ids are different');
  for (const row of rows) {
    t.ok(row.scopes.length > 0 && row.hosts.includes('usher') && row.doc !== '', row.id);
  }
  const words = ['-PROCESSES', '2', '-idle-stop', '2m', '-flush', '-stop-signal', 'INT'];
  t.strictSame(
    native.parseOptions('static', [...words, '-initial-env', 'A=b', '-initial-env', 'C']),
    { processes: 2, idleStop: 120_000, flush: true, stopSignal: 2, initialEnv: ['A=b', 'C'] },
  );
  const invalid = { code: 'ERR_USHER_INVALID' };
  t.throws(() => native.parseOptions('static', ['-processes', 'x']), {
    ...invalid,
    message: /-processes x/,
  });
  t.throws(() => native.parseOptions('static', [], 'php'), { ...invalid, message: /-command/ });
  t.throws(() => native.parseOptions('static', [], 'p p'), invalid);
  t.strictSame(native.parseOptions('static', ['-command', 'x'], 'php'), { command: 'x' });
  t.end();
});

t.test('commands and names', (t) => {
  t.same(native.splitCommand(String.raw`php-cgi  -c "/etc/a b" 'c"d' e\ f`), [
    'php-cgi',
    '-c',
    '/etc/a b',
    'c"d',
    'e f',
  ]);
  t.same(native.splitCommand('a b c d'), ['a', 'b', 'c', 'd']);
  t.throws(() => native.splitCommand('a "b'), { code: 'ERR_USHER_INVALID' });
  t.doesNotThrow(() => native.checkClassName('/srv/a.fcgi'));
  for (const address of ['127.0.0.1:9180', '[::1]:1']) {
    t.doesNotThrow(() => native.checkLoopback(address), address);
  }
  for (const address of [
    '',
    '9180',
    '127.0.0.1',
    '0.0.0.0:80',
    '[::]:80',
    'localhost:80',
    '127.1:0',
  ]) {
    t.throws(() => native.checkLoopback(address), { code: 'ERR_USHER_INVALID' }, address);
  }
  t.throws(() => native.checkClassName('a b'), { code: 'ERR_USHER_INVALID', message: /"a b"/ });
  t.end();
});

t.test('what the system knows', async (t) => {
  const before = native.nowMs();
  t.ok(native.nowMs() >= before);
  t.ok(Math.abs(before - Number(process.hrtime.bigint()) / 1e6) < 5000, 'CLOCK_MONOTONIC');
  t.equal(native.acceptQueue(4_294_967_295), -1);
  t.equal(native.connections(4_294_967_295, '/no/such/socket', 0, false), null);
  t.equal(native.connections(4_294_967_295, '', 1, true), null);

  const file = `${t.testdir({ lock: '' })}/lock`;
  t.equal(native.isLocked(file), false);
  t.equal(native.isLocked(`${file}.missing`), false);
  const holder = spawn('flock', ['--no-fork', file, 'sh', '-c', 'echo held; exec sleep 60']);
  t.teardown(() => holder.kill());
  await new Promise((resolve) => holder.stdout.once('data', resolve));
  t.equal(native.isLocked(file), true);
  t.throws(() => native.isLocked(`${file}/x`), { code: 'ERR_USHER_SYSTEM', errno: 20 });
});

t.test('what waits in a socket', async (t) => {
  const path = `${t.testdir({})}/s`;
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  const far = connect(path);
  const near = await new Promise<Socket>((resolve) => server.once('connection', resolve));
  server.close();
  t.teardown(() => {
    far.destroy();
    near.destroy();
  });
  const fd = (near as unknown as { _handle: { fd: number } })._handle.fd;
  const becomesLoud = async (): Promise<boolean> => {
    for (let i = 0; i < 10_000 && native.isQuiet(fd); i++) await new Promise(setImmediate);
    return !native.isQuiet(fd);
  };
  t.equal(native.isQuiet(fd), true);
  far.write('x');
  t.equal(await becomesLoud(), true, 'a byte');
  const read = new Promise((resolve) => near.once('data', resolve));
  await read;
  t.equal(native.isQuiet(fd), true, 'it was read');
  near.pause();
  far.end();
  t.equal(await becomesLoud(), true, 'the end');
  t.equal(native.isQuiet(4_000_000), false, 'no descriptor');
  t.throws(() => native.isQuiet(-1), { message: /^fd: expected/ });
  t.same(native.peer(fd), { pid: process.pid, uid: process.geteuid?.() });
  native.duplicateTo(fd, fd);
  t.throws(() => native.duplicateTo(4_000_000, fd), { code: 'ERR_USHER_SYSTEM', errno: 9 });
  t.throws(() => native.peer(4_000_000), { code: 'ERR_USHER_SYSTEM', errno: 9 });
});
