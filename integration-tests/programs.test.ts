// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { programs } from './behaviours/programs.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, (t) => programs(t, server));
}
t.test('after the end', nothingLeft);
