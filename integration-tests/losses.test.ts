// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { losses } from './behaviours/losses.ts';
import { apachePrefork, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

// Apache's process models share all that could lose a request: one of them will do, unless prefork
// is all that was asked for.
const tried = servers.length === 1 ? servers : servers.filter((server) => server !== apachePrefork);

for (const server of tried) {
  t.test(server.name, (t) => losses(t, server));
}
t.test('after the end', nothingLeft);
