// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import type { ClassConfig } from './class-config.ts';
import { parseMemory } from './class-memory.ts';
import { FakeWorld } from './testing/fake-world.ts';

t.test('a static class', async (t) => {
  const world = FakeWorld.static({ processes: 2 });
  t.equal(world.published.state, 'cold');
  await world.pass();
  t.equal(world.started.length, 2, 'its instances start without a request');
  t.match(world.started[0]?.spec, { args: ['/bin/app'], user: 'www-data', cwd: '/' });
  t.equal(world.published.state, 'starting');
  world.managed.onReady(world.started[0]?.id ?? 0);
  t.equal(world.published.state, 'ready');
  t.same([...world.endpoints.values()], ['ready', 'starting']);
  t.equal(world.isFull, false, 'who waits is news while one more is to come');
  await world.ready();
  t.equal(world.isFull, true, 'and not when all are there');

  const first = world.started[0]?.id ?? 0;
  await world.exit(first, { exitSignal: 9, livedMs: 31_000 });
  t.equal(world.started.length, 3, 'one that dies after a long life is replaced at once');
  t.equal(world.started[2]?.spec.endpointId, world.started[0]?.spec.endpointId, 'on its endpoint');
  t.equal(world.isFull, false, 'one is missing again');
  await world.ready();
  await world.exit(world.started[2]?.id ?? 0, { exitCode: 1, livedMs: 100 });
  t.equal(world.started.length, 3, 'one that dies young is not');
  await world.pass(4_999);
  t.equal(world.started.length, 3);
  await world.pass(1);
  t.equal(world.started.length, 4, 'but after -restart-delay');
});

t.test('the manager may rest while nothing happens', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  await world.pass();
  t.equal(world.managed.dueMs, 0, 'an instance is starting');
  await world.ready();
  await world.pass();
  const due = world.managed.dueMs;
  t.ok(due > world.nowMs && due <= world.nowMs + 500, 'it is ready');
  const other = FakeWorld.static({ processes: 1 });
  await other.pass(130);
  await other.ready();
  await other.pass(110);
  t.equal(other.managed.dueMs % 500, due % 500, 'all classes are looked at together');
  const before = world.roused;
  await world.exit(world.started[0]?.id ?? 0, { exitSignal: 9, livedMs: 31_000 });
  t.ok(world.roused > before, 'it has died: that cannot wait');
  t.equal(world.managed.dueMs, 0);

  const cold = FakeWorld.dynamic();
  await cold.pass();
  t.ok(cold.managed.dueMs > cold.nowMs + 1_000, 'one without instances waits for requests');
  cold.managed.retire(0);
  t.equal(cold.managed.dueMs, 0, 'one that ends is gone soon');
});

t.test('a class whose instances die again and again', async (t) => {
  const died = { exitSignal: 11, livedMs: 500 };
  /** Let time pass until another instance is started. */
  const next = async (world: FakeWorld, count: number): Promise<number> => {
    for (let i = 0; i < 100 && world.started.length < count; i += 1) await world.pass(1_000);
    return world.started.at(-1)?.id ?? 0;
  };
  const world = FakeWorld.static({ processes: 1, restartDelay: 0 });
  for (let count = 1; count <= 10 && world.published.state !== 'failed'; count += 1) {
    world.managed.onReady(await next(world, count));
    await world.exit(world.started.at(-1)?.id ?? 0, died);
  }
  t.equal(world.published.state, 'failed');
  t.match(
    world.published.reason,
    /was killed by SIGSEGV 0\.5 s after its start; it printed nothing/,
  );
  t.match(world.managed.status().lastFailure, { outcome: 'exited', exitSignal: 'SIGSEGV' });

  const two = FakeWorld.static({ processes: 2, restartDelay: 0 });
  await next(two, 2);
  for (let count = 3; count <= 10; count += 1) {
    const [older, newer] = two.started.slice(-2);
    two.managed.onReady(older?.id ?? 0);
    await two.exit(older?.id ?? 0, died);
    t.not(two.published.state, 'failed', `death ${count - 2}: another one is just starting`);
    await next(two, count);
    t.ok(newer && two.managed.instances.some(({ id }) => id === newer.id));
  }
});

