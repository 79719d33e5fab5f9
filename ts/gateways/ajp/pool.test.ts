// SPDX-License-Identifier: Apache-2.0
// Connections of one backend, without sockets.
import t, { type Test } from 'tap';
import { Backend } from './backend.ts';
import type { Failure } from './failure.ts';
import { Pool, type PooledConnection, type PoolOptions, type Taker } from './pool.ts';

type Done = (error: Error | null) => void;

class FakeConnection implements PooledConnection {
  isFinished = true;
  /** Nothing has come that was not read. */
  isQuiet = true;
  looks = 0;
  isClosed = false;
  openDone: Done | null = null;
  pingDone: Done | null = null;
  pings = 0;

  get isReusable(): boolean {
    this.looks++;
    return this.isFinished && this.isQuiet;
  }

  open(_timeoutMs: number, done: Done): void {
    this.openDone = done;
  }

  ping(_timeoutMs: number, done: Done): void {
    this.pings++;
    this.pingDone = done;
  }

  close(): void {
    this.isClosed = true;
  }

  opened(error: Error | null = null): void {
    this.openDone?.(error);
  }

  answered(error: Error | null = null): void {
    this.pingDone?.(error);
  }
}

class FakeTaker implements Taker<FakeConnection> {
  connection: FakeConnection | null = null;
  isFresh: boolean | null = null;
  error = '';

  onConnection(connection: FakeConnection, isFresh: boolean): void {
    this.connection = connection;
    this.isFresh = isFresh;
  }

  onUnreachable(error: string): void {
    this.error = error;
  }

  onExhausted(failure: Failure): void {
    this.error = `${failure.status} ${failure.message}`;
  }
}

const noPings = { pingConnectMs: 0, pingPrepostMs: 0, pingIntervalMs: 0, pingTimeoutMs: 10_000 };

class World {
  nowMs = 1_000_000;
  readonly made: FakeConnection[] = [];
  readonly backend: Backend;
  readonly pool: Pool<FakeConnection>;

  constructor(t: Test, options: Partial<PoolOptions> = {}) {
    this.backend = new Backend(
      { name: 'b', route: null, weight: 1, activation: 'active', isBackup: false },
      { recoverTimeMs: 60_000, errorEscalationMs: 30_000 },
    );
    this.pool = new Pool(
      this.backend,
      {
        poolMax: 2,
        poolMin: 0,
        poolIdleMs: 0,
        acquireTimeoutMs: 60_000,
        socketConnectTimeoutMs: 5000,
        ...noPings,
        ...options,
      },
      () => {
        const connection = new FakeConnection();
        this.made.push(connection);
        return connection;
      },
      () => this.nowMs,
    );
    t.teardown(() => this.pool.close());
  }

  connection(i: number): FakeConnection {
    return this.made[i] as FakeConnection;
  }

  take(): FakeTaker {
    const taker = new FakeTaker();
    this.pool.acquire(taker);
    return taker;
  }

  /** A connection that somebody has used. */
  used(): FakeConnection {
    const taker = this.take();
    this.made.at(-1)?.opened();
    return taker.connection as FakeConnection;
  }
}

t.test('a connection is opened, used, kept and used again', async (t) => {
  const world = new World(t);
  const first = world.take();
  t.equal(first.connection, null);
  world.connection(0).opened();
  t.equal(first.connection, world.connection(0));
  world.pool.release(world.connection(0));
  t.equal(world.take().connection, world.connection(0), 'at once');
  t.equal(world.made.length, 1);
});

t.test('which connections are fresh', async (t) => {
  const world = new World(t, { poolMax: 1 });
  const first = world.take();
  world.connection(0).opened();
  t.equal(first.isFresh, true);
  const second = world.take();
  world.pool.release(world.connection(0));
  t.equal(second.isFresh, false, 'handed on');
  world.pool.release(world.connection(0));
  t.equal(world.take().isFresh, false, 'was idle');
  world.pool.discard(world.connection(0));
  const gone = world.take();
  world.pool.cancel(gone);
  world.connection(1).opened();
  t.equal(world.take().isFresh, false, 'nobody has used it, but it was idle');
});

