// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { FIRST_PAUSE_MS, Health, LONGEST_PAUSE_MS, STALL_MS } from './backends-health.ts';

const refused = { outcome: 'down', error: 'connection refused' } as const;
const silent = { outcome: 'timeout', error: 'no answer' } as const;

/** Looks when one is due; the time it took place at. */
function lookAt(health: Health, fromMs: number, look: Parameters<Health['end']>[0]): number {
  const at = fromMs + health.dueInMs(fromMs);
  if (!health.isDue(at)) throw new Error('no look is due');
  health.begin(at);
  health.end(look, at);
  return at;
}

t.test('one that is there', (t) => {
  const health = new Health(1_000);
  t.ok(health.isUp, 'is taken for up');
  t.ok(health.isDue(1_000), 'and looked at');
  health.begin(1_000);
  t.notOk(health.isDue(9_000), 'once at a time');
  t.notOk(health.end({ outcome: 'up' }, 1_001));
  t.equal(health.dueInMs(1_001), Number.POSITIVE_INFINITY, 'and left alone then');
  t.end();
});

t.test('one that refuses', (t) => {
  const health = new Health(0);
  let now = lookAt(health, 0, refused);
  t.notOk(health.isUp, 'is down at once');
  t.equal(health.lastError, 'connection refused');
  const pauses: number[] = [];
  for (let i = 0; i < 7; i++) {
    pauses.push(health.dueInMs(now));
    now = lookAt(health, now, refused);
  }
  t.same(pauses, [200, 400, 800, 1600, 3200, 5000, 5000], 'is looked at with growing pauses');
  now += 1_000;
  health.hurry(now);
  t.ok(health.isDue(now), 'and sooner when somebody asks for it');
  now = lookAt(health, now, refused);
  health.hurry(now);
  t.equal(health.dueInMs(now), FIRST_PAUSE_MS, 'but not all the time');
  now = lookAt(health, now, { outcome: 'up' });
  t.ok(health.isUp);
  t.equal(health.lastError, null);
  health.hurry(now + 500);
  now = lookAt(health, now + 500, refused);
  t.equal(health.dueInMs(now), LONGEST_PAUSE_MS, 'one that comes and goes keeps its pause');
  now = lookAt(health, now, { outcome: 'up' });
  health.hurry(now + 60_000);
  now = lookAt(health, now + 60_000, refused);
  t.equal(health.dueInMs(now), FIRST_PAUSE_MS, 'one that stayed up begins again');
  t.end();
});

t.test('one that does not answer', (t) => {
  const health = new Health(0);
  lookAt(health, 0, silent);
  t.ok(health.isUp, 'one slow answer changes nothing');
  t.equal(health.dueInMs(0), 0, 'but the next look');
  lookAt(health, 0, { outcome: 'up' });
  health.hurry(1_000);
  lookAt(health, 1_000, silent);
  t.ok(health.isUp, 'an answer in between counts');
  lookAt(health, 1_000, silent);
  t.notOk(health.isUp, 'two in a row are too many');
  t.end();
});

t.test('when we could not look', (t) => {
  const health = new Health(0);
  for (let i = 0; i < 5; i++) {
    lookAt(health, 10_000 * i, { outcome: 'unknown', error: 'too many open files' });
  }
  t.ok(health.isUp, 'that says nothing');
  t.end();
});

t.test('reasons to look', (t) => {
  const health = new Health(0);
  lookAt(health, 0, { outcome: 'up' });
  health.observe({ unreached: 0, served: 10, inFlight: 1 }, 1_000);
  t.notOk(health.isDue(1_000), 'not that it is used');
  health.observe({ unreached: 1, served: 11, inFlight: 1 }, 1_100);
  t.ok(health.isDue(1_100), 'a connection that failed');
  lookAt(health, 1_100, { outcome: 'up' });
  health.observe({ unreached: 1, served: 11, inFlight: 2 }, 1_100 + STALL_MS - 1);
  t.notOk(health.isDue(1_100 + STALL_MS - 1));
  health.observe({ unreached: 1, served: 11, inFlight: 2 }, 1_100 + STALL_MS);
  t.ok(health.isDue(1_100 + STALL_MS), 'requests of which none ends');
  lookAt(health, 1_100 + STALL_MS, { outcome: 'up' });
  let looks = 0;
  for (let now = 2_200; now < 62_200; now += 100) {
    health.observe({ unreached: 1, served: 11, inFlight: 2 }, now);
    if (!health.isDue(now)) continue;
    looks++;
    lookAt(health, now, { outcome: 'up' });
  }
  t.equal(looks, 5, 'ever less often: 2, 4, 8, 16 and 32 s');
  t.end();
});
