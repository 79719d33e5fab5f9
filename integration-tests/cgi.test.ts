// SPDX-License-Identifier: Apache-2.0
// Plain CGI programs.

import t from 'tap';
import { cgi } from './behaviours/cgi.ts';
import { servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

for (const server of servers) t.test(`${server.name}: CGI programs`, (t) => cgi(t, server));
t.test('after the end', nothingLeft);
