// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { replacing, sharing } from './behaviours/replacing.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(`${server.name}: replacing`, (t) => replacing(t, server));
  t.test(`${server.name}: sharing`, (t) => sharing(t, server));
}
t.test('after the end', nothingLeft);