t.test('an instance that dies young with requests in its socket', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  await world.pass();
  await world.ready();
  world.acceptQueue = 1;
  await world.exit(world.started[0]?.id ?? 0, { exitCode: 1, livedMs: 100 });
  t.equal(world.started.length, 1, 'is replaced after -restart-delay');
  t.same(world.closed, [], 'and its socket is kept until then');
  await world.pass(5_000);
  t.equal(world.started[1]?.spec.endpointId, world.started[0]?.spec.endpointId);

  await world.ready();
  await world.exit(world.started[1]?.id ?? 0, { exitCode: 1, livedMs: 100 });
  t.same([...world.endpoints.values()], ['draining'], 'nobody new comes meanwhile');
  world.acceptQueue = 0;
  world.busy.set(1, 1);
  await world.pass(1);
  t.same(world.closed, [], 'a request that has its place may still connect');
  world.busy.clear();
  await world.pass(1);
  t.equal(world.closed.length, 1, 'a socket that nobody waits in any more is not kept');
});

t.test('an instance that ends unwanted while a request is on its way to it', async (t) => {
  const world = FakeWorld.dynamic();
  world.demand(1);
  await world.pass();
  await world.ready();
  world.demand(0);
  world.busy.set(1, 1);
  await world.exit(world.started[0]?.id ?? 0, { exitCode: 0, livedMs: 60_000 });
  t.equal(world.started.length, 1, 'is not replaced');
  t.same([...world.endpoints.values()], ['draining'], 'but its socket stays');
  world.acceptQueue = 1;
  await world.pass(10);
  t.equal(world.started.length, 2, 'until the request is there, and needs it');
  t.equal(world.started[1]?.spec.endpointId, world.started[0]?.spec.endpointId);
  t.same([...world.endpoints.values()], ['starting']);
});

t.test('a dynamic class', async (t) => {
  const world = FakeWorld.dynamic();
  await world.pass();
  t.equal(world.started.length, 0, 'nothing starts before somebody asks');
  world.demand(200);
  await world.pass();
  await world.pass(1_000);
  t.equal(world.started.length, 1, 'two hundred requests make one start');
  t.match(world.started[0]?.spec, { args: ['/srv/app.fcgi'], cwd: '/srv' });
  await world.ready();
  t.equal(
    world.started.length,
    10,
    'once it is ready, as many as requests need and the limit allows',
  );

  world.demand(0);
  for (const { id } of world.started.slice(1)) world.managed.onReady(id);
  await world.exit(world.started[3]?.id ?? 0, { exitSignal: 11, livedMs: 500 });
  t.equal(world.started.length, 10, 'one that died on its own is not restarted');
  t.equal(world.closed.length, 1, 'and its socket is gone');
});

t.test('a program that cannot be executed', async (t) => {
  const world = FakeWorld.dynamic();
  world.failStep = { step: 'exec', errno: 13, text: 'exec /srv/app.fcgi: Permission denied' };
  world.demand(3);
  await world.pass();
  t.match(world.published, {
    state: 'failed',
    verdict: 503,
    retryAfterS: 1,
    reason: 'cannot start: exec /srv/app.fcgi: Permission denied',
  });
  t.equal(world.endpoints.size, 0);
  t.match(world.managed.status().lastFailure, {
    outcome: 'not-started',
    steps: [{ name: 'endpoint' }, { name: 'exec', error: /Permission denied/ }],
  });
  await world.pass(999);
  t.equal(world.started.length, 1, 'not tried again before the back-off ends');
  await world.pass(1);
  t.equal(world.started.length, 2, 'then it is, while somebody waits');
  t.equal(world.published.retryAfterS, 2, 'and the next back-off is longer');
});