t.test('a connection in the place of one that has ended', async (t) => {
  const renew = (world: World, connection: FakeConnection): FakeTaker => {
    const taker = new FakeTaker();
    world.pool.renew(connection, taker);
    return taker;
  };
  await t.test('no idle one, and before others who wait', async (t) => {
    const world = new World(t);
    const [a, b] = [world.used(), world.used()];
    const other = world.take();
    const taker = renew(world, a);
    t.ok(a.isClosed);
    t.equal(world.made.length, 3);
    world.pool.release(b);
    t.equal(other.connection, b, 'who waits gets any');
    t.equal(taker.connection, null);
    world.pool.release(b);
    t.equal(world.pool.idleCount, 1, 'which does not go to him');
    world.connection(2).opened();
    t.equal(taker.connection, world.connection(2));
    t.equal(taker.isFresh, true);
    t.equal(world.pool.size, 2);
  });
  await t.test('its place is not taken by others', async (t) => {
    const world = new World(t, { poolMax: 1 });
    const a = world.used();
    const other = world.take();
    const taker = renew(world, a);
    world.connection(1).opened();
    t.equal(taker.connection, world.connection(1));
    t.equal(other.connection, null);
    world.pool.release(world.connection(1));
    t.equal(other.connection, world.connection(1));
  });
  await t.test('several at a backend that has failed meanwhile', async (t) => {
    const world = new World(t, { poolMax: 3 });
    const used = [world.used(), world.used()] as const;
    world.take();
    world.connection(2).opened(new Error('refused'));
    const other = world.take();
    const takers = used.map((connection) => renew(world, connection));
    t.equal(world.made.length, 4, 'one connection finds out');
    world.connection(3).opened();
    t.equal(takers[0]?.connection, world.connection(3));
    t.equal(world.made.length, 6, 'then one each');
    for (const connection of world.made.slice(4)) connection.opened();
    t.equal(takers[1]?.connection, world.connection(4));
    t.equal(other.connection, world.connection(5));
    t.equal(world.pool.size, 3);
  });
  await t.test('and it is not there', async (t) => {
    const world = new World(t);
    const taker = renew(world, world.used());
    world.connection(1).opened(new Error('refused'));
    t.equal(taker.error, 'refused');
    t.equal(world.backend.state, 'failed');
    t.equal(world.pool.size, 0);
  });
  await t.test('nobody wants it any more', async (t) => {
    const world = new World(t);
    const taker = renew(world, world.used());
    world.pool.cancel(taker);
    world.connection(1).opened();
    t.equal(taker.connection, null);
    t.equal(world.pool.idleCount, 1);
  });
});

t.test('the one used last is used next', async (t) => {
  const world = new World(t);
  const [a, b] = [world.used(), world.used()];
  world.pool.release(a);
  world.pool.release(b);
  t.equal(world.take().connection, b);
  t.equal(world.take().connection, a);
});

t.test('CVE-2009-1191, CVE-2008-5519: one that is not idle is not used again', async (t) => {
  const world = new World(t);
  const connection = world.used();
  connection.isFinished = false;
  world.pool.release(connection);
  t.ok(connection.isClosed, 'not after its answer');
  const other = world.used();
  world.pool.release(other);
  other.isQuiet = false;
  const taker = world.take();
  t.equal(taker.connection, null);
  t.ok(other.isClosed, 'and not when something came meanwhile');
  world.made.at(-1)?.opened();
  t.equal(taker.connection, world.made.at(-1));
  t.equal(world.pool.size, 1);
});

t.test('CVE-2009-1191: one that is not quiet is not handed on to who waits for it', async (t) => {
  const world = new World(t, { poolMax: 1 });
  const connection = world.used();
  const waiting = world.take();
  connection.isQuiet = false;
  world.pool.release(connection);
  t.ok(connection.isClosed);
  t.equal(waiting.connection, null);
  world.made.at(-1)?.opened();
  t.equal(waiting.connection, world.made.at(-1));
});

t.test('one is looked at once between two requests', async (t) => {
  const world = new World(t);
  const connection = world.used();
  world.pool.release(connection);
  t.equal(world.take().connection, connection);
  t.equal(connection.looks, 1);
});

