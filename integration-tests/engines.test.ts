// SPDX-License-Identifier: Apache-2.0
// Servlet engines that a class starts itself: Tomcats, behind either server.

import t from 'tap';
import { engines } from './behaviours/engines.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

// Which module serves them makes no difference to engines.
const some = servers.filter(({ name }) => name !== 'Apache prefork');
for (const server of some) {
  await t.test(`${server.name}: engines`, (t) => engines(t, server));
}
t.test('after the end', nothingLeft);
