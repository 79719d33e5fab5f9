// SPDX-License-Identifier: Apache-2.0
// What a class counts of its instances, and how busy it says it was.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import t from 'tap';
import { FakeWorld } from './testing/fake-world.ts';
import { Usage } from './usage.ts';

function counted(world: FakeWorld) {
  const { own } = world.managed.figures();
  if (own === null) throw new Error('it has instances');
  const { starts, failures, restarts, startTimes } = own.tally;
  return {
    starts,
    ready: startTimes.counts.reduce((sum, count) => sum + count, 0),
    failures: Object.fromEntries(failures),
    restarts: Object.fromEntries(restarts),
  };
}

t.test('starts, failures and restarts', async (t) => {
  const world = FakeWorld.static({ processes: 1, restartDelay: 0 });
  await world.pass();
  t.same(counted(world), { starts: 1, ready: 0, failures: {}, restarts: {} });
  await world.ready();
  await world.exit(world.started[0]?.id ?? 0, { exitCode: 0, livedMs: 31_000 });
  t.same(counted(world), { starts: 2, ready: 1, failures: {}, restarts: { ended: 1 } });
  await world.ready();
  await world.exit(world.started[1]?.id ?? 0, { exitSignal: 11, livedMs: 31_000 });
  t.match(counted(world), {
    starts: 3,
    failures: { 'killed-by-signal': 1 },
    restarts: { ended: 2 },
  });
});

t.test('a start that fails', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  world.failStep = { step: 'missing', errno: 2, text: '/bin/app is not there' };
  await world.pass();
  t.match(counted(world), { starts: 1, ready: 0, failures: { 'file-missing': 1 }, restarts: {} });
});

t.test('a restart that is asked for', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  await world.pass();
  await world.ready();
  const done = world.managed.restart();
  await world.pass();
  await world.ready();
  await world.pass();
  await world.exit(world.started[0]?.id ?? 0, { exitSignal: 15 });
  await world.pass();
  await done;
  t.match(counted(world), { starts: 2, ready: 2, failures: {}, restarts: { updated: 1 } });
});

t.test('the most at one moment since the last sample', async (t) => {
  const world = FakeWorld.static({ processes: 1 });
  await world.pass();
  await world.ready();
  world.demand(7, 2);
  await world.pass();
  world.demand(0, 1);
  await world.pass();
  t.same(world.managed.sample(), { requests: 0, inFlight: 2, waiting: 7, instances: 1 });
  world.load = { ...world.load, inFlight: 0, finished: 9, failed: 2, aborted: 1 };
  await world.pass();
  t.same(world.managed.sample(), { requests: 12, inFlight: 1, waiting: 0, instances: 1 });
  t.same(world.managed.sample(), { requests: 12, inFlight: 0, waiting: 0, instances: 1 });
});

t.test('memory and processor time of instances with their children', async (t) => {
  // The shell's child computes; both are the instance.
  const shell = spawn('/bin/sh', ['-c', 'while :; do :; done & echo; wait'], { detached: true });
  const pid = shell.pid ?? 0;
  t.teardown(() => process.kill(-pid, 'SIGKILL'));
  await once(shell.stdout, 'data');
  const usage = new Usage();
  let used = usage.read([{ id: 1, pid }]);
  while (used.cpuS < 0.05) {
    await new Promise((resolve) => setTimeout(resolve, 10));
    used = usage.read([{ id: 1, pid }]);
  }
  t.ok(used.rssBytes > 100_000, `${used.rssBytes} bytes`);
  t.same(usage.read([]), { rssBytes: 0, cpuS: used.cpuS }, 'what ended instances used counts on');
  usage.end(1, null);
  t.same(usage.read([]).cpuS, used.cpuS, 'also where nobody says what it was in the end');
  t.ok(usage.read([{ id: 2, pid }]).cpuS > used.cpuS, 'another one is added');
});

t.test('processor time of an instance is exact once it has ended', async (t) => {
  const usage = new Usage();
  usage.end(1, 0.25);
  t.equal(usage.read([]).cpuS, 0.25, 'nobody had looked at it');
  usage.read([{ id: 2, pid: process.pid }]); // whose time is not its
  const seen = usage.read([]).cpuS - 0.25;
  usage.end(2, seen / 2);
  t.equal(usage.read([]).cpuS, 0.25 + seen, 'children that nobody waited for count on');
  usage.read([{ id: 3, pid: process.pid }]);
  usage.end(3, 1000);
  t.equal(usage.read([]).cpuS, 1000.25 + seen, 'what it used since the last look is added');
  usage.end(3, 1);
  t.equal(usage.read([]).cpuS, 1001.25 + seen);
});
