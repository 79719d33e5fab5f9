// SPDX-License-Identifier: Apache-2.0
// Addresses of backends as the configuration names them.

export type BackendAddress = { host: string; port: number } | { path: string };

/** host:port, [v6]:port or unix:/path. */
export function parseAddress(name: string): BackendAddress {
  if (name.startsWith('unix:/')) return { path: name.slice('unix:'.length) };
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):0*(\d{1,5})$/.exec(name);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port >= 1 && port <= 65535)) {
    throw new Error(`backend ${name}: expected host:port, [IPv6 address]:port or unix:/path`);
  }
  return { host, port };
}
