// SPDX-License-Identifier: Apache-2.0
// Listening where only this machine comes in.

/** @param address ADDRESS:PORT or [ADDRESS]:PORT; null when it is neither. */
export function readListen(address: string): { host: string; port: number } | null {
  const match = /^(?:\[([\da-fA-F:.]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const port = Number(match?.[3]);
  const host = match?.[1] ?? match?.[2];
  return host === undefined || port > 65_535 ? null : { host, port };
}

export function isLoopback(host: string): boolean {
  return /^127(\.\d{1,3}){3}$/.test(host) || host === '::1' || host === 'localhost';
}

/**
 * Was a request made with an address of this machine, or through a name that somebody else's page
 * made mean this machine (DNS rebinding)?
 * @param header Host.
 */
export function asksForLoopback(header: string | undefined): boolean {
  const match = /^(?:\[([\da-f:]+)\]|([^:]+))(?::\d{1,5})?$/i.exec(header ?? '');
  return isLoopback((match?.[1] ?? match?.[2] ?? '').toLowerCase());
}
