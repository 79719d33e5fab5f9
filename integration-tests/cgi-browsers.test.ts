// SPDX-License-Identifier: Apache-2.0
// Two programs that show repositories, configured as docs/cgi.md says: cgit (C) and gitweb (Perl).

import t from 'tap';
import { repositoryBrowsers } from './behaviours/repository-browsers.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(`${server.name}: repository browsers`, (t) => repositoryBrowsers(t, server));
}
t.test('after the end', nothingLeft);
