// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { keepConn } from './behaviours/keep-conn.ts';
import { otherModules } from './behaviours/mod-fcgid.ts';
import { roles } from './behaviours/roles.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, async (t) => {
    await t.test('roles', (t) => roles(t, server));
    await t.test('keep-conn', (t) => keepConn(t, server));
    if (server.kind === 'apache') {
      await t.test('other modules', (t) => otherModules(t, server));
    }
  });
}
t.test('after the end', nothingLeft);
