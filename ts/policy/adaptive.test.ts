// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { adaptive } from './adaptive.ts';
import { driven } from './testing/facts.ts';

const wanted = (...[facts, nowMs = 0]: [Parameters<ReturnType<typeof driven>>[0], number?]) =>
  driven(adaptive)(facts, nowMs);

t.test('a cold class', async (t) => {
  t.equal(wanted({}), 0, 'nothing is started for nobody');
  t.equal(wanted({ min: 3 }), 3, 'the minimum always runs');
  t.equal(wanted({ waiting: 200 }), 1, 'gets one instance, whoever waits');
  t.equal(
    wanted({ waiting: 200, starting: 1, coldForMs: 2_999 }),
    1,
    'still one before -startDelay has passed',
  );
  t.equal(wanted({ waiting: 200, starting: 1, coldForMs: 3_000 }), 2, 'another after -startDelay');
  t.equal(wanted({ waiting: 1, starting: 1, coldForMs: 9_000 }), 1, 'never more than requests');
});

t.test('a warm class of which nothing is known yet', async (t) => {
  t.equal(wanted({ ready: 1, inFlight: 1, waiting: 6 }), 7, 'covers what waits at once');
  t.equal(wanted({ ready: 1, inFlight: 1, waiting: 60 }), 10, 'up to its limit');
  t.equal(wanted({ ready: 1, inFlight: 4, waiting: 5, concurrency: 4 }), 3, 'by places');
  t.equal(
    wanted({ ready: 1, starting: 2, inFlight: 1, waiting: 90, max: 100 }),
    33,
    'thirty-two starting at once',
  );
  t.equal(
    wanted({ ready: 50, inFlight: 50, waiting: 900, max: 500 }),
    100,
    'or as many as are ready',
  );
});

t.test('idleness', async (t) => {
  t.equal(wanted({ ready: 1, idleForMs: 299_999 }), 1, 'the last one stays until -idle-stop');
  t.equal(wanted({ ready: 1, idleForMs: 300_000 }), 0, 'and then goes');
  t.equal(wanted({ ready: 4, min: 2, idleForMs: 300_000 }), 2, 'down to the minimum');
  t.equal(
    wanted({ ready: 4, idleForMs: 300_000, pool: { instances: 6, min: 5, max: 50 } }),
    3,
    'or to that of the pool',
  );
  t.equal(wanted({ ready: 1, idleForMs: 1e9, idleStopMs: 0 }), 1, '-idle-stop 0 means never');
});

t.test('shrinking', async (t) => {
  const step = driven(adaptive);
  t.equal(step({ ready: 1, waiting: 8 }, 0), 8);
  for (let now = 100; now < 9_000; now += 100) step({ ready: 8 }, now);
  t.equal(step({ ready: 8 }, 9_000), 8, 'instances are held for a while');
  let last = 8;
  for (let now = 9_100; last > 1; now += 100) {
    const next = step({ ready: last }, now);
    t.ok(next === last || next === last - 1, 'then they go one by one');
    last = next;
    if (now > 30_000) throw new Error('it does not shrink');
  }
  t.equal(step({ ready: 1, waiting: 4, inFlight: 5 }, 40_000), 9, 'and are back at once');
});
