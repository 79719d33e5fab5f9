// SPDX-License-Identifier: Apache-2.0
// What a sanitizer does not see: mappings, descriptors and pools that a master has more of after each
// reload. Without instrumentation, so that its memory is what it is in use.

import t from 'tap';
import { reloadCycles } from '../behaviours/reload-cycles.ts';
import { servers } from '../servers/index.ts';
import { nothingLeft } from '../servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, (t) => reloadCycles(t, server, 200));
}
t.test('after the end', nothingLeft);
