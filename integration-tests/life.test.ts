// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { endings, survival } from './behaviours/life.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(`${server.name}: survival`, (t) => survival(t, server));
  t.test(`${server.name}: endings`, (t) => endings(t, server));
}
t.test('after the end', nothingLeft);
