// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { installing, kinds } from './behaviours/installing.ts';
import { servers } from './servers/index.ts';
import { PrivateHost } from './servers/private-host.ts';

for (const server of kinds.filter(({ kind }) => servers.some((one) => one.kind === kind))) {
  t.test(server.kind, async (t) => {
    const host = await PrivateHost.create(t);
    if (host !== null) return installing(t, host, server);
    t.pass('no namespaces here', { skip: 'they take root and a system that lets it' });
  });
}
