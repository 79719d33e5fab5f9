// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
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
  await world.ready();

  const first = world.started[0]?.id ?? 0;
  await world.exit(first, { exitSignal: 9, livedMs: 31_000 });
  t.equal(world.started.length, 3, 'one that dies after a long life is replaced at once');
  t.equal(world.started[2]?.spec.endpointId, world.started[0]?.spec.endpointId, 'on its endpoint');
  await world.ready();
  await world.exit(world.started[2]?.id ?? 0, { exitCode: 1, livedMs: 100 });
  t.equal(world.started.length, 3, 'one that dies young is not');
  await world.pass(4_999);
  t.equal(world.started.length, 3);
  await world.pass(1);
  t.equal(world.started.length, 4, 'but after -restart-delay');
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
  const other = FakeWorld.static({ processes: 1, command: '/bin/other' }).managed.config;
  world.managed.reconfigure(other);
  await world.pass();
  t.equal(world.started[1]?.spec.args[0], '/bin/other', 'start a new instance');
  t.same([...world.endpoints.values()], ['ready', 'starting'], 'while the old one serves');
  await world.ready();
  t.same(
    [...world.endpoints.values()],
    ['draining', 'ready'],
    'which drains once the new is ready',
  );
});