t.test('no more than poolMax; others wait, in order', async (t) => {
  const world = new World(t);
  const [a, b] = [world.used(), world.used()];
  const waiting = [world.take(), world.take(), world.take()];
  t.equal(world.made.length, 2);
  world.pool.cancel(waiting[1] as FakeTaker);
  world.pool.release(a);
  t.equal(waiting[0]?.connection, a);
  world.pool.discard(b);
  t.ok(b.isClosed);
  t.equal(world.made.length, 3, 'a closed one makes room for a new one');
  world.connection(2).opened();
  t.equal(waiting[2]?.connection, world.connection(2));
  t.equal(waiting[1]?.connection, null, 'who went away gets none');
});

t.test('acquire timeout', async (t) => {
  const world = new World(t, { acquireTimeoutMs: 5 });
  const full = [world.used(), world.used()];
  const taker = world.take();
  while (taker.error === '') await new Promise((resolve) => setTimeout(resolve, 5));
  t.match(taker.error, '503 backend b: no connection within -connection-acquire-timeout 0.005 s');
  t.match(taker.error, 'all 2 of -connection-pool-size are in use');
  world.pool.release(full[0] as FakeConnection);
  t.equal(taker.connection, null);
  t.equal(world.backend.state, 'ok', 'that we have too few says nothing of the backend');
});

t.test('connecting has limits of its own, and may take longer than acquiring', async (t) => {
  const world = new World(t, { acquireTimeoutMs: 0 });
  const takers = [world.take(), world.take(), world.take()];
  const last = takers[2] as FakeTaker;
  while (last.error === '') await new Promise((resolve) => setTimeout(resolve, 1));
  t.match(last.error, 'all 2 of -connection-pool-size are in use');
  t.same([takers[0]?.error, takers[1]?.error], ['', ''], 'theirs are on their way');
  world.connection(0).opened();
  world.connection(1).opened(new Error('no answer'));
  t.equal(takers[0]?.connection, world.connection(0));
  t.equal(takers[1]?.error, 'no answer', 'and tells of the backend');

  const probing = [world.take(), world.take()];
  t.equal(world.made.length, 3);
  await new Promise((resolve) => setTimeout(resolve, 20));
  world.connection(2).opened(new Error('still none'));
  t.same(
    probing.map(({ error }) => error),
    ['still none', 'still none'],
    'one finds out for all',
  );
});

t.test('what cannot be reached has failed; all who wait hear of it', async (t) => {
  const world = new World(t, { poolMax: 9 });
  const idle = world.used();
  const busy = world.used();
  world.pool.release(idle);
  world.take();
  const takers = [world.take(), world.take()];
  world.connection(2).opened(Object.assign(new Error('x'), { errno: -111, code: 'ECONNREFUSED' }));
  t.same(
    takers.map(({ error }) => error),
    ['connection refused', 'connection refused'],
  );
  t.match(world.backend, { state: 'failed', lastError: 'connection refused' });
  world.connection(3).opened();
  t.equal(world.backend.state, 'ok', 'until one stands');
  world.pool.release(busy);
  t.equal(world.pool.idleCount, 2);
});

t.test('idle connections to a backend that has failed are closed', async (t) => {
  const world = new World(t, { poolMax: 9 });
  const [a, b] = [world.used(), world.used()];
  world.pool.cancel(world.take());
  world.pool.release(a);
  t.equal(world.pool.idleCount, 1);
  world.connection(2).opened(new Error('no'));
  t.ok(a.isClosed);
  t.notOk(b.isClosed, 'an answer may still come');
  t.equal(world.pool.size, 1);
});

t.test('our own lack of descriptors is not the fault of the backend', async (t) => {
  const world = new World(t);
  const taker = world.take();
  world.connection(0).opened(Object.assign(new Error('x'), { errno: -24, code: 'EMFILE' }));
  t.equal(taker.error, 'too many open files');
  t.equal(world.backend.state, 'ok');
});

t.test('one that has failed is tried by one connection, for all who wait', async (t) => {
  const world = new World(t, { poolMax: 9 });
  world.backend.unreachable('no', world.nowMs);
  const takers = [world.take(), world.take(), world.take()];
  t.equal(world.made.length, 1);
  world.connection(0).opened();
  t.equal(takers[0]?.connection, world.connection(0));
  t.equal(world.made.length, 3, 'it is back: the others connect as well');
  world.connection(1).opened();
  world.connection(2).opened();
  t.ok(takers.every(({ connection }) => connection !== null));
});

