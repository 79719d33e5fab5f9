// SPDX-License-Identifier: Apache-2.0
// What a line of the log looks like, and that docs/logging.md names every event.
import { closeSync, fstatSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { createLog } from './log.ts';

/** The file, and what is in it after `write`. @param stream Of JOURNAL_STREAM, by the file. */
function written(t: Test, stream?: (dev: bigint, ino: bigint) => string): string[] {
  const path = join(t.testdir(), 'usher.log');
  const fd = openSync(path, 'a');
  const { dev, ino } = fstatSync(fd, { bigint: true });
  const log = createLog(fd, stream ? { JOURNAL_STREAM: stream(dev, ino) } : {});
  log('info', 'instance.ready', { class: 'php', pid: 7, afterMs: 31, text: 'pid 7 is ready' });
  log('warn', 'class.failed', { class: 'a"\n<3>b' });
  log('error', 'manager.crashed', {});
  closeSync(fd);
  return readFileSync(path, 'utf8').trimEnd().split('\n');
}

t.test('a line of JSON an event', async (t) => {
  const [first = '', second = '', third = '', ...others] = written(t);
  t.same(others, []);
  const { time, ...rest } = JSON.parse(first) as Record<string, unknown>;
  t.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  const fields = { class: 'php', pid: 7, afterMs: 31, text: 'pid 7 is ready' };
  t.same(rest, { level: 'info', event: 'instance.ready', ...fields });
  t.match(JSON.parse(second), { level: 'warn', class: 'a"\n<3>b' });
  t.match(JSON.parse(third), { level: 'error', event: 'manager.crashed' });
});

t.test('the journal is told priorities', async (t) => {
  const lines = written(t, (dev, ino) => `${dev}:${ino}`);
  t.same(
    lines.map((line) => line.slice(0, 4)),
    ['<6>{', '<4>{', '<3>{'],
  );
  for (const line of lines) t.type(JSON.parse(line.slice(3)), 'object');
  const elsewhere = written(t, (dev, ino) => `${dev}:${ino + 1n}`);
  t.ok(
    elsewhere.every((line) => line.startsWith('{')),
    'only where our output is the journal',
  );
});

const root = fileURLToPath(new URL('../..', import.meta.url));
const folders = ['ts/manager', 'ts/gateways', 'ts/process', 'ts/dashboard', 'native/launcher'];
const files =
  /\.(?:png|ico|svg|html|css|js|mjs|json|sock|conf|log|lock|new|allow|php|fcgi|cgi|sh)$/;

/** What stands in quotes in the code and is no file's name: noun.verb. */
function eventsOfCode(): Set<string> {
  const sources = folders
    .flatMap((folder) =>
      readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map(
        (name) => `${folder}/${name}`,
      ),
    )
    .filter((name) => /\.(?:ts|c)$/.test(name) && !/\.test\.ts$|\/testing\/|\/page\//.test(name));
  const found = sources.flatMap((name) => [
    ...readFileSync(join(root, name), 'utf8').matchAll(
      /(['"])([a-z]+(?:-[a-z]+)*\.[a-z]+(?:-[a-z]+)*)\1/g,
    ),
  ]);
  return new Set(found.map(([, , event = '']) => event).filter((event) => !files.test(event)));
}

t.test('docs/logging.md', async (t) => {
  const text = readFileSync(join(root, 'docs/logging.md'), 'utf8');
  const named = new Set(
    [...text.matchAll(/`([a-z-]+\.[a-z-]+)`/g)].map(([, event]) => event ?? ''),
  );
  const events = eventsOfCode();
  t.ok(events.has('instance.ready') && events.has('launcher.started') && events.size > 80);
  t.same([...events].filter((event) => !named.has(event)).sort(), [], 'names every event');
  const rows = [...text.matchAll(/^\| (`[^|]+) \|/gm)].flatMap(([, cell = '']) =>
    [...cell.matchAll(/`([^`]+)`/g)].map(([, event]) => event ?? ''),
  );
  t.same(
    rows.filter((event) => !events.has(event)),
    [],
    'and none that there is not',
  );
});
