// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import type { ManagedClass } from './managed-class.ts';
import { DynamicPool } from './pool.ts';

const poolMax = 4;

/** A dynamic class that only counts. */
class Counted {
  instances: { state: string; isBusy: boolean }[] = [];
  idleForMs = 0;
  readonly config = { poolMin: 2, poolMax };

  constructor(running: number, isBusy: boolean) {
    for (let n = 0; n < running; n += 1) this.instances.push({ state: 'ready', isBusy });
    this.idleForMs = isBusy ? 0 : 1_000;
  }

  get instanceCount(): number {
    return this.instances.length;
  }

  giveUp(which: 'idle' | 'any'): boolean {
    const found = this.instances.find(
      (one) => one.state === 'ready' && (which === 'any' || !one.isBusy),
    );
    if (found) found.state = 'draining';
    return found !== undefined;
  }

  /** What drained has ended. */
  settle(): void {
    this.instances = this.instances.filter(({ state }) => state === 'ready');
  }

  start(): void {
    this.instances.push({ state: 'ready', isBusy: true });
  }
}

function poolOf(...classes: Counted[]) {
  let nowMs = 0;
  const managed = classes as unknown as ManagedClass[];
  const pool = new DynamicPool(
    () => managed,
    () => nowMs,
  );
  const admit = (one: Counted) => pool.admit(one as unknown as ManagedClass);
  return { pool, admit, pass: (ms: number) => (nowMs += ms) };
}

t.test('while there is room everybody may start', async (t) => {
  const one = new Counted(3, true);
  const { admit, pool } = poolOf(one, new Counted(0, false));
  t.ok(admit(one));
  t.match(pool.facts(one as unknown as ManagedClass), { instances: 3, min: 2, max: 4 });
  t.equal(pool.spare(one as unknown as ManagedClass), 1, '-minProcesses are not given up');
});

t.test('a full pool', async (t) => {
  const idle = new Counted(2, false);
  const busy = new Counted(2, true);
  const asker = new Counted(0, true);
  const { admit, pass } = poolOf(idle, busy, asker);
  t.notOk(admit(asker));
  t.same(
    idle.instances.map(({ state }) => state).sort(),
    ['draining', 'ready'],
    'gives up an idle one',
  );
  pass(10);
  t.notOk(admit(asker), 'which has not ended yet');
  t.equal(
    idle.instances.filter(({ state }) => state === 'draining').length,
    1,
    'and no second one',
  );
  idle.settle();
  pass(10);
  t.ok(admit(asker), 'there is room when it has');
});

t.test('one class cannot starve the others', async (t) => {
  const greedy = new Counted(4, true);
  const poor = new Counted(0, true);
  const { admit, pass } = poolOf(greedy, poor);
  t.notOk(admit(poor));
  t.equal(greedy.instances[0]?.state, 'draining', 'a busy one drains for a class that has none');
  greedy.settle();
  pass(10);
  t.notOk(admit(greedy), 'and cannot be started again');
  t.ok(admit(poor), 'before the other has had its turn');
  poor.start();
  pass(10);
  t.notOk(admit(poor));
  greedy.settle();
  poor.start();
  t.equal(greedy.instanceCount, 2, 'up to an equal share');
  pass(10);
  t.notOk(admit(poor));
  t.same(
    greedy.instances.map(({ state }) => state),
    ['ready', 'ready'],
    'and no further',
  );
});
