// SPDX-License-Identifier: Apache-2.0
// What pools do when, in time that tests let pass, with workers that do as they are told.
import t, { type Test } from 'tap';
import type { ServeSettings } from '../options.ts';
import { Pool } from './pool.ts';
import { type PoolKind, type PoolRules, poolRules } from './pool-rules.ts';
import { ManualClock, ManualWorker, settled } from './testing/manual.ts';
import { RecordedExchange } from './testing/recorded-exchange.ts';
import { defaults } from './testing/world.ts';

class Bench {
  readonly clock = new ManualClock();
  readonly workers: ManualWorker[] = [];
  readonly lines: string[] = [];
  readonly pool: Pool;

  constructor(
    kind: PoolKind,
    settings: Partial<ServeSettings> = {},
    rules: Partial<PoolRules> = {},
  ) {
    const start = () => {
      const worker = new ManualWorker(`worker ${this.workers.length + 1}`);
      this.workers.push(worker);
      return worker;
    };
    const all = { ...poolRules({ ...defaults, ...settings }, kind), ...rules };
    const log = (line: string) => this.lines.push(line);
    this.pool = new Pool(all, start, { clock: this.clock, log });
  }

  /** Its first workers are ready. */
  static async started(...given: ConstructorParameters<typeof Bench>): Promise<Bench> {
    const bench = new Bench(...given);
    const started = bench.pool.start();
    for (const worker of bench.workers) worker.ready();
    await started;
    return bench;
  }

  worker(number: number): ManualWorker {
    const worker = this.workers[number - 1];
    if (worker === undefined) throw new Error(`there is no worker ${number}`);
    return worker;
  }

  run(url = '/'): RecordedExchange {
    const exchange = new RecordedExchange(url);
    this.pool.run(exchange);
    return exchange;
  }

  /** Workers that were not asked to end. */
  get alive(): number {
    return this.workers.filter((worker) => !worker.isStopped && !worker.isGone).length;
  }
}

t.test('process-pool: grows while requests wait, in their order, to maxProcesses', async (t) => {
  const bench = await Bench.started('process-pool', { processes: 1, maxProcesses: 3 });
  t.equal(bench.workers.length, 1);
  const [one, two, three, four] = [bench.run(), bench.run(), bench.run(), bench.run()];
  t.equal(bench.workers.length, 3);
  t.match(bench.pool.counts(), { running: 1, waiting: 3, workers: 3 });
  bench.worker(2).ready();
  bench.worker(2).answer();
  bench.worker(1).answer();
  bench.worker(2).answer();
  bench.worker(1).answer();
  t.same(
    [one, two, three, four].map((exchange) => exchange?.text),
    ['worker 1', 'worker 2', 'worker 2', 'worker 1'],
  );
  bench.worker(3).ready();
  t.match(bench.pool.counts(), { running: 0, waiting: 0, workers: 3 });
});

t.test('process-pool: shrinks to what it was, when workers were idle for 30 s', async (t) => {
  const bench = await Bench.started('process-pool', { processes: 1, maxProcesses: 3 });
  for (let i = 0; i < 3; i++) bench.run();
  for (const worker of bench.workers.slice(1)) worker.ready();
  for (const worker of bench.workers) worker.answer();
  t.equal(bench.alive, 3);
  await bench.clock.pass(29_999);
  t.equal(bench.alive, 3);
  bench.run();
  bench.workers
    .find(({ sent }) => sent.filter(({ type }) => type === 'request').length > 1)
    ?.answer();
  await bench.clock.pass(1);
  t.equal(bench.alive, 1, 'the one that has worked since stays');
  await bench.clock.pass(60_000);
  t.equal(bench.alive, 1);
});

