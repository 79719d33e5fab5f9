// SPDX-License-Identifier: Apache-2.0
// Whatever a secret is, and wherever a program prints it, nobody reads it in a journey.
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../testing/properties.ts';
import { beginJourney, endBeforeReady } from './journeys.ts';
import { Masker } from './secrets.ts';

/** None that the texts around them hold anyway. */
const secret = fc
  .string({ minLength: 6, maxLength: 40, unit: 'grapheme' })
  .filter((text) => !text.includes('\0') && new Set(text).size > 3 && /[^\s*]{4}/u.test(text))
  .map((text) => `q${text}Z`);
const secretName = fc
  .tuple(
    fc.constantFrom('', 'DB_', 'my', 'X1_'),
    fc.constantFrom('PASSWORD', 'Secret', 'token', 'KEY', 'CREDENTIAL', 'CREDENTIALS', 'PASSWD'),
    fc.constantFrom('', '_FILE', '2'),
  )
  .map((parts) => parts.join(''));

const program = { key: 'app', args: ['/bin/app'], user: 'u', group: null, gateway: null };
const rest = { cwd: '/', resourceLimits: [] };

function textsIn(value: unknown): string[] {
  if (typeof value === 'string') return [value];
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(textsIn) : [];
}

t.test('the value of a secret variable', async (t) => {
  const property = fc.property(
    secretName,
    secret,
    fc.string({ unit: 'grapheme' }),
    fc.string({ unit: 'grapheme' }),
    fc.nat(8),
    (name, value, before, after, cut) => {
      const masker = new Masker([`${name}=${value}`, `COPY=a ${value} b`]);
      const output = masker.text(`${before}${value}${after}\n${value}`.slice(cut));
      const args = ['/bin/app', value, `--x=${value}`];
      const journey = beginJourney({ ...program, ...rest, args }, masker);
      const exit = { exitCode: 1, exitSignal: null, livedMs: 1, rssBytes: 0, cpuS: null, output };
      endBeforeReady(journey, exit, null);
      return textsIn(journey).every((text) => !text.includes(value));
    },
  );
  await holds(t, property, 500);
});

t.test('the password of an address', async (t) => {
  const password = fc
    .string({ minLength: 1, maxLength: 40 })
    .filter((text) => !/[\s\0]/.test(text))
    .map((text) => `q${text}Z`);
  const property = fc.property(
    fc.constantFrom('postgres', 'redis', 'amqps', 'mongodb+srv', 'https'),
    fc.constantFrom('', 'user', 'a.b'),
    password,
    (scheme, user, value) => {
      const address = `${scheme}://${user}:${value}@host:1/db`;
      const masker = new Masker([`WHERE=${address}`]);
      const told = [masker.text(`to ${address}: refused`), ...masker.environment].join('\n');
      return !told.includes(value) && told.includes('@host');
    },
  );
  await holds(t, property, 500);
});

t.test('any text, in bounded time', async (t) => {
  const masker = new Masker(['A_TOKEN=abcdefgh', 'B_KEY=aaaaaaaaaaaa']);
  const words = fc.constantFrom(
    'a',
    '://',
    ':',
    '@',
    'password',
    '=',
    '"',
    'abcdefgh',
    ' ',
    '-----BEGIN PRIVATE KEY-----',
  );
  const property = fc.property(fc.array(words, { maxLength: 2000 }), (parts) => {
    return !masker.text(parts.join('')).includes('abcdefgh');
  });
  await holds(t, property, 100);
});
