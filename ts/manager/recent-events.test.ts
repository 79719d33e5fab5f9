// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import type { Log } from './log.ts';
import { RecentEvents } from './recent-events.ts';

function recorder() {
  const logged: string[] = [];
  const events = new RecentEvents('2025-01-02T03:04:00.000Z');
  const log: Log = events.recording((_level, event) => logged.push(event));
  return { events, log, logged };
}

t.test('events as the log has them', async (t) => {
  const { events, log, logged } = recorder();
  log('info', 'instance.ready', { class: 'php', pid: 7, text: 'is ready' });
  log('info', 'instance.output', { class: 'php', line: 'hello' });
  log('debug', 'manager.thought', {});
  log('warn', 'backend.down', { class: 'pair', address: '10.0.0.5:1', error: 'refused' });
  log('info', 'server.gone', { server: 'nginx-1', text: null });
  t.equal(logged.length, 5, 'the log gets all of them');
  t.match(events.after(0), {
    startedAt: '2025-01-02T03:04:00.000Z',
    events: [
      { number: 1, level: 'info', event: 'instance.ready', class: 'php', text: 'is ready' },
      { number: 2, level: 'warn', class: 'pair', text: 'address 10.0.0.5:1, error refused' },
      { number: 3, event: 'server.gone', class: null, server: 'nginx-1', text: '' },
    ],
  });
  t.equal(events.after(0).events.length, 3);
  t.same(
    events.after(2).events.map(({ number }) => number),
    [3],
  );
});

t.test('so many, so long, and no more', async (t) => {
  const { events, log } = recorder();
  for (let i = 0; i < 600; i += 1) log('info', 'x.y', { text: 'z'.repeat(10_000) });
  const all = events.after(0).events;
  t.equal(all.length, 500);
  t.same([all[0]?.number, all.at(-1)?.number], [101, 600]);
  t.equal(all[0]?.text.length, 500);
});