t.test('a program that exits before it accepts', async (t) => {
  const world = FakeWorld.dynamic();
  world.demand(1);
  await world.pass();
  const exit = { exitCode: 1, livedMs: 12, output: 'Loading…\ncannot open config\n' };
  await world.exit(world.started[0]?.id ?? 0, exit);
  t.equal(world.started.length, 2, 'is tried once more');
  t.equal(world.published.state, 'starting');
  await world.exit(world.started[1]?.id ?? 0, exit);
  t.equal(world.started.length, 2);
  t.match(world.published, {
    state: 'failed',
    reason:
      'exited with status 1 12 ms after its start, before it accepted a connection; its last line of output: cannot open config',
  });
  t.match(world.managed.status().lastFailure, { output: exit.output, exitCode: 1 });
});

t.test('a program that never accepts', async (t) => {
  const world = FakeWorld.dynamic({ startTimeout: 2_000 });
  world.demand(1);
  await world.pass();
  await world.pass(2_000);
  t.same(world.signals, [[world.started[0]?.id, 9]], 'is killed after -start-timeout');
  await world.exit(world.started[0]?.id ?? 0, { exitSignal: 9, livedMs: 2_000 });
  t.match(world.published, { state: 'failed', reason: /did not accept .* within 2 s/ });
});

t.test('retiring', async (t) => {
  const world = FakeWorld.static({
    processes: 0,
    maxClassProcesses: 4,
    idleStop: 60_000,
    stopSignal: 10,
  });
  world.demand(1);
  await world.pass();
  await world.ready();
  world.demand(0, 1);
  await world.pass();
  world.demand(0);
  await world.pass();
  world.busy.set(1, 1);
  await world.pass(60_000);
  t.same([...world.endpoints.values()], ['ready'], 'a busy instance is not given up');
  world.busy.clear();
  await world.pass();
  t.same([...world.endpoints.values()], ['draining'], '-idle-stop retires the last instance');
  t.same(world.signals, [[world.started[0]?.id, 10]], 'with its stop signal');
  await world.pass(10_000);
  t.same(world.signals.at(-1), [world.started[0]?.id, 15], 'then TERM after -stop-timeout');
  await world.pass(2_000);
  t.same(world.signals.at(-1), [world.started[0]?.id, 9], 'then KILL');
  await world.exit(world.started[0]?.id ?? 0, { exitSignal: 9 });
  t.equal(world.published.state, 'cold');
  t.equal(world.started.length, 1, 'and is not replaced');

  world.demand(1);
  await world.pass();
  world.managed.retire(0);
  t.notOk(world.managed.isGone);
  await world.exit(world.started[1]?.id ?? 0, { exitSignal: 15 });
  t.ok(world.managed.isGone, 'a retired class is gone when its last instance is');
});

t.test('changed options', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  await world.pass();
  await world.ready();
  world.managed.reconfigure(configOf({ processes: 1, command: '/bin/other' }));
  await world.pass();
  t.equal(world.started[1]?.spec.args[0], '/bin/other', 'start a new instance');
  t.same([...world.endpoints.values()], ['ready', 'starting'], 'while the old one serves');
  await world.ready();
  t.same(
    [...world.endpoints.values()],
    ['draining', 'ready'],
    'which drains once the new is ready',
  );
  world.managed.reconfigure(configOf({ processes: 1, command: '/bin/other', queueLimit: 3 }));
  await world.pass();
  t.equal(world.started.length, 2, 'what a running instance need not know starts nothing');
});

t.test('a restart of a class at its limit', async (t) => {
  const world = FakeWorld.static({ processes: 8 });
  await world.pass();
  for (const { id } of world.started) world.managed.onReady(id);
  for (let index = 1; index <= 8; index += 1) world.busy.set(index, 1);
  const restarted = world.managed.restart();
  await world.pass();
  t.equal(world.started.length, 10, 'starts a quarter of the instances beside the old ones');
  t.same(count(world, 'draining'), 0, 'and drains none before they are ready');
  for (let round = 0; round < 20; round += 1) {
    for (const { id } of world.started.slice(8)) world.managed.onReady(id);
    await world.pass();
    t.ok(count(world, 'ready') >= 8, 'there are always as many ready ones as wanted');
    world.busy.clear();
    await world.pass();
    for (const [id] of world.signals.splice(0)) await world.exit(id, { exitSignal: 15 });
  }
  t.same(
    world.managed.instances.map(({ id }) => id),
    world.started.slice(8).map(({ id }) => id),
    'in the end all are new',
  );
  t.equal(world.started.length, 16, 'one new one for each');
  await restarted;
  t.equal(world.events.at(-1), 'class.updated', 'and it is said');
});

