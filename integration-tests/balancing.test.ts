// SPDX-License-Identifier: Apache-2.0
// Engines of usher-jvm on several hosts: behind our modules, and behind mod_jk.

import t from 'tap';
import { balancing } from './behaviours/balancing.ts';
import { onHosts } from './behaviours/balancing-hosts.ts';
import { byModJk } from './behaviours/balancing-mod-jk.ts';
import { apachePrefork, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers.filter((one) => one !== apachePrefork)) {
  t.test(`${server.name}: engines on several hosts`, (t) => balancing(t, server));
}

for (const server of servers.slice(0, 1)) {
  t.test(`${server.name}: engines in network namespaces`, (t) => onHosts(t, server));
}

t.test('mod_jk: a worker for each engine', byModJk);

t.test('after the end', nothingLeft);
