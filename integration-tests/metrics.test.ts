// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { metrics } from './behaviours/metrics.ts';
import { statusPage } from './behaviours/status-page.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, (t) => metrics(t, server));
  t.test(`${server.name}: the status page`, (t) => statusPage(t, server));
}
t.test('after the end', nothingLeft);
