// SPDX-License-Identifier: Apache-2.0
// The servers under which every behaviour is tried.

import { apacheEvent, apachePrefork } from './apache.ts';
import { nginx } from './nginx.ts';
import type { WebServer } from './web-server.ts';

export { apacheEvent, apachePrefork, nginx };

const all = [nginx, apacheEvent, apachePrefork];
const chosen = process.env.USHER_TEST_SERVERS?.split(',').map((name) => name.trim());

const unknown = chosen?.filter((name) => !all.some((server) => server.name === name)) ?? [];
if (unknown.length > 0) {
  const known = all.map(({ name }) => name).join(', ');
  throw new Error(`USHER_TEST_SERVERS: no server "${unknown.join(', ')}"; there are ${known}`);
}

/** All, or those that USHER_TEST_SERVERS names, as in "nginx,Apache event". */
export const servers: WebServer[] =
  chosen === undefined ? all : all.filter(({ name }) => chosen.includes(name));
