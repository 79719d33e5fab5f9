// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import type { Channel, Damage } from '../native/native.ts';
import { DamageWatch } from './damage.ts';

t.test('damage is told at once, then once in a while with how often', (t) => {
  const found = new Map<number | null, Damage>();
  const told: Readonly<Record<string, unknown>>[] = [];
  const channel = {
    damage: (handle: number | null) => {
      const one = found.get(handle) ?? null;
      found.delete(handle);
      return one;
    },
  } as unknown as Channel;
  const watch = new DamageWatch(channel, (level, event, fields) => {
    told.push({ level, event, ...fields });
  });
  const servers = [{ name: 'nginx-1', handle: 0 }];

  watch.look(servers, 0);
  t.same(told, [], 'nothing is damaged');

  found.set(0, { times: 3, where: 7, what: 'count' });
  watch.look(servers, 100);
  const text =
    'a worker counts more requests than it can have: a worker of nginx-1 is broken or hostile';
  const first = { level: 'error', event: 'channel.damaged', server: 'nginx-1', what: 'count' };
  t.same(told, [{ ...first, where: 7, times: 3, text }], 'whose, what and where');

  for (let at = 200; at < 10_000; at += 100) {
    found.set(0, { times: 1, where: at, what: 'worker' });
    watch.look(servers, at);
  }
  t.equal(told.length, 1, 'what goes on is not told again');
  found.set(null, { times: 2, where: 5, what: 'hint' });
  watch.look(servers, 10_050);
  t.match(told[1], { what: 'hint', times: 2 }, 'what all servers share is told apart');
  t.notOk('server' in (told[1] ?? {}), 'and is nobody’s');
  watch.look(servers, 10_100);
  t.match(
    told[2],
    { server: 'nginx-1', what: 'worker', where: 9_900, times: 98 },
    'then how often',
  );
  watch.look(servers, 90_000);
  t.equal(told.length, 3, 'when it has ended nothing more is told');
  t.end();
});
