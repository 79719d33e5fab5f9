// SPDX-License-Identifier: Apache-2.0
// Servlet engines behind classes of -protocol ajp: two Tomcats for all servers.

import { randomBytes } from 'node:crypto';
import t from 'tap';
import { ajp } from './behaviours/ajp.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { Tomcat } from './servers/tomcat.ts';

const secret = randomBytes(12).toString('hex');
const options = { secret, context: '/app' };
const [a, b] = await Promise.all([
  Tomcat.start(t, { ...options, route: 'a' }),
  Tomcat.start(t, { ...options, route: 'b' }),
]);
for (const server of servers) {
  await t.test(`${server.name}: servlets`, (t) => ajp(t, server, { a, b, secret }));
}
t.test('after the end', nothingLeft);
