// SPDX-License-Identifier: Apache-2.0

import t from 'tap';
import { answersOfFailures, causes } from './behaviours/explain.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

t.test('causes', causes);
for (const server of servers) {
  t.test(`${server.name}: what failures are answered`, (t) => answersOfFailures(t, server));
}
t.test('after the end', nothingLeft);
