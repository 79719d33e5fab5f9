// SPDX-License-Identifier: Apache-2.0
// Classes at public addresses, behind web servers without our modules.

import t from 'tap';
import { publicAddresses, publicWithModule } from './behaviours/public.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { lighttpd, stockNginx } from './servers/stock.ts';

t.test('stock nginx, UNIX socket', (t) => publicAddresses(t, stockNginx, 'UNIX socket'));
t.test('lighttpd, TCP port', (t) => publicAddresses(t, lighttpd, 'TCP port'));
for (const server of servers) {
  t.test(`${server.name}: a public address`, (t) => publicWithModule(t, server));
}
t.test('after the end', nothingLeft);
