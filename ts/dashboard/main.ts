// SPDX-License-Identifier: Apache-2.0
// A program: main ADDRESS:PORT [any-host]. The dashboard in a process of its own, which may do nothing
// but ask its parent and listen. Started by the manager and by `usher dashboard`; ends with its parent.
import type { AddressInfo } from 'node:net';
import { readListen } from '../control/loopback.ts';
import { Parent } from './parent.ts';
import { createDashboard } from './server.ts';

const [address = '', anyHost] = process.argv.slice(2);
const parent = new Parent(() => process.exit(0));
// A terminal's Ctrl-C reaches the whole group; the parent ends, and we with it.
process.on('SIGINT', () => undefined);

const server = createDashboard({
  ask: (url) => parent.ask(url),
  anyHost: anyHost === 'any-host',
});
server.once('error', (error) => {
  parent.begun({ failed: error.message });
  process.disconnect?.();
});
server.listen({ ...readListen(address) }, () => {
  const { address: host, port, family } = server.address() as AddressInfo;
  const shown = family === 'IPv6' ? `[${host}]` : host;
  parent.begun({ listening: `http://${shown}:${port}/` });
});
