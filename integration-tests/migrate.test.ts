// SPDX-License-Identifier: Apache-2.0
// `usher migrate`: what it writes is loaded by the real servers, and serves.

import { randomBytes } from 'node:crypto';
import t from 'tap';
import { fromFcgid, fromServletModules, fromSpawnFcgi } from './behaviours/migrate.ts';
import { apacheEvent, nginx, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { Tomcat } from './servers/tomcat.ts';

const secret = randomBytes(12).toString('hex');
const tomcat = await Tomcat.start(t, { secret, context: '/app' });
for (const server of servers.filter((one) => one === nginx || one === apacheEvent)) {
  await t.test(`mod_fcgid to ${server.name}`, (t) => fromFcgid(t, server));
  await t.test(`nginx and spawn-fcgi to ${server.name}`, (t) => fromSpawnFcgi(t, server));
  await t.test(`mod_jk and mod_proxy_ajp to ${server.name}`, (t) => {
    return fromServletModules(t, server, { tomcat, secret });
  });
}
t.test('after the end', nothingLeft);
