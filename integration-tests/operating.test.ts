// SPDX-License-Identifier: Apache-2.0
// The command line, as administrators use it.

import t from 'tap';
import { operating } from './behaviours/operating.ts';
import { serverReload } from './behaviours/server-reload.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

t.test('usher run', operating);
for (const server of servers) {
  t.test(`${server.name}: usher reload`, (t) => serverReload(t, server));
}
t.test('after the end', nothingLeft);
