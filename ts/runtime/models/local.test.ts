// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import type { Exchange } from '../exchange.ts';
import { MemoryExchange } from '../handlers/testing/memory-exchange.ts';
import { LocalModel, type LocalSettings } from './local.ts';

const settings = {
  atATime: Number.POSITIVE_INFINITY,
  backlog: 10,
  deadlineMs: 0,
  maxRequests: 0,
  maxMemoryMb: 0,
};

/** Its handler keeps what it gets in `begun`, until the test answers it. */
function world(given: Partial<LocalSettings> = {}) {
  const begun: Exchange[] = [];
  const worn: string[] = [];
  const model = new LocalModel(
    (exchange) => begun.push(open(exchange)),
    { ...settings, ...given },
    {
      onWorn: (reason) => worn.push(reason),
    },
  );
  const run = () => {
    const exchange = new MemoryExchange();
    model.run(exchange);
    return exchange;
  };
  return { model, begun, worn, run };
}

function open(exchange: Exchange): Exchange {
  exchange.open({ onBody() {}, onBodyEnd() {}, onAbort() {}, onDrain() {} });
  return exchange;
}

function answer(exchange: Exchange | undefined): void {
  exchange?.begin(200, '', []);
  exchange?.end();
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test('concurrent: as many as come', async (t) => {
  const { model, begun, run } = world();
  const exchanges = [run(), run(), run()];
  t.same(begun, exchanges);
  t.same(model.counts(), { running: 3, waiting: 0, workers: 1 });
  for (const exchange of exchanges) answer(exchange);
  t.same(model.counts(), { running: 0, waiting: 0, workers: 1 });
});

t.test('sequential: one at a time, in their order, who leaves has no turn', async (t) => {
  const { model, begun, run } = world({ atATime: 1, backlog: 3 });
  const exchanges = [run(), run(), run(), run()];
  const refused = run();
  t.equal(refused.status, 503);
  t.match(refused.reports, [/3 requests wait already \(backlog\)/]);
  t.same(begun, exchanges.slice(0, 1));
  exchanges[1]?.abort(new Error('left'));
  t.same(model.counts(), { running: 1, waiting: 2, workers: 1 });
  answer(begun[0]);
  t.equal(begun.length, 1, 'not inside the end of the one before');
  await turn();
  t.same(begun, [exchanges[0], exchanges[2]]);
  begun[1]?.breakOff();
  await turn();
  t.same(begun.length, 3);
  answer(begun[2]);
  t.same(model.counts(), { running: 0, waiting: 0, workers: 1 });
});

t.test('stop finishes what runs and waits', async (t) => {
  const { model, begun, run } = world({ atATime: 1 });
  run();
  run();
  let hasStopped = false;
  const stopped = model.stop(60_000).then(() => {
    hasStopped = true;
  });
  answer(begun[0]);
  await turn();
  t.equal(begun.length, 2);
  t.equal(hasStopped, false);
  answer(begun[1]);
  await stopped;
});

t.test('stop cuts off what does not end', async (t) => {
  const { model, run } = world({ atATime: 1 });
  const exchanges = [run(), run()];
  await model.stop(0);
  for (const exchange of exchanges) {
    t.equal(exchange.status, 503);
    t.match(exchange.reports, [/cut off, as the program stops \(stopMs\)/]);
  }
});

t.test('enough: told once, after so many requests', async (t) => {
  const { begun, worn, run } = world({ maxRequests: 2 });
  for (let i = 0; i < 3; i++) run();
  for (const exchange of begun) answer(exchange);
  t.same(worn, ['it has served 2 requests (maxRequests)']);
  const large = world({ maxMemoryMb: 1 });
  large.run();
  answer(large.begun[0]);
  t.match(large.worn, [/^it has \d+ MB of memory, allowed are 1 \(maxMemoryMb\)$/]);
});

t.test('deadline', async (t) => {
  const { model, begun, run } = world({ atATime: 1, deadlineMs: 50 });
  await model.start();
  const exchanges = [run(), run()];
  while (exchanges.some(({ state }) => state !== 'over')) await turn();
  t.same(
    exchanges.map(({ status }) => status),
    [504, 504],
    'one that runs, one that waits or has just begun',
  );
  t.ok(begun.length >= 1);
  await model.stop(0);
});

t.test('deadline: a handler that computes for ever', async (t) => {
  const model = new LocalModel(
    (exchange) => {
      open(exchange);
      exchange.alarm?.(() => {
        for (;;);
      });
    },
    { ...settings, deadlineMs: 50 },
    { onWorn: () => undefined },
  );
  await model.start();
  const exchange = new MemoryExchange();
  model.run(exchange);
  t.equal(exchange.status, 504);
  t.match(exchange.reports, [/no answer within 50 ms \(deadlineMs\)/]);
  await model.stop(0);
});
