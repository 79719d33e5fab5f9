// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import {
  endings,
  instances,
  ordinaryUser,
  orphans,
  stopping,
  twoServers,
} from './behaviours/lives.ts';
import { apacheEvent, nginx, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(`${server.name}: instances`, (t) => instances(t, server));
  t.test(`${server.name}: endings`, (t) => endings(t, server));
  t.test(`${server.name}: an ordinary user`, (t) => ordinaryUser(t, server));
  t.test(`${server.name}: usher stop`, (t) => stopping(t, server));
}
if (servers.includes(nginx)) t.test('nginx: a killed master', orphans);
if (servers.includes(nginx) && servers.includes(apacheEvent)) t.test('two servers', twoServers);
t.test('after the end', nothingLeft);
