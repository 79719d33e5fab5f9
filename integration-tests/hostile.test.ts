// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { hostile } from './behaviours/hostile.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, (t) => hostile(t, server));
}
t.test('after the end', nothingLeft);
