// SPDX-License-Identifier: Apache-2.0
// Servlet engines driven through their lives, with a launcher that only remembers, engines that answer
// when the test says so, and a clock that stands still.
import t from 'tap';
import { staticConfig } from '../class-config.ts';
import { FakeWorld, owner } from '../testing/fake-world.ts';

type Options = Record<string, string | string[] | number | boolean>;

const A = '127.0.0.1:8009';
const B = '[::1]:8010';
const AJP = 'USHER_PROTOCOL=ajp';

function configOf(options: Options = {}) {
  const base = { protocol: 'ajp', command: '/opt/engine run', host: [`${A},route=a`] };
  return staticConfig('shop', { ...base, ...options }, owner, 'x:1');
}

class EngineWorld extends FakeWorld {
  constructor(options: Options = {}) {
    super(configOf(options));
  }

  get last(): { id: number; env: readonly string[] } {
    const { id = 0, spec } = this.services.at(-1) ?? {};
    return { id, env: spec?.env ?? [] };
  }

  /** The engine at the address answers from now on. */
  async comesUp(address: string): Promise<void> {
    this.looks.set(address, { outcome: 'up' });
    await this.pass(300);
    await this.pass();
  }

  async dies(address: string, id: number, exit: Parameters<FakeWorld['exit']>[1]): Promise<void> {
    this.looks.delete(address);
    await this.exit(id, exit);
  }

  stateOf(address: string) {
    const backend = this.managed.status().backends.find((one) => one.address === address);
    return { ...backend?.engine, is: backend?.state, error: backend?.lastError };
  }
}

async function running(options: Options = {}): Promise<EngineWorld> {
  const world = new EngineWorld(options);
  await world.pass();
  for (const { spec } of [...world.services]) {
    const address = spec.env.find((one) => one.startsWith('USHER_ADDRESS='))?.slice(14) ?? '';
    await world.comesUp(address);
  }
  await world.ready();
  await world.pass();
  return world;
}

t.test('an engine for each address, then the gateway', async (t) => {
  const world = new EngineWorld({
    ...{ host: [`${A},route=a`, B], backup: ['unix:/run/spare'], down: ['10.0.0.1:8009'] },
    ...{ initialEnv: 'JAVA_OPTS=-Xmx64m', cwd: '/srv', priority: 5, user: 'tomcat' },
  });
  await world.pass();
  t.same(
    world.services.map(({ spec }) => spec.env.slice(2)),
    [
      [AJP, `USHER_ADDRESS=${A}`, 'USHER_HOST=127.0.0.1', 'USHER_PORT=8009', 'USHER_ROUTE=a'],
      [AJP, `USHER_ADDRESS=${B}`, 'USHER_HOST=::1', 'USHER_PORT=8010'],
      [AJP, 'USHER_ADDRESS=unix:/run/spare'],
    ],
    'each is told how and where to listen',
  );
  t.match(world.services[0]?.spec, {
    ...{ args: ['/opt/engine', 'run'], cwd: '/srv', nice: 5, user: 'tomcat' },
    env: ['PATH=/usr/local/bin:/usr/bin:/bin', 'JAVA_OPTS=-Xmx64m'],
  });
  t.equal(world.started.length, 0, 'no gateway while nobody answers');
  t.same([...world.endpoints.values()], ['starting'], 'but requests can wait for it');
  t.match(world.stateOf(B), { state: 'starting', is: 'down', error: 'is being started' });

  await world.comesUp(B);
  t.equal(world.started.length, 1, 'one that answers is enough');
  t.match(world.started[0]?.spec, {
    ...{ gateway: 'ajp', args: [], cwd: '/', nice: 0, user: 'tomcat' },
    env: ['PATH=/usr/local/bin:/usr/bin:/bin'],
  });
  t.match(world.stateOf(B), { state: 'up', is: 'up', pid: Number });
  t.match(world.stateOf(A), { state: 'starting' });
  t.match(world.stateOf('10.0.0.1:8009'), { is: 'disabled', state: undefined });
});

t.test('an engine that cannot start', async (t) => {
  const world = new EngineWorld();
  await world.pass();
  await world.dies(A, world.last.id, { exitCode: 1, livedMs: 20, output: 'no such servlet\n' });
  await world.pass();
  t.equal(world.published.state, 'failed');
  t.match(world.published.reason, /engine 127\.0\.0\.1:8009 exited with status 1.*no such servlet/);
  t.match(world.managed.status().lastFailure, {
    ...{ command: '/opt/engine run (as www-data)', outcome: 'exited', output: 'no such servlet\n' },
  });
  t.match(world.stateOf(A), { state: 'waiting', failures: 1 });

  await world.pass(999);
  t.equal(world.services.length, 1);
  await world.pass(1);
  t.equal(world.services.length, 2, 'tried again after a second');
  await world.comesUp(A);
  t.equal(world.published.state, 'starting', 'its class waits no longer than for it');
  t.equal(world.started.length, 1);
});

