// SPDX-License-Identifier: Apache-2.0
// Which backend gets a request, and what makes one fail. In virtual time.
import t from 'tap';
import type { BackendConfig, SharedBackend } from '../link.ts';
import { Backend } from './backend.ts';
import { Balancer, type BalancingOptions } from './balancer.ts';
import { Failure } from './failure.ts';

const RECOVER_MS = 60_000;
const ESCALATION_MS = 30_000;

class World {
  nowMs = 1_000_000;
  changes = 0;
  readonly backends: Backend[];
  readonly balancer: Balancer;

  constructor(configs: Partial<BackendConfig>[], options: Partial<BalancingOptions> = {}) {
    this.backends = configs.map(
      (config, i) =>
        new Backend(
          {
            name: `b${i}`,
            route: `r${i}`,
            weight: 1,
            activation: 'active',
            isBackup: false,
            ...config,
          },
          { recoverTimeMs: RECOVER_MS, errorEscalationMs: ESCALATION_MS },
          () => {
            this.changes++;
          },
        ),
    );
    this.balancer = new Balancer(
      this.backends,
      { method: 'busyness', stickySession: true, stickyForce: false, ...options },
      this.nowMs,
    );
  }

  backend(i: number): Backend {
    return this.backends[i] as Backend;
  }

  choose(routes: string[] = [], tried: Backend[] = []): string {
    const chosen = this.balancer.choose(routes, tried, this.nowMs);
    if (chosen instanceof Failure) return `${chosen.status} ${chosen.message}`;
    return chosen.name;
  }

  /** Chooses, and keeps the request there. */
  begin(routes: string[] = []): Backend {
    const chosen = this.balancer.choose(routes, [], this.nowMs);
    if (chosen instanceof Failure) throw chosen;
    chosen.begin();
    return chosen;
  }

  /** How often each was chosen, when each request ends before the next. */
  deal(times: number): Record<string, number> {
    const counts: Record<string, number> = {};
    for (let i = 0; i < times; i++) {
      const chosen = this.begin();
      counts[chosen.name] = (counts[chosen.name] ?? 0) + 1;
      chosen.answered();
      chosen.end(this.nowMs);
    }
    return counts;
  }

  share(i: number, more: Partial<SharedBackend>): void {
    const none = { busyElsewhere: 0, failedUntilMs: 0, lastError: '' };
    const { name, activation } = this.backend(i);
    this.backend(i).share({ name, activation, ...none, ...more }, this.nowMs);
  }
}

t.test('method request: turns by weight', async (t) => {
  const world = new World([{ weight: 3 }, { weight: 2 }, {}], { method: 'request' });
  t.same(world.deal(600), { b0: 300, b1: 200, b2: 100 });
  const order = Array.from({ length: 4 }, () => world.begin().name);
  t.equal(new Set(order).size, 3, 'one after the other, not in runs');
});

t.test('method request: sessions count as turns', async (t) => {
  const world = new World([{}, {}], { method: 'request' });
  for (let i = 0; i < 10; i++) world.begin(['r0']);
  t.same(world.deal(10), { b1: 10 });
});

t.test('method busyness: least busy for its weight, in turns when equal', async (t) => {
  const world = new World([{ weight: 3 }, {}]);
  for (let i = 0; i < 40; i++) world.begin();
  t.equal(world.backend(0).busy, 30);
  t.equal(world.backend(1).busy, 10);
  const idle = new World([{}, {}, {}]);
  t.same(idle.deal(9), { b0: 3, b1: 3, b2: 3 });
  idle.share(0, { busyElsewhere: 5 });
  t.same(idle.deal(4), { b1: 2, b2: 2 }, 'what other gateways have there counts');
});

t.test('sticky sessions', async (t) => {
  const world = new World([{}, {}, { activation: 'disabled' }, { activation: 'stopped' }]);
  for (let i = 0; i < 5; i++) world.begin(['r1']);
  t.equal(world.choose(['r1']), 'b1', 'however busy');
  t.equal(world.choose(['unknown', 'r1']), 'b1', 'the first route that is ours');
  t.equal(world.choose(['r2']), 'b2', 'disabled: its own sessions only');
  t.equal(world.choose(['r3']), 'b0', 'stopped: not even those');
  t.equal(world.choose(['r1'], [world.backend(1)]), 'b0', 'it could not be reached');
  t.equal(world.choose(['unknown']), 'b0', 'a session of nobody');
  world.backend(1).unreachable('refused', world.nowMs);
  t.equal(world.choose(['r1']), 'b0', 'it has failed');
  t.equal(new World([{}, {}], { stickySession: false }).choose(['r1']), 'b0', 'switched off');
});

t.test('forced stickiness', async (t) => {
  const world = new World([{}, {}, { activation: 'stopped' }], { stickyForce: true });
  t.match(world.choose(['r2']), "503 the session's backend b2 is stopped");
  t.match(world.choose(['r1'], [world.backend(1)]), "503 the session's backend b1 has failed");
  world.backend(1).unreachable('refused', world.nowMs);
  t.equal(world.choose(['r1']), 'b1', 'where else: it is tried before its time');
  t.equal(world.choose(['r2', 'r0']), 'b0', 'a second session that can be served');
  t.equal(world.choose(['gone']), 'b0', 'a session of a backend that is no more');
});

t.test('hot standby', async (t) => {
  const world = new World([{}, {}, { isBackup: true, weight: 100 }]);
  t.same(world.deal(6), { b0: 3, b1: 3 });
  world.backend(0).unreachable('refused', world.nowMs);
  t.same(world.deal(3), { b1: 3 });
  world.backend(1).unreachable('refused', world.nowMs);
  t.same(world.deal(3), { b2: 3 });
  t.equal(world.choose(['r2']), 'b2');
  world.backend(2).unreachable('refused', world.nowMs);
  t.equal(world.choose(), 'b0', 'all have failed: the one that did first');
});