t.test('process-pool: more than backlog requests do not wait', async (t) => {
  const bench = await Bench.started('process-pool', { backlog: 1 });
  const [running, waiting, refused] = [bench.run(), bench.run(), bench.run()];
  t.match(refused, {
    status: 503,
    retryAfter: '1',
    lines: [/^1 requests wait already \(backlog\)/],
  });
  waiting.leave();
  t.match(bench.pool.counts(), { running: 1, waiting: 0 });
  const next = bench.run();
  t.equal(next.state, 'waiting');
  bench.worker(1).answer();
  bench.worker(1).answer();
  t.match([running.status, next.status], [200, 200]);
  t.equal(
    bench
      .worker(1)
      .types()
      .filter((type) => type === 'request').length,
    2,
  );
});

t.test('process-pool: without a backlog a free worker takes requests', async (t) => {
  const bench = await Bench.started('process-pool', { backlog: 0 });
  t.equal(bench.run().state, 'open');
  t.equal(bench.run().status, 503);
});

t.test(
  'forking: spares are ready, used ones end, more than maxProcesses are refused',
  async (t) => {
    const bench = await Bench.started('forking', { processes: 2, maxProcesses: 3 });
    t.equal(bench.workers.length, 2);
    const first = bench.run();
    t.equal(bench.workers.length, 3, 'another spare');
    const second = bench.run();
    const third = bench.run();
    t.equal(third.state, 'waiting', 'for one that starts');
    t.match(bench.run(), { status: 503, retryAfter: '1' });
    bench.worker(3).ready();
    t.equal(third.state, 'open');
    t.equal(bench.workers.length, 5, 'three that run, two spares');
    const used = bench.workers.filter(({ sent }) => sent.some(({ type }) => type === 'request'));
    t.equal(used.length, 3);
    for (const worker of used) {
      worker.answer();
      t.ok(worker.isStopped);
      t.equal(worker.types().filter((type) => type === 'request').length, 1);
    }
    t.match([first.status, second.status, third.status], [200, 200, 200]);
    const fourth = bench.run();
    t.equal(fourth.state, 'waiting');
    t.equal(bench.workers.length, 5, 'no more before used ones have ended');
    for (const worker of used) worker.exit('ended with status 0');
    await settled();
    t.equal(bench.workers.length, 6, 'one for the request, two spares');
    t.same(bench.lines, []);
  },
);

t.test('a request beyond its deadline: at a worker, and while it waits', async (t) => {
  const bench = await Bench.started('process-pool', { deadlineMs: 500 });
  const [running, waiting] = [bench.run('/slow'), bench.run()];
  await bench.clock.pass(500);
  for (const exchange of [running, waiting]) {
    t.match(exchange, { status: 504, lines: [/no answer within 500 ms \(deadlineMs\)/] });
  }
  const worker = bench.worker(1);
  t.same(worker.types(), ['request', 'abort', 'ping']);
  worker.say({ type: 'over', id: 1 });
  worker.say({ type: 'pong' });
  await bench.clock.pass(10_000);
  t.notOk(worker.isKilled);
  t.equal(bench.run().state, 'open');
});

t.test('a worker that does not answer a ping is killed, its other requests get 502', async (t) => {
  const bench = await Bench.started('reload');
  const [left, other] = [bench.run('/left'), bench.run('/other')];
  left.leave();
  await bench.clock.pass(999);
  t.notOk(bench.worker(1).isKilled);
  await bench.clock.pass(1);
  t.ok(bench.worker(1).isKilled);
  t.match(other, { status: 502, lines: [/^GET \/other: worker 1 was ended: it did not answer/] });
  t.equal(bench.workers.length, 2, 'replaced at once');
});

t.test('one ping is under way, for however many aborts', async (t) => {
  const bench = await Bench.started('reload');
  const exchanges = [bench.run(), bench.run(), bench.run()];
  for (const exchange of exchanges) exchange.leave();
  const pings = () =>
    bench
      .worker(1)
      .types()
      .filter((type) => type === 'ping').length;
  t.equal(pings(), 1);
  await bench.clock.pass(900);
  bench.worker(1).say({ type: 'pong' });
  t.equal(pings(), 2, 'for those that came after the first');
  await bench.clock.pass(900);
  bench.worker(1).say({ type: 'pong' });
  t.equal(pings(), 2);
  await bench.clock.pass(10_000);
  t.notOk(bench.worker(1).isKilled);
});

