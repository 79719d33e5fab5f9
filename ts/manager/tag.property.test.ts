// SPDX-License-Identifier: Apache-2.0
// Any text that a launcher gives back in place of a tag.
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../testing/properties.ts';
import { parseTag, type Tag } from './tag.ts';

const tag: Tag = {
  label: 'app',
  key: '/usr/bin/app',
  kind: 'static',
  server: null,
  asker: 'nginx-1',
  index: 3,
  generation: 4,
  run: 'f00',
  epoch: 0,
  program: '1:2:3',
  start: 'k41x2mz3q',
  engine: '127.0.0.1:8009',
};

const kinds: Record<keyof Tag, (value: unknown) => boolean> = {
  label: (value) => typeof value === 'string',
  key: (value) => typeof value === 'string',
  kind: (value) => value === 'static' || value === 'dynamic' || value === 'external',
  server: (value) => value === null || typeof value === 'string',
  asker: (value) => value === null || typeof value === 'string',
  index: Number.isSafeInteger,
  generation: Number.isSafeInteger,
  run: (value) => typeof value === 'string',
  epoch: (value) => Number.isSafeInteger(value),
  program: (value) => typeof value === 'string',
  start: (value) => value === undefined || typeof value === 'string',
  engine: (value) => value === undefined || typeof value === 'string',
};

t.test('any text is a whole tag or none', async (t) => {
  t.same(parseTag(JSON.stringify(tag)), tag);
  const changed = fc
    .tuple(fc.constantFrom(...Object.keys(tag)), fc.jsonValue({ maxDepth: 1 }))
    .map(([name, value]) => JSON.stringify({ ...tag, [name]: value }));
  const missing = fc
    .constantFrom(...Object.keys(tag))
    .map((name) => JSON.stringify({ ...tag, [name]: undefined }));
  await holds(
    t,
    fc.property(fc.oneof(changed, missing, fc.json(), fc.string()), (text) => {
      const read = parseTag(text);
      if (read === null) return true;
      return Object.entries(kinds).every(([name, isRight]) => isRight(read[name as keyof Tag]));
    }),
    5000,
  );
});
