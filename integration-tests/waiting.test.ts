// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { waiting } from './behaviours/waiting.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, (t) => waiting(t, server));
}
t.test('after the end', nothingLeft);
