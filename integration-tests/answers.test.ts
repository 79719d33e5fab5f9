// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { answers } from './behaviours/answers.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) {
  t.test(server.name, (t) => answers(t, server));
}
t.test('after the end', nothingLeft);
