// SPDX-License-Identifier: Apache-2.0
// Configurations that are read again, other binaries, other users.

import t from 'tap';
import { reload, stoppedBefore } from './behaviours/reload.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(`${server.name}: reload`, (t) => reload(t, server));
  t.test(`${server.name}: stopped before its servers`, (t) => stoppedBefore(t, server));
}
t.test('after the end', nothingLeft);
