// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { service, unitFile } from './behaviours/systemd.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

t.test('the unit', unitFile);
for (const server of servers) {
  t.test(server.name, (t) => service(t, server));
}
t.test('after the end', nothingLeft);