t.test('a connection whose taker went away serves the next one', async (t) => {
  const world = new World(t);
  const taker = world.take();
  world.pool.cancel(taker);
  world.connection(0).opened();
  t.equal(taker.connection, null);
  t.equal(world.take().connection, world.connection(0));
});

t.test('CPING after connecting', async (t) => {
  const world = new World(t, { pingConnectMs: 10_000 });
  const taker = world.take();
  world.connection(0).opened();
  t.equal(taker.connection, null);
  world.connection(0).answered();
  t.equal(taker.connection, world.connection(0));
  const other = world.take();
  world.connection(1).opened();
  world.connection(1).answered(new Error('no answer to CPING within 10 s'));
  t.equal(other.error, 'no answer to CPING within 10 s');
  t.equal(world.backend.state, 'failed');
  t.ok(world.connection(1).isClosed);
});

t.test('CPING before each request', async (t) => {
  const world = new World(t, { pingPrepostMs: 100 });
  const first = world.take();
  world.connection(0).opened();
  t.equal(world.connection(0).pings, 1, 'also on a new connection');
  world.connection(0).answered();
  t.equal(first.connection, world.connection(0));
  world.pool.release(world.connection(0));
  const second = world.take();
  t.equal(second.connection, null);
  t.equal(world.connection(0).pings, 2);
  world.connection(0).answered(new Error('it closed the connection'));
  t.ok(world.connection(0).isClosed, 'a stale one');
  t.equal(world.backend.state, 'ok', 'which is no failure of the backend');
  world.connection(1).opened();
  world.connection(1).answered();
  t.equal(second.connection, world.connection(1), 'a new one takes its place');

  const [third, fourth] = [world.take(), world.take()];
  world.connection(2).opened();
  world.connection(2).answered();
  t.equal(third.connection, world.connection(2));
  world.pool.release(world.connection(1));
  t.equal(fourth.connection, null, 'who has waited needs the answer too');
  world.connection(1).answered();
  t.equal(fourth.connection, world.connection(1));
});

t.test('CPING where a connection was idle for long', async (t) => {
  const world = new World(t, { pingIntervalMs: 1000 });
  const connection = world.used();
  world.pool.release(connection);
  world.nowMs += 1000;
  t.equal(world.take().connection, connection, 'not for so long');
  world.pool.release(connection);
  world.nowMs += 1001;
  const taker = world.take();
  t.equal(taker.connection, null);
  t.equal(connection.pings, 1);
  connection.answered();
  t.equal(taker.connection, connection);
});

t.test('an idle connection that ends is gone', async (t) => {
  const world = new World(t);
  const connection = world.used();
  world.pool.release(connection);
  world.pool.lost(connection);
  t.same([world.pool.size, world.pool.idleCount], [0, 0]);
  world.pool.lost(connection);
  t.equal(world.pool.size, 0, 'once');
});

t.test('idle limit, and those that are kept in spite of it', async (t) => {
  const world = new World(t, { poolMax: 5, poolIdleMs: 20, poolMin: 2 });
  const used = Array.from({ length: 4 }, () => world.used());
  for (const connection of used) world.pool.release(connection);
  world.nowMs += 1000;
  while (world.pool.size > 2) await new Promise((resolve) => setTimeout(resolve, 5));
  await new Promise((resolve) => setTimeout(resolve, 60));
  t.equal(world.pool.size, 2);
  t.same(
    used.map(({ isClosed }) => isClosed),
    [true, true, false, false],
    'the oldest ones went',
  );
});

t.test('after close() nothing is kept', async (t) => {
  const world = new World(t);
  const [a, b] = [world.used(), world.used()];
  world.pool.release(a);
  world.pool.close();
  t.ok(a.isClosed);
  t.notOk(b.isClosed, 'it serves its request to the end');
  world.pool.release(b);
  t.ok(b.isClosed);
  t.equal(world.pool.size, 0);
});
