// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { classic, score, smooth } from './classic.ts';
import type { ClassFacts } from './policy.ts';
import { driven, idle } from './testing/facts.ts';

const WINDOW_S = 300;
const rounded = (value: number) => Math.round(value * 100) / 100;

t.test('the score: load of the instances left, in percent, by real division', async (t) => {
  const exact = (instances: number, busyS: number) => rounded(score(busyS / WINDOW_S, instances));
  t.equal(exact(2, 120), 40);
  t.equal(exact(2, 150), 50);
  t.equal(exact(2, 160), 53.33);
  t.equal(exact(3, 310), 51.67);
  t.equal(exact(3, 450), 75);
  t.equal(exact(5, 760), 63.33);
  t.equal(exact(1, 30), 10, 'the only one is judged by its own load');
});

t.test('smoothing with gain 0.5', async (t) => {
  let value = 0;
  const smoothed = [100, 100, 0, 0, 0, 0].map((load) => {
    value = smooth(value, load, 0.5, 1);
    return rounded(value);
  });
  t.same(smoothed, [50, 75, 37.5, 18.75, 9.38, 4.69]);
  t.equal(smooth(100, 0, 0.5, 3), 12.5, 'three intervals missed fade like three');
  t.equal(smooth(smooth(80, 20, 0.3, 0.4), 20, 0.3, 0.6), smooth(80, 20, 0.3, 1), 'by parts');
  t.equal(smooth(40, 90, 0, 5), 40, 'gain 0 trusts the past');
  t.equal(smooth(40, 90, 1, 0.1), 90, 'gain 1 the present');
});

/** A class of `ready` idle instances that served `busyMs` in the last interval, looked at once a
 * second; what is wanted after each second. */
function afterInterval(ready: number, busyMs: number, more: Partial<ClassFacts> = {}) {
  const step = driven(classic, { pool: { instances: ready, min: 0, max: 50 }, ...more });
  let wanted = ready;
  for (let now = 0; now <= 300_000; now += 1_000) {
    const servingMs = (busyMs * now) / 300_000;
    wanted = step({ ready, servingMs, completed: now / 1_000 }, now);
  }
  return { wanted, step };
}

t.test('a decision each -killInterval', async (t) => {
  t.equal(afterInterval(2, 120_000).wanted, 1, 'two at 40 %: one goes');
  t.equal(afterInterval(2, 151_000).wanted, 2, 'two at more than 50 %: both stay');
  t.equal(afterInterval(3, 310_000).wanted, 3, 'three at 51.7 % stay');
  t.equal(afterInterval(3, 290_000).wanted, 2, 'three at 48.3 % do not');
  t.equal(afterInterval(1, 0).wanted, 1, 'the only one stays with -singleThreshold 0');
  const single = { classic: { ...idle.classic, singleThreshold: 10 } };
  t.equal(afterInterval(1, 29_000, single).wanted, 0, 'below -singleThreshold it goes');
  t.equal(afterInterval(1, 31_000, single).wanted, 1);
});

t.test('one at a time, and only as long as nobody needs it', async (t) => {
  const { wanted, step } = afterInterval(4, 0);
  t.equal(wanted, 3);
  t.equal(step({ ready: 4, inFlight: 4 }, 300_100), 4, 'all are busy: none goes now');
  t.equal(step({ ready: 4, inFlight: 3 }, 300_200), 3, 'one is idle: it goes');
  t.equal(step({ ready: 3 }, 300_300), 3, 'and no other until the next decision');
  t.equal(step({ ready: 3 }, 599_900), 3);
  t.equal(step({ ready: 3 }, 600_000), 2);
  t.equal(step({ ready: 3, inFlight: 3, waiting: 1, arrivals: 1 }, 600_100), 3, 'a request waits');
  t.equal(step({ ready: 3, arrivals: 1 }, 600_200), 3, 'and that decision is void');
});

t.test('-minProcesses is exact', async (t) => {
  const pool = (instances: number, min: number) => ({ pool: { instances, min, max: 50 } });
  t.equal(afterInterval(4, 0, pool(5, 5)).wanted, 4, 'not one below it in all classes together');
  t.equal(afterInterval(4, 0, pool(6, 5)).wanted, 3, 'but down to it');
  t.equal(afterInterval(4, 0, { pool: null, min: 4 }).wanted, 4, 'a class may have its own');
});

