// SPDX-License-Identifier: Apache-2.0
import type { Host } from '../host.ts';
import type { ServerKind } from '../manifest.ts';
import { findApache } from './apache.ts';
import { findNginx } from './nginx.ts';
import type { WebServer } from './server.ts';

/** @throws Error when it is not installed. */
export function findServer(kind: ServerKind, host: Host): Promise<WebServer> {
  return kind === 'nginx' ? findNginx(host) : findApache(host);
}
