// SPDX-License-Identifier: Apache-2.0
// A servlet engine with three applications, one of which a web server shows.

import t from 'tap';
import { mounts } from './behaviours/mounts.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { Tomcat } from './servers/tomcat.ts';

// The one at the root gets whatever belongs to no other.
const tomcat = await Tomcat.start(t, { context: '/app', otherContexts: ['/secret', ''] });
for (const server of servers) {
  await t.test(`${server.name}: mounts`, (t) => mounts(t, server, tomcat));
}
t.test('after the end', nothingLeft);
