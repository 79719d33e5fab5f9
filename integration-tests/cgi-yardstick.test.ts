// SPDX-License-Identifier: Apache-2.0
// CGI programs under Usher, beside the same ones under fcgiwrap (nginx) and mod_cgid (Apache).

import t from 'tap';
import { yardstick } from './behaviours/cgi-yardstick.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers)
  t.test(`${server.name}: CGI as elsewhere`, (t) => yardstick(t, server));
t.test('after the end', nothingLeft);
