// SPDX-License-Identifier: Apache-2.0
// Any packet of the launcher, and any message to it.
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../testing/properties.ts';
import { decodeMessage, encodeMessage, listOf, numberOf, textOf } from './message.ts';

const names = ['id', 'arg', 'tag', '__proto__', 'constructor', 'errno'];

t.test('any bytes are a message or refused', async (t) => {
  const pieces = fc.constantFrom(
    'id=1\0',
    'arg=\0',
    '\0',
    '=',
    'hello\0',
    '__proto__=1\0',
    'id=x\0',
  );
  const packet = fc.oneof(
    fc.uint8Array({ maxLength: 64 }).map((bytes) => Buffer.from(bytes)),
    fc.array(pieces, { maxLength: 8 }).map((parts) => Buffer.from(parts.join(''))),
  );
  await holds(
    t,
    fc.property(packet, (packet) => {
      try {
        const message = decodeMessage(packet);
        for (const name of names) {
          if (!Number.isFinite(numberOf(message, name))) return false;
          if (typeof textOf(message, name) !== 'string') return false;
          if (!listOf(message, name).every((value) => typeof value === 'string')) return false;
        }
        return message.verb !== '';
      } catch (error) {
        return error instanceof RangeError;
      }
    }),
    5000,
  );
});

t.test('a message reads back', async (t) => {
  const text = fc.string({ unit: 'grapheme' }).map((text) => text.replaceAll('\0', ''));
  const value = fc.oneof(text, fc.integer(), fc.array(text, { minLength: 1, maxLength: 4 }));
  const fields = fc.dictionary(fc.constantFrom(...names), value);
  await holds(
    t,
    fc.property(fields, (fields) => {
      const message = decodeMessage(encodeMessage('start', fields));
      return Object.entries(fields).every(([name, value]) => {
        const expected = (Array.isArray(value) ? value : [value]).map(String);
        return JSON.stringify(listOf(message, name)) === JSON.stringify(expected);
      });
    }),
    2000,
  );
});
