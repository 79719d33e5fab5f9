// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { restMs } from './rest.ts';

const never = { dueMs: Number.POSITIVE_INFINITY };

t.test('a manager rests until something is due', (t) => {
  t.equal(restMs([], 5_000), 900, 'the launcher wants to hear from it');
  t.equal(restMs([never], 5_000), 900);
  t.equal(restMs([never, { dueMs: 9_000 }], 5_000), 900);
  t.equal(restMs([{ dueMs: 5_600 }, never, { dueMs: 5_300.5 }], 5_000), 301, 'until the first is');
  t.equal(restMs([{ dueMs: 5_600 }, { dueMs: 5_000 }], 5_000), 0, 'one is due');
  t.equal(restMs([never, { dueMs: 0 }], 5_000), 0, 'one wants every look');
  t.end();
});