t.test('a new program that cannot start', async (t) => {
  const world = FakeWorld.static({ processes: 2 });
  await world.pass();
  for (const { id } of world.started) world.managed.onReady(id);
  const restarted = t.rejects(world.managed.restart(), {
    message: /exited with status 1 .*the old instances go on serving/,
  });
  await world.pass();
  t.equal(world.started.length, 3);
  await world.exit(world.started[2]?.id ?? 0, { exitCode: 1, livedMs: 3_000 });
  await restarted;
  t.equal(world.published.state, 'ready', 'leaves the class ready');
  t.equal(count(world, 'ready'), 2, 'with its old instances');
  t.ok(world.events.includes('class.update-failed'), 'and says so');
  await world.pass(999);
  t.equal(world.started.length, 3);
  await world.pass(1);
  t.equal(world.started.length, 4, 'it is tried again after its back-off');
  await world.exit(world.started[3]?.id ?? 0, { exitCode: 1, livedMs: 3_000 });
  await world.pass(1_999);
  t.equal(world.started.length, 4, 'which grows');
  const retried = world.managed.retry();
  await world.pass();
  t.equal(world.started.length, 5, 'a retry does not wait for it');
  await world.ready();
  await world.pass();
  t.equal(count(world, 'draining'), 1, 'and one that works replaces the old ones');
  for (let round = 0; round < 5; round += 1) {
    await world.pass();
    for (const [id] of world.signals.splice(0)) await world.exit(id, { exitSignal: 15 });
    await world.ready();
  }
  await retried;
  t.same(world.managed.instances.map(({ id }) => id).length, 2);
});

t.test('an old instance that only starts', async (t) => {
  const world = FakeWorld.dynamic();
  world.demand(1);
  await world.pass();
  world.busy.set(1, 1); // a request waits in its socket
  const restarted = world.managed.restart();
  await world.pass();
  t.equal(world.started.length, 2, 'is not waited for');
  await world.ready();
  t.same([...world.endpoints.values()], ['draining', 'ready']);
  t.same(world.signals, [], 'it goes on starting for the request that waits for it');
  world.busy.clear();
  await world.pass();
  t.same(world.signals, [[world.started[0]?.id, 15]], 'and ends after that');
  await world.exit(world.started[0]?.id ?? 0, { exitSignal: 15 });
  await restarted;
});

t.test('instances that have served their time', async (t) => {
  const world = FakeWorld.static({ processes: 1, maxRequests: 50, maxLifetime: 60_000 });
  await world.pass();
  await world.ready();
  world.served.set(1, 49);
  await world.pass();
  t.equal(world.started.length, 1);
  world.served.set(1, 50);
  await world.pass();
  t.equal(world.started.length, 2, 'after -max-requests a new one starts');
  t.equal(count(world, 'ready'), 1, 'and the worn one serves until it is ready');
  await world.ready();
  t.same([...world.endpoints.values()], ['draining', 'ready']);
  await world.exit(world.started[0]?.id ?? 0, { exitSignal: 15 });
  await world.pass(60_000);
  t.equal(world.started.length, 3, '-max-lifetime likewise');
});

t.test('who takes the place of an instance that died has served nothing yet', async (t) => {
  const world = FakeWorld.static({ processes: 1, maxRequests: 50 });
  await world.pass();
  await world.ready();
  world.served.set(1, 49);
  await world.exit(world.started[0]?.id ?? 0, { exitSignal: 11, livedMs: 60_000 });
  await world.pass(60_000);
  await world.ready();
  t.equal(world.started.length, 2);
  t.same([...world.endpoints.values()], ['ready'], 'at the same endpoint');
  world.served.set(1, 49 + 49);
  await world.pass();
  t.equal(world.started.length, 2, 'the 49 of the one before are not its own');
  t.match(world.managed.status().instances, [{ requests: 49 }]);
  world.served.set(1, 49 + 50);
  await world.pass();
  t.equal(world.started.length, 3, 'after 50 of its own it is replaced');
});