t.test('a pool that is nearly full decides at once', async (t) => {
  const step = driven(classic, { pool: { instances: 45, min: 0, max: 50 } });
  step({ ready: 3 }, 0);
  t.equal(step({ ready: 3 }, 900), 3);
  t.equal(step({ ready: 3 }, 1_000), 2, 'within a second');
  t.equal(step({ ready: 2 }, 1_500), 2);
  t.equal(step({ ready: 2 }, 2_000), 1, 'one a second');
  t.equal(step({ ready: 1 }, 4_000), 1);

  const busy = driven(classic, { pool: { instances: 45, min: 0, max: 50 } });
  busy({ ready: 3, inFlight: 3 }, 0);
  t.equal(
    busy({ ready: 3, completed: 30, servingMs: 2_900 }, 1_000),
    3,
    'with the load of the second that has passed',
  );
  const own = driven(classic, { pool: null, max: 8 });
  own({ ready: 4 }, 0);
  t.equal(own({ ready: 4 }, 1_000), 3, 'a class that counts for itself is its own pool');
});

t.test('intervals that were missed', async (t) => {
  const step = driven(classic, { pool: { instances: 4, min: 0, max: 50 } });
  step({ ready: 4 }, 0);
  // Forty minutes at 1.8 instances' worth, then one look: 60 % for the three that would be left.
  const servingMs = 1.8 * 2_400_000;
  t.equal(step({ ready: 4, completed: 9, servingMs }, 2_400_000), 4, 'keep their own length');
});

t.test('growing', async (t) => {
  const step = driven(classic, { pool: { instances: 1, min: 0, max: 50 } });
  t.equal(step({}, 0), 0, 'nothing is started for nobody');
  t.equal(step({ waiting: 30, arrivals: 30 }, 100), 1, 'a cold class gets one');
  t.equal(step({ starting: 1, waiting: 29, inFlight: 1, arrivals: 30 }, 200), 1);
  const waits = { ready: 1, inFlight: 1, waiting: 29, arrivals: 30 };
  t.equal(step(waits, 3_000), 1, 'nobody has waited for -startDelay');
  t.equal(step(waits, 3_100), 2, 'now somebody has');
  t.equal(step({ ...waits, starting: 1 }, 3_300), 2, 'one at a time');
  t.equal(step({ ...waits, starting: 1 }, 6_100), 3, 'unless it takes too long');
  t.equal(step({ ...waits, ready: 3, inFlight: 3, waiting: 27 }, 6_200), 4, 'and again');
  t.equal(
    step({ ready: 4, inFlight: 4, waiting: 20, arrivals: 60 }, 6_300),
    4,
    'those who wait now came later',
  );
  t.equal(
    step({ ...waits, ready: 10, inFlight: 10, arrivals: 60 }, 60_000),
    10,
    '-maxClassProcesses',
  );
});

t.test('an instance that never gets ready', async (t) => {
  const step = driven(classic, { pool: { instances: 1, min: 0, max: 50 } });
  t.equal(step({ waiting: 2, arrivals: 2 }, 0), 1);
  const cold = { starting: 1, inFlight: 1, waiting: 1, arrivals: 2 };
  t.equal(step({ ...cold, coldForMs: 2_900 }, 2_900), 1);
  t.equal(step({ ...cold, coldForMs: 3_000 }, 3_000), 2, 'gets a sibling after -startDelay');
});

t.test('the intervals before', async (t) => {
  const pool = { instances: 3, min: 0, max: 50 };
  const step = driven(classic, { pool, classic: { ...idle.classic, gain: 0.2 } });
  step({ ready: 3 }, 0);
  const busy = { ready: 3, completed: 1, servingMs: 600_000 };
  t.equal(step(busy, 300_000), 3, 'the first one counts in full');
  t.equal(step(busy, 600_000), 3, 'then nothing comes: 80 % of the load before is left');
  t.equal(step(busy, 900_000), 3, '64 %');
  t.equal(step(busy, 1_200_000), 3, '51 %');
  t.equal(step(busy, 1_500_000), 2, '41 %');
});

t.test('a request counts while it runs, not at its end', async (t) => {
  const step = driven(classic, { pool: { instances: 2, min: 0, max: 50 } });
  const running = { ready: 2, inFlight: 1 };
  for (let now = 0; now < 300_000; now += 100) step(running, now);
  t.equal(step(running, 300_000), 2, 'one that takes an hour keeps the load at 100 %');
});