t.test('recovery', async (t) => {
  const world = new World([{}, {}]);
  world.backend(0).unreachable('connection refused', world.nowMs);
  t.same(world.backend(0).snapshot(), {
    name: 'b0',
    activation: 'active',
    state: 'failed',
    lastError: 'connection refused',
    busy: 0,
    requests: 0,
    failures: 1,
    failedUntilMs: world.nowMs + RECOVER_MS,
  });
  t.same(world.deal(200), { b1: 200 });
  world.nowMs += RECOVER_MS - 1;
  t.same(world.deal(2), { b1: 2 });
  world.nowMs += 1;
  const probe = world.begin();
  t.equal(probe.name, 'b0', 'its time is over: one request tries it');
  t.equal(probe.state, 'probing');
  t.same(world.deal(3), { b1: 3 }, 'and no other one');
  probe.reached();
  t.equal(probe.state, 'ok');
  probe.end(world.nowMs);
  t.ok((world.deal(100).b0 ?? 0) < 60, 'it does not get all that it has missed');
});

t.test('recovery: a try that fails, and one that nobody waits for', async (t) => {
  const world = new World([{}, {}]);
  const [bad] = world.backends as [Backend];
  bad.unreachable('refused', world.nowMs);
  world.nowMs += RECOVER_MS;
  world.begin();
  bad.unreachable('again', world.nowMs);
  bad.end(world.nowMs);
  t.match(bad, { state: 'failed', lastError: 'again', failedUntilMs: world.nowMs + RECOVER_MS });
  world.nowMs += RECOVER_MS;
  t.equal(world.begin(), bad);
  bad.end(world.nowMs);
  t.equal(bad.state, 'failed', 'aborted: nothing is known');
  t.equal(world.begin(), bad, 'so the next one tries');
});

t.test('all have failed: they are tried, and serve at once when they are back', async (t) => {
  const world = new World([{}]);
  world.backend(0).unreachable('refused', world.nowMs);
  const probe = world.begin();
  t.equal(probe.state, 'probing');
  t.match(world.choose([], [probe]), '503 no backend: b0 has failed: refused');
  probe.reached();
  t.equal(probe.state, 'ok');
  t.match(new World([{ activation: 'stopped' }]).choose(), '503 no backend: b0 is stopped');
});

t.test('CVE-2021-30639: failures of requests do not make a backend fail', async (t) => {
  const world = new World([{}, {}]);
  const [backend] = world.backends as [Backend];
  const states = new Set<string>();
  for (let i = 0; i < 1000; i++) {
    backend.strike('it closed the connection', world.nowMs);
    world.nowMs += 100;
    if (i % 100 === 99) backend.answered();
    states.add(backend.state);
  }
  t.same([...states], ['ok'], 'as long as others are answered');
  t.equal(backend.snapshot().failures, 1000, 'but are counted');
});

t.test('failures for long, and nothing else: error escalation', async (t) => {
  const world = new World([{}, {}]);
  const [backend] = world.backends as [Backend];
  backend.strike('silent', world.nowMs);
  world.nowMs += ESCALATION_MS * 10;
  backend.strike('silent', world.nowMs);
  t.equal(backend.state, 'ok', 'two are not enough, however long ago the first was');
  backend.strike('silent', world.nowMs);
  t.match(backend, { state: 'failed', lastError: 'silent' });
  backend.reached();
  t.equal(backend.state, 'failed', 'that somebody accepts connections says nothing now');
  world.nowMs += RECOVER_MS;
  t.equal(world.begin(), backend);
  backend.reached();
  t.equal(backend.state, 'probing');
  backend.strike('silent', world.nowMs);
  t.equal(backend.state, 'failed', 'the one request decides');
  world.nowMs += RECOVER_MS;
  world.begin();
  backend.answered();
  t.equal(backend.state, 'ok');
  for (let i = 0; i < 2; i++) backend.strike('silent', world.nowMs);
  t.equal(backend.state, 'ok', 'and it is counted anew');
});

t.test('what other gateways know', async (t) => {
  const world = new World([{}, {}]);
  const until = world.nowMs + 5000;
  world.share(0, { failedUntilMs: until, lastError: 'refused there' });
  t.match(world.backend(0), { state: 'failed', lastError: 'refused there', failedUntilMs: until });
  t.same(world.deal(2), { b1: 2 });
  world.nowMs = until;
  t.equal(world.begin().name, 'b0');
  world.backend(0).reached();
  t.equal(world.backend(0).state, 'ok');
  world.share(0, { failedUntilMs: until, lastError: 'refused there' });
  t.equal(world.backend(0).state, 'ok', 'told again, it is no news');

  world.share(0, { failedUntilMs: world.nowMs + 5000 });
  world.share(0, { failedUntilMs: 0 });
  t.equal(world.backend(0).state, 'ok', 'one of them has reached it');
  world.backend(0).unreachable('refused', world.nowMs);
  world.share(0, { failedUntilMs: 0 });
  t.equal(world.backend(0).state, 'failed', 'what we found ourselves stays');

  world.share(1, { activation: 'disabled' });
  t.equal(world.backend(1).activation, 'disabled', 'an administrator decided');
  t.equal(world.choose(['r1']), 'b1');
  t.equal(world.choose(), 'b0', 'even though it has failed');
});

t.test('old turns fade', async (t) => {
  const world = new World([{}, {}], { method: 'request' });
  for (let i = 0; i < 1000; i++) world.begin(['r0']);
  world.nowMs += 60_000;
  world.choose();
  t.ok(world.backend(0).turns <= 501);
});
