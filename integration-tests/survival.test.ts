// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { shortChaos, staleDirectory, survival } from './behaviours/survival.ts';
import { apachePrefork, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { scheduleOf } from './torture/chaos/schedule.ts';

// As with losses, one of Apache's process models will do.
const tried = servers.length === 1 ? servers : servers.filter((server) => server !== apachePrefork);

for (const server of tried) {
  t.test(`${server.name}: survival`, (t) => survival(t, server));
  t.test(`${server.name}: a stale directory`, (t) => staleDirectory(t, server));
}
t.test('the schedule of a chaos', async (t) => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  const steps = scheduleOf(7, names, 60_000);
  t.same(scheduleOf(7, names, 60_000), steps, 'a seed gives the same again');
  t.not(scheduleOf(8, names, 60_000)[0]?.seed, steps[0]?.seed);
  t.same(
    steps
      .slice(0, 5)
      .map(({ action }) => action)
      .sort(),
    names,
    'each comes before any again',
  );
  t.ok(steps.every(({ atMs }, i) => atMs >= (steps[i - 1]?.atMs ?? 0) && atMs < 60_000));
  const short = scheduleOf(7, names, 1);
  t.same(new Set(short.map(({ action }) => action)), new Set(names), 'however short it is');
});
t.test('chaos', (t) => shortChaos(t, tried));
t.test('after the end', nothingLeft);
