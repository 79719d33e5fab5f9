// SPDX-License-Identifier: Apache-2.0
// Engines of AJP 1.2 behind classes of -protocol ajp12.

import t from 'tap';
import { ajp12 } from './behaviours/ajp12.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) t.test(`${server.name}: AJP 1.2`, (t) => ajp12(t, server));
t.test('after the end', nothingLeft);
