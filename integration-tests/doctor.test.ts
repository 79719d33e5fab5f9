// SPDX-License-Identifier: Apache-2.0
// usher doctor, on servers that are well and on broken ones. Process models of Apache are all one to it.

import t from 'tap';
import { doctorFinds } from './behaviours/doctor.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers.filter(({ name }) => name !== 'Apache prefork')) {
  t.test(`${server.name}: usher doctor`, (t) => doctorFinds(t, server));
}
t.test('after the end', nothingLeft);
