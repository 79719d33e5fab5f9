// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { sharedPlace, waiting } from './behaviours/waiting.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, (t) => waiting(t, server));
}
t.test('two servers at one instance', (t) => {
  const first = servers[0]!;
  return sharedPlace(t, [first, servers.find(({ kind }) => kind !== first.kind) ?? first]);
});
t.test('after the end', nothingLeft);