t.test('workers that do not start are tried again after 1, 2, 4 … 30 s', async (t) => {
  const bench = await Bench.started('process-pool');
  bench.worker(1).exit('ended with status 1');
  await settled();
  t.equal(bench.workers.length, 1, 'it was of no use');
  const refused = bench.run();
  t.match(refused, {
    status: 503,
    retryAfter: '1',
    text: /^503 The program cannot be started at the moment\.\n$/,
    lines: [/no worker can be started: worker 1 ended with status 1$/],
  });
  for (const [at, delayMs] of [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000].entries()) {
    await bench.clock.pass(delayMs - 1);
    t.equal(bench.workers.length, at + 1);
    await bench.clock.pass(1);
    t.equal(bench.workers.length, at + 2, `after ${delayMs} ms`);
    const waits = bench.run();
    t.equal(waits.state, 'waiting', 'as long as one is being started');
    bench.worker(at + 2).exit('ended with status 1');
    await settled();
    t.equal(waits.status, 503);
  }
  await bench.clock.pass(30_000);
  const served = bench.run();
  bench.workers.at(-1)?.ready();
  bench.workers.at(-1)?.answer();
  t.equal(served.status, 200);
  bench.workers.at(-1)?.exit('ended with status 1');
  await settled();
  t.equal(bench.workers.length, 10, 'it had served: another one at once');
});

t.test('several that fail together are one failure', async (t) => {
  const bench = await Bench.started('process-pool', { processes: 3, maxProcesses: 3 });
  for (const worker of bench.workers.slice(0, 3)) worker.exit('was killed by SIGKILL');
  await settled();
  await bench.clock.pass(1000);
  t.equal(bench.workers.length, 6);
});

t.test('the start fails with the last worker, and no other one is tried', async (t) => {
  const bench = new Bench('process-pool', { processes: 2, maxProcesses: 2 });
  const started = bench.pool.start();
  bench.worker(1).exit('ended with status 1');
  await bench.clock.pass(60_000);
  bench.worker(2).say({ type: 'failed', reason: 'onWorkerStart: Error: no database' });
  bench.worker(2).exit('ended with status 1');
  await t.rejects(started, {
    message: 'worker 2 did not start: onWorkerStart: Error: no database',
  });
  await bench.clock.pass(60_000);
  t.equal(bench.workers.length, 2);
  t.equal(bench.run().status, 503);
  await bench.pool.stop(1000);
});

t.test('the start is through when one is ready, also when another one fails', async (t) => {
  const bench = new Bench('process-pool', { processes: 2, maxProcesses: 2 });
  const started = bench.pool.start();
  bench.worker(1).exit('ended with status 1');
  await settled();
  bench.worker(2).ready();
  await started;
  t.equal(bench.run().state, 'open');
  await bench.clock.pass(1000);
  t.equal(bench.workers.length, 3);
});

t.test('a program that never serves is ended', async (t) => {
  const bench = new Bench('process-pool');
  const started = bench.pool.start();
  const rejected = t.rejects(started, /worker 1 was ended: it did not call serve\(\) within 120 s/);
  await bench.clock.pass(120_000);
  await rejected;
});

t.test('a worker at its limit goes on until another one is ready', async (t) => {
  const bench = await Bench.started('process-pool', { maxRequests: 2 });
  const worker = bench.worker(1);
  bench.run();
  worker.answer();
  t.equal(bench.workers.length, 1);
  bench.run();
  worker.answer();
  t.equal(bench.workers.length, 2);
  const third = bench.run();
  worker.answer();
  t.equal(third.text, 'worker 1');
  bench.worker(2).exit('ended with status 1');
  await settled();
  t.equal(bench.run().state, 'open', 'nor does it end when the other one fails');
  worker.answer();
  await bench.clock.pass(1000);
  const fourth = bench.run();
  bench.worker(3).ready();
  t.notOk(worker.isStopped, 'not within a request');
  worker.answer();
  t.equal(fourth.text, 'worker 1');
  t.ok(worker.isStopped);
  const fifth = bench.run();
  bench.worker(3).answer();
  t.equal(fifth.text, 'worker 3');
  t.same(bench.lines, ['worker 2 ended with status 1 before it took requests']);
});

