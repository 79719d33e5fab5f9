// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { Leftovers } from './leftovers.ts';

t.test('asked first, killed when they do not end', async (t) => {
  const signals: number[][] = [];
  const leftovers = new Leftovers({ signal: (id, signal) => signals.push([id, signal]) });
  leftovers.end(4, 1_000);
  leftovers.end(5, 1_000);
  t.same(signals.splice(0), [
    [4, 15],
    [5, 15],
  ]);
  leftovers.forget(4);
  leftovers.pass(10_999);
  t.same(signals, []);
  leftovers.pass(11_000);
  leftovers.pass(12_000);
  t.same(signals, [[5, 9]], 'once');
});
