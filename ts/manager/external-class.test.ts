// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { FakeBackends } from './testing/fake-backends.ts';

t.test('several hosts', async (t) => {
  const world = new FakeBackends({ host: ['10.0.0.1:9000', '[::1]:9000'] });
  t.same(world.states, { '10.0.0.1:9000': 'ready', '[::1]:9000': 'ready' }, 'ready without a look');
  t.equal(world.published.state, 'ready');
  await world.pass();
  t.same(world.probed, ['10.0.0.1:9000', '[::1]:9000'], 'and then looked at');
  t.equal(world.external.dueMs, Number.POSITIVE_INFINITY, 'once');
  await world.pass(60_000);
  t.equal(world.probed.length, 2, 'those that are up are left alone');

  world.refuse('[::1]:9000');
  world.miss('[::1]:9000');
  await world.pass();
  t.match(world.states, { '10.0.0.1:9000': 'ready', '[::1]:9000': 'down' });
  t.equal(world.probed.length, 3, 'only the one that failed is looked at');
  t.equal(world.external.dueMs, world.nowMs + 200, 'and again after a pause');
  t.equal(world.published.state, 'ready');
  t.match(world.external.status().backends, [
    { address: '10.0.0.1:9000', state: 'up', isBackup: false, lastError: null },
    { address: '[::1]:9000', state: 'down', lastError: 'connection refused' },
  ]);

  world.looks.clear();
  await world.pass(100, false);
  t.match(world.states, { '[::1]:9000': 'down' }, 'not looked at before the pause is over');
  await world.pass(100, false);
  t.match(world.states, { '[::1]:9000': 'ready' });
  t.same(world.events, ['backend.down [::1]:9000', 'backend.up [::1]:9000']);
});

t.test('nobody is there', async (t) => {
  const world = new FakeBackends({ host: ['10.0.0.1:9000', '10.0.0.2:9000'] });
  world.refuse('10.0.0.1:9000', '10.0.0.2:9000');
  await world.pass();
  t.same(world.published, {
    state: 'failed',
    verdict: 503,
    retryAfterS: 1,
    reason: 'no host is up: 10.0.0.1:9000: connection refused; 10.0.0.2:9000: connection refused',
  });
  t.equal(world.external.status().state, 'failed');
  for (let i = 0; i < 10; i++) await world.pass(5_000, false);
  t.equal(world.published.retryAfterS, 5, 'Retry-After says when it is looked at next');
  world.looks.delete('10.0.0.2:9000');
  await world.pass(200, false);
  t.equal(world.published.state, 'failed');
  await world.pass(0, true);
  t.match(world.published, { state: 'ready', verdict: 0, reason: '' }, 'a request ends the pause');
  t.match(world.states, { '10.0.0.1:9000': 'down', '10.0.0.2:9000': 'ready' });
  t.same(world.events.slice(-2), ['backend.up 10.0.0.2:9000', 'class.ready ']);
});

t.test('a reason has room for few addresses', async (t) => {
  const host = Array.from({ length: 12 }, (_, i) => `10.0.0.${100 + i}:9000`);
  const world = new FakeBackends({ host });
  world.refuse(...host);
  await world.pass();
  t.match(world.published.reason, /^no host is up: 10\.0\.0\.100:9000: connection refused; /);
  t.match(world.published.reason, /; 7 more$/);
  t.ok(Buffer.byteLength(world.published.reason) < 256);
});

t.test('a backup', async (t) => {
  const world = new FakeBackends({ host: ['10.0.0.1:9000'], backup: ['10.0.0.8:9000'] });
  await world.pass();
  t.match(world.states, { '10.0.0.1:9000': 'ready', '10.0.0.8:9000': 'draining' });
  t.match(world.external.status().backends, [
    { state: 'up' },
    { state: 'standby', isBackup: true },
  ]);
  world.refuse('10.0.0.1:9000');
  world.miss('10.0.0.1:9000');
  await world.pass(1_000);
  t.match(world.states, { '10.0.0.1:9000': 'down', '10.0.0.8:9000': 'ready' }, 'takes over');
  t.equal(world.published.state, 'ready');
  world.busy.set('10.0.0.8:9000', 1);
  world.looks.clear();
  await world.pass(200);
  t.match(world.states, { '10.0.0.1:9000': 'ready', '10.0.0.8:9000': 'draining' }, 'and goes back');
  t.match(world.external.status().backends, [{}, { state: 'draining', isBackup: true }]);
});