t.test('somebody else listens there', async (t) => {
  const world = new EngineWorld();
  world.looks.set(A, { outcome: 'silent', error: 'no answer' });
  await world.pass();
  await world.pass();
  t.equal(world.services.length, 0);
  t.match(world.published.reason, /another program listens at 127\.0\.0\.1:8009 already/);
});

t.test('its socket is for the gateway’s user only', async (t) => {
  const world = new EngineWorld();
  await world.pass();
  await world.pass(300);
  t.match(world.stateOf(A), { state: 'starting' });
  world.looks.set(A, { outcome: 'hidden', error: 'permission denied' });
  await world.pass(300);
  t.match(world.stateOf(A), { state: 'up' });
});

t.test('an engine that is not ready in time', async (t) => {
  const world = new EngineWorld({ startTimeout: 5_000 });
  await world.pass();
  world.looks.set(A, { outcome: 'silent', error: 'no answer within 2 s' });
  await world.pass(4_999);
  t.same(world.signals, []);
  await world.pass(1);
  await world.pass(1_000);
  t.same(world.signals, [[world.last.id, 9]], 'killed, once');
  t.equal(world.snapshots.length, 1, 'after a look at what it does');
  await world.exit(world.last.id, { exitSignal: 9, livedMs: 5_000 });
  t.match(world.stateOf(A), { state: 'waiting', error: /did not answer within 5 s.*no answer/ });
});

t.test('JServ’s back-off', async (t) => {
  const world = new EngineWorld();
  const waits: number[] = [];
  await world.pass();
  for (let failures = 1; failures <= 11; failures += 1) {
    const { length } = world.services;
    await world.dies(A, world.last.id, { exitCode: 1, livedMs: 10 });
    let waited = 0;
    while (world.services.length === length && waited < 1_000) {
      await world.pass(1_000);
      waited += 1;
    }
    waits.push(waited);
  }
  t.same(waits, [1, 1, 1, 1, 60, 60, 60, 60, 60, 300, 300]);
  await world.comesUp(A);
  await world.dies(A, world.last.id, { exitSignal: 11, livedMs: 120_001 });
  t.match(world.stateOf(A), { failures: 1 }, 'what has lived for 120 s is forgiven');
});

t.test('a dead engine is waited for, a broken one is not', async (t) => {
  const world = await running();
  await world.dies(A, world.last.id, { exitSignal: 11, livedMs: 30_000 });
  t.match(world.stateOf(A), { state: 'waiting', is: 'down', error: 'was killed by SIGSEGV' });
  t.equal(world.started.length, 1, 'its gateway stays');
  await world.pass(1_000);
  t.equal(world.services.length, 2);
  t.equal(world.stateOf(A).error, 'is being started');
  await world.comesUp(A);
  t.match(world.stateOf(A), { state: 'up', is: 'up', error: null });
});

t.test('an engine that hangs', async (t) => {
  const world = await running({ livenessTimeout: 30_000 });
  const { id } = world.last;
  world.looks.set(A, { outcome: 'silent', error: 'no answer within 10 s' });
  await world.pass(29_000);
  t.same(world.signals, [], 'it may be busy');
  await world.pass(2_000);
  t.same(world.signals, [[id, 15]]);
  t.equal(world.snapshots.length, 1);
  await world.pass(2_000);
  t.same(world.signals.slice(1), [[id, 9]], 'and killed when it does not end');
  await world.dies(A, id, { exitSignal: 9, livedMs: 60_000 });
  t.match(world.stateOf(A), { state: 'waiting', error: /neither us nor a request for 30 s/ });

  const patient = await running({ livenessTimeout: 0 });
  patient.looks.set(A, { outcome: 'silent', error: 'no answer' });
  await patient.pass(1_000_000);
  t.same(patient.signals, []);
});

t.test('a restart takes one after the other', async (t) => {
  const world = await running({ host: [`${A},route=a`, `${B},route=b`], sessionDrain: 3_000 });
  const [first, second] = world.services.map(({ id }) => id) as [number, number];
  let isDone = false;
  const done = world.managed.restart().then(() => {
    isDone = true;
  });
  await world.pass();
  t.match(world.stateOf(A), { state: 'draining', is: 'draining' }, 'sessions are served');
  await world.pass(2_999);
  t.same(world.signals, []);
  await world.pass(1);
  t.same(world.signals, [[first, 15]]);
  t.match(world.stateOf(B), { state: 'up', is: 'up' });
  await world.dies(A, first, { exitCode: 143, livedMs: 9_000 });
  await world.pass();
  t.equal(world.services.length, 3, 'at once');
  await world.pass(60);
  t.same(world.signals.length, 1, 'the other one serves until this one does');
  await world.comesUp(A);
  await world.pass(3_000);
  t.same(world.signals[1], [second, 15]);
  t.notOk(isDone);
  await world.dies(B, second, { exitCode: 143, livedMs: 9_000 });
  await world.pass();
  await world.comesUp(B);
  await world.pass();
  await done;
  t.equal(world.services.length, 4);
  t.equal(world.started.length, 1, 'the gateway serves on');
});

