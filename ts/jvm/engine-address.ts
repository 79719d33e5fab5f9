// SPDX-License-Identifier: Apache-2.0
// Where the engine listens.
import type { JservProperties } from '../config/jserv-properties.ts';

export type EngineAddress = { host: string; port: number } | { path: string };

/** As Usher says it of an engine that it starts, since a class may have several from one file; else as the
 * file does. */
export function engineAddress(
  { bindAddress, port }: JservProperties,
  env: NodeJS.ProcessEnv = process.env,
): EngineAddress {
  const { USHER_ADDRESS = '', USHER_HOST, USHER_PORT } = env;
  if (USHER_ADDRESS.startsWith('unix:')) return { path: USHER_ADDRESS.slice('unix:'.length) };
  if (USHER_HOST && USHER_PORT) return { host: USHER_HOST, port: Number(USHER_PORT) };
  return { host: bindAddress === 'localhost' ? '127.0.0.1' : (bindAddress ?? '0.0.0.0'), port };
}

export function spelled(address: EngineAddress): string {
  if ('path' in address) return address.path;
  const { host, port } = address;
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
