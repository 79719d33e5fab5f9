// SPDX-License-Identifier: Apache-2.0
// Any text as usher.conf or as a registration, with the validator that is really used: what cannot be
// used is an error that says where, never an exception of another kind.
import fc from 'fast-check';
import t from 'tap';
import { native } from '../native/native.ts';
import { holds } from '../testing/properties.ts';
import { ConfigError } from './config-error.ts';
import { parseDialect, readDialect } from './dialect.ts';
import { readLines } from './lines.ts';

const word = fc.oneof(
  fc.constantFrom(
    ...['AppClass', 'ExternalAppClass', 'FCGIConfig', 'UsherServer', 'UsherRoot', 'UsherLog'],
    ...['/usr/bin/app', 'name', '-processes', '2', '-host', '127.0.0.1:9000', '-initial-env'],
    ...['A=b', '-generation', '-pid', '-kind', '-user', '-socket', '-command', '"a b"', "'c'"],
  ),
  fc.string({ unit: 'binary', maxLength: 12 }),
);
const line = fc.array(word, { maxLength: 9 }).map((words) => words.join(' '));
const text = fc.oneof(
  fc.array(line, { maxLength: 12 }).map((lines) => lines.join('\n')),
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({
    unit: fc.constantFrom('"', "'", '\\', ' ', '\t', '\r', '\n', '#', 'a', '-', '/', '\0'),
    maxLength: 60,
  }),
);

t.test('any text', async (t) => {
  await holds(
    t,
    fc.property(text, (text) => {
      const { registration, errors } = readDialect(text, 'usher.conf', native);
      const count = text.split('\n').length;
      for (const error of errors) {
        if (!(error instanceof ConfigError)) return false;
        if (error.file !== 'usher.conf' || !(error.line >= 1 && error.line <= count)) return false;
        if (!/^.+:\d+: ./s.test(error.message)) return false;
      }
      const names = registration.classes.map(({ name }) => name);
      return new Set(names).size === names.length;
    }),
    2000,
  );
});

t.test('a text that must be right as a whole', async (t) => {
  await holds(
    t,
    fc.property(text, (text) => {
      const { errors } = readDialect(text, 'usher.conf', native);
      try {
        parseDialect(text, 'usher.conf', native);
        return errors.length === 0;
      } catch (error) {
        return error instanceof ConfigError && errors.length > 0;
      }
    }),
    500,
  );
});

t.test('a text in two parts has the lines of both', async (t) => {
  const whole = fc.array(line, { maxLength: 8 });
  await holds(
    t,
    fc.property(whole, fc.nat(8), (lines, cut) => {
      const safe = lines.map((line) => line.replace(/[\r\n]/g, ' ').replace(/\\$/, ''));
      const at = Math.min(cut, safe.length);
      const read = (part: string[]) => readLines(part.join('\n'), 'f').map(({ words }) => words);
      const parts = [...read(safe.slice(0, at)), ...read(safe.slice(at))];
      return JSON.stringify(read(safe)) === JSON.stringify(parts);
    }),
    500,
  );
});

/** The rule of native/registration/dialect.c; native/fuzz/dialect_fuzz.c holds it to that. */
function written(words: string[]): string {
  const quoted = words.map((word) =>
    /^[A-Za-z0-9/._\-+:=@%,]+$/.test(word) ? word : `"${word.replace(/["\\]/g, '\\$&')}"`,
  );
  return `${quoted.join(' ')}\n`;
}

t.test('what a server writes reads back, and nothing before or after it changes', async (t) => {
  const allowed = fc.string({ unit: 'binary', minLength: 1, maxLength: 1 }).filter((unit) => {
    return unit >= ' ' && unit !== '\x7f'; // a server refuses control characters
  });
  const printable = fc.string({ unit: allowed });
  const directive = fc.array(printable, { minLength: 2, maxLength: 6 });
  await holds(
    t,
    fc.property(fc.array(directive), (directives) => {
      const text = directives.map((words) => `# at /etc/x.conf:7\n${written(words)}`).join('');
      const lines = readLines(text, 'f');
      return (
        JSON.stringify(lines.map(({ words }) => words)) === JSON.stringify(directives) &&
        lines.every(({ error, source }) => error === null && source === '/etc/x.conf:7')
      );
    }),
    500,
  );
});