t.test('an instance that hangs', async (t) => {
  const world = FakeWorld.static({ processes: 1, concurrency: 2, requestTimeout: 5_000 });
  await world.pass();
  await world.ready();
  world.busy.set(1, 1);
  world.hung.set(1, 1);
  await world.pass();
  const id = world.started[0]?.id;
  t.same(world.snapshots, [id], 'is recorded');
  t.equal(world.started.length, 2, 'and replaced at once');
  t.same(world.signals, [], 'another request it has gets its time');
  world.managed.onSnapshot(id ?? 0, 'wchan: pipe_read');
  t.match(world.managed.status().lastFailure, {
    outcome: 'hung',
    snapshot: 'wchan: pipe_read',
    explanation: /within 5 s \(-request-timeout\)/,
  });
  await world.pass(5_000);
  t.same(world.signals, [[id, 15]], 'but no more than that');
  await world.pass(2_000);
  t.same(world.signals.at(-1), [id, 9]);
});

t.test('a class that failed', async (t) => {
  const world = FakeWorld.dynamic();
  world.failStep = { step: 'exec', errno: 2, text: 'exec: No such file or directory' };
  world.demand(1);
  await world.pass();
  t.equal(world.published.state, 'failed');
  await t.rejects(world.managed.retry(), /No such file/, 'a retry tells why it failed again');
  t.equal(world.started.length, 2);
  world.failStep = null;
  const retried = world.managed.retry();
  await new Promise(setImmediate);
  await world.ready();
  await retried;
  t.equal(world.published.state, 'ready');
});

t.test('a class that stops with requests', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  await world.pass();
  world.busy.set(1, 1);
  world.managed.retire(5_000);
  await world.pass();
  t.same(world.signals, [], 'lets them end, even while it only starts');
  await world.pass(5_000);
  t.equal(world.signals.length, 1, 'until the deadline');
  t.ok(world.events.includes('instance.cut-off'), 'and says that it cut them off');
});

t.test('a class that ends with requests in the socket of an instance that died', async (t) => {
  /** One request waits there, and the class is removed. */
  const begin = async (drainMs: number): Promise<FakeWorld> => {
    const world = FakeWorld.static({ processes: 1 });
    await world.pass();
    await world.ready();
    world.acceptQueue = 1;
    await world.exit(world.started[0]?.id ?? 0, { exitCode: 1, livedMs: 100 });
    world.managed.retire(drainMs);
    return world;
  };
  const world = await begin(Number.POSITIVE_INFINITY);
  t.same(world.closed, [], 'keeps it');
  t.notOk(world.managed.isGone);
  await world.pass(5_000);
  t.equal(world.started[1]?.spec.endpointId, world.started[0]?.spec.endpointId, 'starts another');
  t.same([...world.endpoints.values()], ['draining'], 'for those who are there');
  await world.ready();
  t.same(world.signals, [], 'which it serves');
  world.acceptQueue = 0;
  await world.pass(1);
  t.same(world.signals, [[world.started[1]?.id, 15]], 'and no longer');
  await world.exit(world.started[1]?.id ?? 0, { exitSignal: 15 });
  t.ok(world.managed.isGone);

  const failing = await begin(Number.POSITIVE_INFINITY);
  for (let i = 0; i < 100 && !failing.managed.isGone; i += 1) {
    await failing.pass(1_000);
    const { id } = failing.started.at(-1) ?? { id: 0 };
    await failing.exit(id, { exitCode: 1, livedMs: 10 });
  }
  t.ok(failing.managed.isGone, 'a program that cannot start does not keep it for ever');
  t.match(failing.refused.at(-1), /exited with status 1/, 'and its requests are told why');

  const hurried = await begin(5_000);
  await hurried.pass(4_000);
  t.same(hurried.closed, []);
  await hurried.pass(6_000);
  t.match(hurried.refused.at(-1), 'the class ends', 'when its time is over it says so');
  t.equal(hurried.closed.length, 1);
  t.ok((await begin(0)).managed.isGone, 'which may be at once');
});

