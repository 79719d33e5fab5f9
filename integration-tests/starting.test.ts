// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { coldStarts, failures } from './behaviours/starting.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(`${server.name}: cold starts`, (t) => coldStarts(t, server));
  t.test(`${server.name}: failures`, (t) => failures(t, server));
}
t.test('after the end', nothingLeft);
