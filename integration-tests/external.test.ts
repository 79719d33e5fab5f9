// SPDX-License-Identifier: Apache-2.0
// Programs that somebody else runs.

import t from 'tap';
import { external } from './behaviours/external.ts';
import { externalHosts } from './behaviours/external-hosts.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(`${server.name}: external programs`, (t) => external(t, server));
  t.test(`${server.name}: several hosts`, (t) => externalHosts(t, server));
}
t.test('after the end', nothingLeft);