function configOf(options: Record<string, string | number | boolean>): ClassConfig {
  return FakeWorld.static(options).managed.config;
}

function count(world: FakeWorld, state: string): number {
  return [...world.endpoints.values()].filter((one) => one === state).length;
}

t.test('a drain does not wait for a request that is only counted', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  await world.pass();
  await world.ready();
  const id = world.started[0]?.id ?? 0;
  world.busy.set(1, 1);
  world.managed.retire(Number.POSITIVE_INFINITY);
  await world.pass(60_000);
  t.same(world.signals, [], 'one that has a connection is not hurried');
  world.idle.add(id);
  await world.pass(29_000);
  t.same(world.signals, [], 'it is looked at now and then');
  await world.pass(1_000);
  t.same(world.signals, [[id, 15]], 'one without a connection is stopped, whatever is counted');
});

t.test('usher scale', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  await world.pass();
  await world.ready();
  t.equal(world.managed.status().wanted, 1);
  const scaled = world.managed.scale(3);
  for (let i = 0; i < 4; i++) {
    await world.pass();
    for (const { id } of world.started) world.managed.onReady(id);
  }
  await world.pass();
  await scaled;
  t.match(world.managed.status(), { wanted: 3, scaledTo: 3 });
  t.equal(world.managed.processes.length, 3);

  const memory = parseMemory(world.memories.get('app') ?? '');
  t.equal(memory?.scaledTo, 3, 'the next manager is told');
  const next = FakeWorld.static({ processes: 1 });
  if (memory) next.managed.recall(memory);
  await next.pass();
  t.equal(next.started.length, 3, 'and starts so many');

  await world.managed.scale(null);
  await world.pass();
  t.match(world.managed.status(), { wanted: 1, scaledTo: null });
  t.equal(world.memories.get('app'), '', 'nothing is remembered any more');
});

t.test('usher scale of a program that cannot start', async (t) => {
  const world = FakeWorld.static({ processes: 0, maxClassProcesses: 4 });
  await world.pass();
  world.failStep = { step: 'exec', errno: 2, text: 'no such file' };
  const failed = t.rejects(world.managed.scale(2), { message: /no such file/ });
  for (let i = 0; i < 10; i++) await world.pass(1_000);
  await failed;
});

t.test('the page of a class with -show-errors', async (t) => {
  const world = FakeWorld.static({ showErrors: true, initialEnv: 'TOKEN=tulip-red' });
  const exit = { exitCode: 1, livedMs: 5, output: 'bad token tulip-red\n' };
  await world.pass();
  t.same(world.pages, [], 'none before it has failed');
  for (const { id } of [...world.started]) await world.exit(id, exit);
  for (const { id } of world.started.slice(1)) await world.exit(id, exit);
  t.equal(world.published.state, 'failed');
  const { lastFailure } = world.managed;
  t.match(world.published.reason, `[${lastFailure?.id}] exited with status 1`);
  t.equal(world.pages.length, 1);
  t.same(world.pages[0]?.servers, ['web']);
  t.match(world.pages[0]?.html, 'bad token ***');
  t.notMatch(JSON.stringify([world.pages, world.published, lastFailure]), 'tulip-red');
  t.match(world.managed.refusal, { retryAfterS: 1, page: /<html/ });

  await world.pass(5_000);
  t.equal(world.published.state, 'starting', 'it is tried again');
  t.equal(world.pages.at(-1)?.html, null, 'and its page goes');
  await world.ready();
  t.same(world.managed.journeys.map(({ outcome, cause }) => [outcome, cause]).slice(0, 2), [
    ['ready', null],
    ['exited', 'exited-with-error'],
  ]);
});

t.test('the kernel killed it for want of memory', async (t) => {
  const world = FakeWorld.static({});
  await world.pass();
  world.oomKills = { machine: 1, group: 1 };
  await world.exit(world.started.at(-1)?.id ?? 0, { exitSignal: 9, livedMs: 5, rssBytes: 4096 });
  t.match(world.managed.lastFailure, { cause: 'out-of-memory', rssBytes: 4096 });
  t.match(world.managed.lastFailure?.explanation, /the kernel killed it for want of memory/);
});
