// SPDX-License-Identifier: Apache-2.0
// A repository of 100 MB behind git-http-backend; it is made once, all servers show it.

import t from 'tap';
import { gitOverHttp } from './behaviours/git-over-http.ts';
import { LargeRepository } from './servers/git.ts';
import { apachePrefork, servers } from './servers/index.ts';
import { nothingLeft } from './servers/leftovers.ts';

const repository = await LargeRepository.make(t, 100 << 20);
// Between Apache's two process models nothing differs that this would show.
for (const server of servers.filter((one) => one !== apachePrefork)) {
  await t.test(`${server.name}: git over HTTP`, (t) => gitOverHttp(t, server, repository));
}
t.test('after the end', nothingLeft);
