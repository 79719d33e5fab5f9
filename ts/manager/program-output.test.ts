// SPDX-License-Identifier: Apache-2.0
// What is kept of programs' output, and what one that writes without end costs. The clock stands still.
import t from 'tap';
import { ProgramOutput } from './program-output.ts';

interface Line {
  event: string;
  fields: Readonly<Record<string, unknown>>;
}

function make(hasSpace = () => true) {
  const clock = { nowMs: 1_000 };
  const logged: Line[] = [];
  const output = new ProgramOutput(
    (_level, event, fields) => logged.push({ event, fields }),
    () => clock.nowMs,
    hasSpace,
  );
  return { clock, logged, output };
}

t.test('each line is logged, and kept', async (t) => {
  const { logged, output } = make();
  output.add({ class: 'a', pid: 7 }, 'one\n\ntwo\n');
  output.add({ class: 'a', pid: 8, engine: 'e1' }, 'three');
  output.add({ class: 'b', pid: 9 }, 'other\n');
  t.same(logged, [
    { event: 'instance.output', fields: { class: 'a', pid: 7, line: 'one' } },
    { event: 'instance.output', fields: { class: 'a', pid: 7, line: 'two' } },
    { event: 'engine.output', fields: { class: 'a', pid: 8, engine: 'e1', line: 'three' } },
    { event: 'instance.output', fields: { class: 'b', pid: 9, line: 'other' } },
  ]);
  const lines = output.read('a', 0, 10);
  t.match(lines, [
    { pid: 7, text: 'one' },
    { pid: 7, text: 'two' },
    { pid: 8, text: 'three' },
  ]);
  t.same(output.read('a', lines[0]?.id ?? 0, 10), lines.slice(1), 'those after another');
  t.same(output.read('a', 0, 1), lines.slice(2), 'the newest of them');
  t.same(output.read('nobody', 0, 10), []);
  output.forget('a');
  t.same(output.read('a', 0, 10), []);
});

t.test('of each class the last lines, of all together no more than fits', async (t) => {
  const { clock, output } = make();
  const since = output.since('a');
  for (let i = 0; i < 1_500; i++) {
    clock.nowMs += 1_000;
    output.add({ class: 'a', pid: 1 }, `line ${i}`);
  }
  const lines = output.read('a', 0, 5_000);
  t.equal(lines.length, 1_000);
  t.equal(lines[0]?.text, 'line 500');
  t.ok(output.since('a') >= since);

  const long = 'x'.repeat(1_000);
  for (let label = 0; label < 300; label++) {
    for (let i = 0; i < 100; i++) {
      clock.nowMs += 100;
      output.add({ class: `class ${label}`, pid: 1 }, long);
    }
  }
  const kept = Array.from({ length: 300 }, (_, i) => output.read(`class ${i}`, 0, 5_000).length);
  const bytes = kept.reduce((sum, count) => sum + count * (long.length + 100), 0);
  t.ok(bytes <= 16 << 20, 'all together');
  t.ok(bytes >= 8 << 20);
  t.equal(kept.at(-1), 100, 'who writes last is not the one who gives');
});

t.test('a program that writes without end', async (t) => {
  const { clock, logged, output } = make();
  const chunk = 'y\n'.repeat(16_384);
  let written = 0;
  for (let i = 0; i < 1_000; i++) {
    clock.nowMs += 1;
    output.add({ class: 'loud', pid: 1 }, chunk);
    written += chunk.length;
  }
  output.dropped('loud', 1_000_000);
  written += 1_000_000;
  const lines = logged.length;
  t.ok(lines > 5_000 && lines < 12_000, `${lines} lines of a second`);
  output.add({ class: 'quiet', pid: 2 }, 'hello');
  t.equal(logged.at(-1)?.fields.line, 'hello', 'costs others nothing');
  output.tell();
  const dropped = logged.at(-1);
  t.equal(dropped?.event, 'output.dropped');
  t.match(dropped?.fields, { class: 'loud', text: /bytes of output dropped/ });
  t.equal(Number(dropped?.fields.bytes) + 2 * lines, written, 'every byte is written or counted');
  t.match(output.read('loud', 0, 1), [{ pid: 0, droppedBytes: dropped?.fields.bytes }]);
  output.dropped('loud', 5);
  output.tell();
  t.equal(logged.at(-1), dropped, 'not more often than every 10 s');
  clock.nowMs += 10_000;
  output.tell();
  t.match(logged.at(-1), { event: 'output.dropped', fields: { bytes: 5 } });
  output.add({ class: 'loud', pid: 1 }, 'again');
  t.equal(logged.at(-1)?.fields.line, 'again', 'after a pause it is heard again');
});

t.test('the last of a file system is not for programs', async (t) => {
  let hasSpace = false;
  const { logged, output } = make(() => hasSpace);
  output.add({ class: 'a', pid: 1 }, 'lost\n');
  output.tell();
  t.match(logged, [{ event: 'output.dropped', fields: { bytes: 5 } }]);
  hasSpace = true;
  output.add({ class: 'a', pid: 1 }, 'kept\n');
  t.equal(logged.at(-1)?.fields.line, 'kept');
});

t.test('who waits is told', async (t) => {
  const { output } = make();
  await output.next(1);
  const next = output.next(60_000);
  output.add({ class: 'a', pid: 1 }, 'x');
  await next;
  t.pass('of a line, or when its time is over');
});
