// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { FakeWorld } from './testing/fake-world.ts';

const address = { socket: '/run/app.sock' };

function idsOf(world: FakeWorld): number[] {
  return world.started.map(({ id }) => id);
}

t.test('a class at a public address', async (t) => {
  const world = FakeWorld.static({ ...address, processes: 1, maxClassProcesses: 3 });
  await world.pass();
  t.same(world.bound, ['unix:/run/app.sock']);
  t.same([...world.endpoints.values()], ['starting'], 'our own servers get its share of places');
  await world.ready();

  world.connections = { waiting: 3, accepted: 1 };
  await world.pass(200);
  t.equal(world.started.length, 3, 'connections that wait start instances');
  t.equal(new Set(world.started.map(({ spec }) => spec.endpointId)).size, 1, 'at the same socket');
  t.equal(world.bound.length, 1, 'which is bound once');
  for (const id of idsOf(world)) world.managed.onReady(id);
  t.same([...world.endpoints.values()], ['ready', 'ready', 'ready'], 'each with its places');
  const { inFlight, waiting } = world.managed.status();
  t.same({ inFlight, waiting }, { inFlight: 1, waiting: 3 }, 'the status counts connections');

  const [first = 0, , third = 0] = idsOf(world);
  await world.exit(first, { exitSignal: 9, livedMs: 60_000 });
  t.equal(world.started.length, 4, 'one that dies is replaced');
  t.same(world.closed, [], 'the socket stays');
  await world.ready();

  world.connections = { waiting: 0, accepted: 0 };
  await world.pass(400_000);
  t.same(world.signals, [], 'an instance that a look finds busy is spared');
  world.idle.add(third);
  await world.pass(1_000);
  t.same(world.signals, [[third, 15]], 'an idle one has got its signal');
  await world.exit(third, { exitSignal: 15 });
  t.equal(world.started.length, 4, 'and needs no successor');
  t.same(world.closed, []);
});

t.test('replacing instances at a public address', async (t) => {
  const world = FakeWorld.static({ ...address, processes: 1 });
  await world.pass();
  await world.ready();
  const [old = 0] = idsOf(world);
  const done = world.managed.restart();
  await world.pass();
  t.equal(world.started.length, 2, 'the new one first');
  await world.ready();
  await world.pass();
  t.same(world.signals, [], 'the old one stays while it has requests');
  world.idle.add(old);
  await world.pass(100);
  t.same(world.signals, [[old, 15]]);
  world.idle.delete(old);
  await world.pass(10_000);
  t.same(world.signals, [[old, 15]], 'one that does not heed it is spared while it serves');
  await world.pass(20_000);
  t.same(world.signals.at(-1), [old, 9], 'but not for ever');
  await world.exit(old, { exitSignal: 9 });
  await done;
  t.equal(world.bound.length, 1);
});

t.test('a class on demand', async (t) => {
  const world = FakeWorld.static({ port: '[::1]:9000', processes: 0, maxClassProcesses: 2 });
  world.failBind = { step: 'bind', errno: 98, text: 'another program listens there' };
  await world.pass();
  t.same(world.events, ['address.failed'], 'an address that is taken is said');
  await world.pass(2_000);
  t.same(world.events, ['address.failed'], 'once');
  world.failBind = null;
  await world.pass(2_000);
  t.same(world.bound, ['tcp:[::1]:9000'], 'and bound when it is free');
  t.equal(world.started.length, 0, 'before anything runs');
  world.connections = { waiting: 1, accepted: 0 };
  await world.pass(500);
  t.equal(world.started.length, 1, 'a connection starts the first instance');
});

t.test('a program that cannot start', async (t) => {
  const world = FakeWorld.static({ ...address, processes: 0, maxClassProcesses: 1 });
  world.failStep = { step: 'exec', errno: 2, text: 'exec /bin/app: No such file' };
  await world.pass();
  world.connections = { waiting: 1, accepted: 0 };
  for (let i = 0; i < 5; i += 1) await world.pass(500);
  t.equal(world.published.state, 'failed');
  t.match(world.refused[0], /class "app": .*No such file/, 'those who wait are told why');
  t.same(world.closed, [], 'and the address is kept');
});

t.test('another address', async (t) => {
  const world = FakeWorld.static({ ...address, processes: 1 });
  await world.pass();
  await world.ready();
  const { config } = world.managed;
  const publicAddress = { kind: 'tcp', listen: '9000' } as const;
  world.managed.reconfigure({ ...config, publicAddress });
  await world.pass();
  await world.ready();
  t.same(world.bound, ['unix:/run/app.sock', 'tcp:9000']);
  await world.pass();
  t.same(world.closed, [], 'the old one stays while an instance is there');
  const [old = 0] = idsOf(world);
  world.idle.add(old);
  await world.pass(100);
  await world.exit(old, { exitSignal: 15 });
  await world.pass(1_000);
  t.same(world.closed, [world.started[0]?.spec.endpointId], 'and goes with the last one');
  world.managed.retire(1_000);
  await world.pass();
  t.equal(world.closed.length, 2, 'the end of the class closes its address');
});
