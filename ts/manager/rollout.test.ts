// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import t from 'tap';
import { rolloutStep, surgeOf } from './rollout.ts';

t.test('one step', async (t) => {
  const old = { wanted: 4, ready: 0, starting: 0, oldReady: 4, oldStarting: 0 };
  t.same(rolloutStep(old), { start: 1, drain: 0 }, 'a new one first');
  t.same(rolloutStep({ ...old, starting: 1 }), { start: 0, drain: 0 }, 'which is waited for');
  t.same(rolloutStep({ ...old, ready: 1 }), { start: 0, drain: 1 }, 'then an old one goes');
  t.same(rolloutStep({ ...old, wanted: 0 }), { start: 0, drain: 4 }, 'none is needed: all go');
  t.same(rolloutStep({ ...old, wanted: 2 }), { start: 0, drain: 2 }, 'fewer are needed');
  t.same(
    rolloutStep({ wanted: 1, ready: 0, starting: 0, oldReady: 0, oldStarting: 1 }),
    { start: 1, drain: 0 },
    'an old one that only starts is not waited for',
  );
});

t.test('every rollout', async (t) => {
  const ends = () =>
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 60 }),
        fc.infiniteStream(fc.boolean()),
        (wanted, turn) => {
          const now = { wanted, ready: 0, starting: 0, oldReady: wanted, oldStarting: 0 };
          for (let round = 0; round < 10 * wanted + 10; round += 1) {
            const { start, drain } = rolloutStep(now);
            now.starting += start;
            now.oldReady -= drain;
            const all = now.ready + now.starting + now.oldReady;
            // Never below what is wanted, never more above it than allowed.
            if (now.ready + now.oldReady < wanted || all > wanted + surgeOf(wanted)) return false;
            if (now.starting > 0 && turn.next().value) {
              now.starting -= 1;
              now.ready += 1;
            } else if (start === 0 && drain === 0 && now.starting > 0) {
              now.starting -= 1;
              now.ready += 1;
            }
            if (now.ready === wanted && now.oldReady === 0 && now.starting === 0) return true;
          }
          return false; // it does not end
        },
      ),
    );
  t.doesNotThrow(ends, 'ends, and has enough instances all the time');
});