t.test('a worker that asks for it is replaced', async (t) => {
  const bench = await Bench.started('thread-pool', { threads: 2 });
  bench.worker(1).say({ type: 'retire', reason: 'it has 3 MB of memory' });
  bench.worker(1).say({ type: 'retire', reason: 'it has 4 MB of memory' });
  t.equal(bench.workers.length, 3);
  t.notOk(bench.worker(1).isStopped);
  bench.worker(3).ready();
  t.ok(bench.worker(1).isStopped);
  t.same(bench.lines, ['worker 1 is replaced: it has 3 MB of memory']);
});

t.test('a worker that does not end after its last request is killed', async (t) => {
  const bench = await Bench.started('forking', { processes: 1, stopMs: 5000 });
  bench.run();
  const worker = bench.worker(1);
  worker.answer();
  t.same(worker.sent.at(-1), { type: 'stop', stopMs: 5000 });
  await bench.clock.pass(5999);
  t.notOk(worker.isKilled);
  await bench.clock.pass(1);
  t.ok(worker.isKilled);
  t.same(bench.lines, ['worker 1 was ended: it did not stop within 5000 ms']);
});

t.test('stop: what was accepted is finished, by workers that may have to be started', async (t) => {
  const bench = await Bench.started('process-pool', { processes: 1, maxProcesses: 2 });
  const [running, waiting] = [bench.run(), bench.run()];
  let isStopped = false;
  const stopped = bench.pool.stop(10_000).then(() => {
    isStopped = true;
  });
  t.match(bench.run(), { status: 503, text: /is being stopped/ });
  bench.worker(2).ready();
  bench.worker(2).answer();
  t.ok(bench.worker(2).isStopped, 'nothing is left for it');
  await bench.clock.pass(4000);
  bench.worker(1).answer();
  t.same(bench.worker(1).sent.at(-1), { type: 'stop', stopMs: 6000 }, 'what is left');
  t.match([running.status, waiting.status], [200, 200]);
  bench.worker(1).exit('ended with status 0');
  await settled();
  t.notOk(isStopped);
  bench.worker(2).exit('ended with status 0');
  await stopped;
  t.equal(bench.clock.pending, 0, 'no timer is left');
  t.same(bench.lines, []);
});

t.test('stop: what is not finished is broken off, and who does not end is killed', async (t) => {
  const bench = await Bench.started('process-pool', { processes: 3, maxProcesses: 3 });
  const [open, begun] = [bench.run(), bench.run()];
  const at = bench.workers.filter(({ sent }) => sent.some(({ type }) => type === 'request'));
  at[1]?.say({ type: 'head', id: 1, status: 200, reason: '', fields: [] });
  const stopped = bench.pool.stop(2000);
  await bench.clock.pass(2000);
  const isRefused = [open, begun].filter(({ status }) => status === 503);
  t.equal(isRefused.length, 1);
  t.equal([open, begun].filter(({ isBroken }) => isBroken).length, 1);
  at[0]?.say({ type: 'over', id: 1 });
  at[0]?.say({ type: 'pong' });
  t.same(at[0]?.sent.at(-1), { type: 'stop', stopMs: 0 });
  await bench.clock.pass(1000);
  await stopped;
  t.ok(bench.workers.every(({ isKilled }) => isKilled));
  t.equal(bench.clock.pending, 0);
});

t.test('stop: workers that are just being started', async (t) => {
  const bench = new Bench('process-pool');
  const started = bench.pool.start().catch(() => 'failed');
  const stopped = bench.pool.stop(1000);
  t.ok(bench.worker(1).isStopped);
  bench.worker(1).exit('ended with status 0');
  await stopped;
  t.equal(await started, 'failed');
});

