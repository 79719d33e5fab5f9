// SPDX-License-Identifier: Apache-2.0
// The servers under which every behaviour is tried.

import { apacheEvent, apachePrefork } from './apache.ts';
import { nginx } from './nginx.ts';
import type { WebServer } from './web-server.ts';

export { apacheEvent, apachePrefork, nginx };

const all = [nginx, apacheEvent, apachePrefork];
const chosen = process.env.USHER_TEST_SERVERS?.split(',').map((name) => name.trim());

/** All, or those that USHER_TEST_SERVERS names, as in "nginx,Apache event". */
export const servers: WebServer[] =
  chosen === undefined ? all : all.filter(({ name }) => chosen.includes(name));
