// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { httpoxy } from './behaviours/httpoxy.ts';
import { permissions } from './behaviours/permissions.ts';
import { secrets } from './behaviours/secrets.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, async (t) => {
    await t.test('httpoxy', (t) => httpoxy(t, server));
    await t.test('secrets', (t) => secrets(t, server));
    await t.test('permissions', (t) => permissions(t, server));
  });
}
t.test('after the end', nothingLeft);