async function reloaded(t: Test, bench: Bench): Promise<() => string> {
  let outcome = 'under way';
  bench.pool.replaceAll().then(
    () => {
      outcome = 'done';
    },
    (error: Error) => {
      outcome = error.message;
    },
  );
  await settled();
  t.equal(outcome, 'under way');
  return () => outcome;
}

t.test('replaceAll: others are ready before the old ones end', async (t) => {
  const bench = await Bench.started('reload');
  const long = bench.run();
  const outcome = await reloaded(t, bench);
  const between = bench.run();
  t.equal(bench.workers.length, 2);
  bench.worker(2).ready();
  await settled();
  t.equal(outcome(), 'done');
  t.match(bench.worker(1).types(), ['request', 'request'], 'it has what it has');
  const after = bench.run();
  bench.worker(2).answer();
  t.equal(after.text, 'worker 2');
  bench.worker(1).answer();
  t.equal(between.text, 'worker 1');
  t.notOk(bench.worker(1).isStopped);
  bench.worker(1).say({ type: 'head', id: 1, status: 200, reason: '', fields: [] });
  bench.worker(1).say({ type: 'end', id: 1, last: null });
  t.equal(long.status, 200);
  t.ok(bench.worker(1).isStopped);
});

t.test('replaceAll: again, while others are being started', async (t) => {
  const bench = await Bench.started('reload');
  const first = await reloaded(t, bench);
  const second = await reloaded(t, bench);
  t.equal(bench.workers.length, 3);
  t.ok(bench.worker(2).isStopped, 'it may have read what has changed since');
  bench.worker(2).exit('ended with status 0');
  bench.worker(3).ready();
  await settled();
  t.match([first(), second()], ['done', 'done']);
  t.ok(bench.worker(1).isStopped);
  t.same(bench.lines, []);
});

t.test(
  'replaceAll: the old ones stay when a new one fails, which is tried again by nobody',
  async (t) => {
    const bench = await Bench.started('reload');
    const outcome = await reloaded(t, bench);
    bench.worker(2).exit('ended with status 1');
    await settled();
    t.equal(outcome(), 'worker 2 ended with status 1 before it took requests');
    t.equal(bench.run().state, 'open');
    await bench.clock.pass(60_000);
    t.equal(bench.workers.length, 2);
  },
);

t.test('replaceAll: at once when there was none that could be started', async (t) => {
  const bench = await Bench.started('reload');
  bench.worker(1).exit('ended with status 1');
  await settled();
  t.equal(bench.run().status, 503);
  const outcome = await reloaded(t, bench);
  bench.worker(2).ready();
  await settled();
  t.equal(outcome(), 'done');
  await bench.clock.pass(60_000);
  t.equal(bench.workers.length, 2);
});

t.test('a worker that says what does not fit is ended', async (t) => {
  const bench = await Bench.started('process-pool');
  const exchange = bench.run();
  bench.worker(1).say({ type: 'body', id: 1, bytes: Buffer.from('x') });
  await settled();
  t.match(exchange, { status: 502, lines: [/was ended: an answer begins with its head$/] });
});

t.test('an answer that the connection cannot send', async (t) => {
  const bench = await Bench.started('process-pool');
  const { ProtocolError } = await import('../../protocols/protocol-error.ts');
  class Strict extends RecordedExchange {
    protected override sendHead(...head: Parameters<RecordedExchange['sendHead']>): void {
      if (head[0] === 200) throw new ProtocolError('a head of 9000 bytes', 500);
      super.sendHead(...head);
    }
  }
  const exchange = new Strict('/');
  bench.pool.run(exchange);
  bench.worker(1).answer();
  t.match(exchange, { status: 500, lines: ['a head of 9000 bytes'] });
  t.notOk(bench.worker(1).isKilled);
  t.equal(bench.run().state, 'open');
});