t.test('a restart that fails leaves the others alone', async (t) => {
  const world = await running({ host: [A, B] });
  const [first] = world.services.map(({ id }) => id) as [number];
  const done = world.managed.restart();
  const refused = t.rejects(done, /exited with status 3.*the others go on serving/);
  await world.pass();
  await world.pass();
  await world.dies(A, first, { exitCode: 143, livedMs: 9_000 });
  await world.pass();
  await world.dies(A, world.last.id, { exitCode: 3, livedMs: 10 });
  await refused;
  await world.pass(5_000);
  t.match(world.stateOf(B), { state: 'up' });
  t.same(
    world.signals.map(([id]) => id),
    [first],
  );
});

t.test('other options', async (t) => {
  const world = await running({ host: [A, B] });
  const [first, second] = world.services.map(({ id }) => id) as [number, number];
  world.managed.reconfigure(configOf({ host: [A, B], prepostTimeout: 100 }));
  await world.pass();
  t.same(world.signals, [], 'what engines do not know of does not concern them');
  world.managed.reconfigure(configOf({ host: [B], livenessTimeout: 0 }));
  await world.pass();
  await world.pass();
  t.same(world.signals, [[first, 15]], 'one that is not configured any more ends');
  await world.dies(A, first, { exitCode: 143, livedMs: 9_000 });
  await world.pass(2_000);
  t.equal(world.services.length, 2, 'and is not started again');
  t.same(
    world.managed.status().backends.map(({ address }) => address),
    [B],
  );
  world.managed.reconfigure(configOf({ host: [B], initialEnv: 'X=1' }));
  await world.pass();
  await world.pass();
  t.same(world.signals.at(-1), [second, 15], 'another environment needs another process');
});

t.test('age', async (t) => {
  const world = await running({ maxLifetime: 60_000 });
  await world.pass(60_000);
  await world.pass(1_000);
  await world.pass();
  t.same(world.signals, [[world.last.id, 15]]);
});

t.test('on demand', async (t) => {
  const world = new EngineWorld({ processes: 0, maxClassProcesses: 1, idleStop: 10_000 });
  await world.pass();
  t.equal(world.services.length, 0, 'nothing runs that nobody asked for');
  t.match(world.stateOf(A), { state: 'off' });
  world.demand(1);
  await world.pass();
  t.equal(world.services.length, 1);
  await world.comesUp(A);
  await world.ready();
  world.demand(0);
  await world.pass(100);
  await world.pass(11_000);
  await world.pass(100);
  await world.pass(100);
  t.same(world.signals[0], [world.started[0]?.id, 15], 'the gateway ends first');
  await world.exit(world.started[0]?.id ?? 0, { exitCode: 0, livedMs: 12_000 });
  await world.pass(100);
  t.same(world.signals[1], [world.last.id, 15]);
});

t.test('a restart of what does not run', async (t) => {
  const world = new EngineWorld({ processes: 0, maxClassProcesses: 1 });
  const done = world.managed.restart();
  await world.pass();
  await done;
  t.equal(world.services.length, 0);
});

t.test('the end of the class', async (t) => {
  const world = await running({ protocol: 'ajp12' });
  world.managed.retire(1_000);
  await world.pass();
  await world.exit(world.started[0]?.id ?? 0, { exitCode: 0, livedMs: 12_000 });
  await world.pass();
  t.same(world.shutDowns, [A], 'AJP 1.2 has a word for it');
  t.same(world.signals.slice(1), []);
  await world.pass(10_000);
  t.same(world.signals.slice(1), [[world.last.id, 15]], 'then a signal');
  t.notOk(world.managed.isGone);
  await world.dies(A, world.last.id, { exitSignal: 15, livedMs: 20_000 });
  t.ok(world.managed.isGone);
});

t.test('the next manager', async (t) => {
  const before = await running();
  const kept = {
    id: 77,
    pid: 4_711,
    startedMs: before.nowMs - 100_000,
    hash: '',
    epoch: 0,
  };
  const world = new EngineWorld();
  t.ok(world.managed.adoptEngine(A, { ...kept, startedMs: world.nowMs }));
  t.notOk(world.managed.adoptEngine(A, kept), 'one address, one engine');
  t.notOk(world.managed.adoptEngine(B, kept));
  world.looks.set(A, { outcome: 'up' });
  await world.pass();
  await world.pass();
  t.equal(world.services.length, 0, 'it is not started again');
  t.equal(world.started.length, 1);
  await world.pass();
  t.same(world.signals, [[77, 15]], 'but replaced: it was started from other options');

  const failed = new EngineWorld();
  await failed.pass();
  await failed.dies(A, failed.last.id, { exitCode: 1, livedMs: 10 });
  await failed.pass();
  t.match(failed.memories.get('shop'), /"engines":\[\{"name":"127\.0\.0\.1:8009","failures":1/);
});