t.test('a disabled address', async (t) => {
  const world = new FakeBackends({
    host: ['10.0.0.1:9000', '10.0.0.2:9000'],
    down: ['10.0.0.2:9000', '10.0.0.3:9000'],
  });
  await world.pass();
  t.same(world.states, { '10.0.0.1:9000': 'ready' }, '-down wins');
  t.same(world.probed, ['10.0.0.1:9000']);
  t.match(world.external.status().backends, [
    { address: '10.0.0.1:9000', state: 'up' },
    { address: '10.0.0.2:9000', state: 'disabled' },
    { address: '10.0.0.3:9000', state: 'disabled' },
  ]);
});

t.test('another configuration', async (t) => {
  const world = new FakeBackends({ host: ['10.0.0.1:9000', '10.0.0.2:9000'] });
  await world.pass();
  const [kept] = world.endpoints.keys();
  world.busy.set('10.0.0.2:9000', 1);
  world.reconfigure({ host: ['10.0.0.3:9000', '10.0.0.1:9000'] });
  await world.pass();
  t.same([...world.endpoints.keys()][0], kept, 'what stays keeps its endpoint');
  t.same(world.states, {
    '10.0.0.1:9000': 'ready',
    '10.0.0.2:9000': 'draining',
    '10.0.0.3:9000': 'ready',
  });
  world.reconfigure({ host: ['10.0.0.1:9000', '10.0.0.2:9000'] });
  t.match(world.states, { '10.0.0.2:9000': 'ready' }, 'one that was leaving may come back');
  world.busy.clear();
  await world.pass();
  t.same(Object.keys(world.states), ['10.0.0.1:9000', '10.0.0.2:9000'], 'what is idle is gone');
  world.reconfigure({ host: ['10.0.0.1:9000', '10.0.0.2:9000'], concurrency: 4 });
  await world.pass();
  t.same(
    [...world.endpoints.values()].map(({ places }) => places),
    [4, 4],
    'other places need other endpoints',
  );
});

t.test('names', async (t) => {
  const world = new FakeBackends({ host: ['db:9000'] });
  t.equal(world.published.state, 'starting', 'requests wait until it is known who that is');
  await world.pass();
  t.match(world.published, { state: 'failed', reason: /db:9000: .*ENOTFOUND/ });
  t.match(world.external.status().backends, [{ address: 'db:9000', state: 'down' }]);
  world.names.set('db', ['10.0.0.1', '10.0.0.2']);
  await world.pass(200, false);
  t.same(
    world.states,
    { '10.0.0.1:9000': 'ready', '10.0.0.2:9000': 'ready' },
    'asked again; all of its addresses count',
  );
  t.match(world.external.status().backends, [
    { address: '10.0.0.1:9000', name: 'db:9000' },
    { address: '10.0.0.2:9000', name: 'db:9000' },
  ]);
  await world.pass();
  world.names.set('db', ['10.0.0.2', '10.0.0.3']);
  await world.pass(30_000, false);
  await world.pass(0, false);
  t.same(Object.keys(world.states), ['10.0.0.2:9000', '10.0.0.3:9000'], 'and from time to time');

  world.names.set('db', ['10.0.0.4']);
  world.refuse('10.0.0.2:9000');
  world.miss('10.0.0.2:9000');
  await world.pass(2_000);
  await world.pass(0, false);
  t.match(world.states, { '10.0.0.4:9000': 'ready' }, 'and when one of its addresses fails');
  world.names.delete('db');
  await world.pass(40_000, false);
  t.match(world.states, { '10.0.0.4:9000': 'ready' }, 'what was found once stays');
});

t.test('no room in the table', async (t) => {
  const world = new FakeBackends({ host: ['10.0.0.1:9000', '10.0.0.2:9000'] });
  await world.pass();
  world.room = 2;
  world.reconfigure({ host: ['10.0.0.1:9000', '10.0.0.2:9000', '10.0.0.3:9000'] });
  t.equal(world.published.state, 'ready', 'the others are used');
  t.match(world.external.status().backends, [{}, {}, { state: 'down' }]);
  t.same(world.events, ['backend.not-added 10.0.0.3:9000']);
});

t.test('the end', async (t) => {
  const world = new FakeBackends({ socket: '/run/x.sock' });
  await world.pass();
  world.busy.set('/run/x.sock', 2);
  world.external.retire(5_000);
  await world.pass();
  t.same(world.states, { '/run/x.sock': 'draining' });
  t.notOk(world.external.isGone);
  await world.pass(5_000);
  t.ok(world.external.isGone, 'requests that last longer than they may are left to themselves');
});
