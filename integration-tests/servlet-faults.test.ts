// SPDX-License-Identifier: Apache-2.0
// Servlet engines that fail, one way or another, and requests that have to come through nevertheless.

import { randomBytes } from 'node:crypto';
import t from 'tap';
import { servletFaults } from './behaviours/servlet-faults.ts';
import { servletLoad } from './behaviours/servlet-load.ts';
import { apachePrefork, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { Tomcat } from './servers/tomcat.ts';

const secret = randomBytes(12).toString('hex');
const options = { secret, context: '/app' };
const [a, b, small] = await Promise.all([
  Tomcat.start(t, { ...options, route: 'a' }),
  Tomcat.start(t, { ...options, route: 'b' }),
  Tomcat.start(t, {
    ...options,
    packetBytes: 65536,
    connector: { maxThreads: '2', minSpareThreads: '1', acceptCount: '1', maxConnections: '6' },
  }),
]);
const tried = servers.length === 1 ? servers : servers.filter((server) => server !== apachePrefork);
for (const server of tried) {
  await t.test(`${server.name}: faults`, (t) => servletFaults(t, server, { a, b, small, secret }));
  await t.test(`${server.name}: load`, (t) => servletLoad(t, server, { a, b, secret }));
}
t.test('after the end', nothingLeft);
