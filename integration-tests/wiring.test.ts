// SPDX-License-Identifier: Apache-2.0
// Runtime directories, users, several servers with one manager, and the manager without a server.

import t from 'tap';
import { absentManager, refusals } from './behaviours/refusals.ts';
import { sharing } from './behaviours/sharing.ts';
import { users } from './behaviours/users.ts';
import { withoutServer } from './behaviours/without-server.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(`${server.name}: refusals`, (t) => refusals(t, server));
  t.test(`${server.name}: users`, (t) => users(t, server));
}
t.test('a manager that somebody else should start', (t) => absentManager(t, servers));
t.test('two servers, one manager', sharing);
t.test('usher run', withoutServer);
t.test('after the end', nothingLeft);
