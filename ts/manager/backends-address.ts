// SPDX-License-Identifier: Apache-2.0
// What the addresses of an external class are called, and which of them are names.
import { isIP } from 'node:net';
import type { Address } from '../native/native.ts';

/** An address that can be connected to. Equal texts are one backend. */
export interface Target {
  /** "10.0.0.5:9000", "[::1]:9000", "/run/php.sock". */
  text: string;
  address: Address;
}

export type Host = { target: Target } | { name: string; port: number };

/** "127.0.0.1:9000", "[::1]:9000" or "name:9000", as the validator lets through. */
export function readHost(text: string): Host {
  const at = text.lastIndexOf(':');
  const name = text.slice(0, at).replace(/^\[(.*)\]$/, '$1');
  const port = Number(text.slice(at + 1));
  return isIP(name) === 0 ? { name, port } : { target: inetTarget(name, port) };
}

/** @param host An IPv4 or IPv6 address. */
export function inetTarget(host: string, port: number): Target {
  const isSix = isIP(host) === 6;
  return {
    text: isSix ? `[${host}]:${port}` : `${host}:${port}`,
    address: { kind: isSix ? 'inet6' : 'inet', host, port },
  };
}

export function unixTarget(path: string): Target {
  return { text: path, address: { kind: 'unix', path } };
}
