// SPDX-License-Identifier: Apache-2.0
// Binds a server to an address as ListenOptions has it. Errors name the address and what to do.
import { existsSync, lstatSync, renameSync, unlinkSync } from 'node:fs';
import { type AddressInfo, connect, isIPv6, type Server } from 'node:net';
import { dirname, join } from 'node:path';

export interface Bound {
  /** As in ListenOptions, the port as chosen. */
  address: string;
  /** Nobody on another host can connect. */
  isLocal: boolean;
  /** After the server was closed. */
  remove(): void;
}

/** What Linux takes of a path. */
const PATH_BYTES_MAX = 107;
let bindings = 0;

/** @param mode Of a Unix socket. */
export async function bind(server: Server, address: string, mode = 0o600): Promise<Bound> {
  if (address.startsWith('/')) return await bindPath(server, address, mode);
  const fd = /^fd:(\d{1,6})$/.exec(address)?.[1];
  if (fd !== undefined) return await bindDescriptor(server, address, Number(fd));
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(address);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3]);
  if (host === undefined || !(port <= 65535)) {
    throw new Error(
      `cannot listen at "${address}": expected host:port, [IPv6 address]:port, /path of a Unix socket or fd:N`,
    );
  }
  await listening(server, { host, port }, address);
  const bound = server.address() as AddressInfo;
  return {
    address: `${host.includes(':') ? `[${host}]` : host}:${bound.port}`,
    isLocal: isLoopback(bound.address),
    remove: () => undefined,
  };
}

async function bindDescriptor(server: Server, address: string, fd: number): Promise<Bound> {
  await listening(server, { fd }, address);
  const bound = server.address();
  const isPath = bound === null || typeof bound === 'string';
  return { address, isLocal: isPath || isLoopback(bound.address), remove: () => undefined };
}

/**
 * The socket is bound under another name and gets its own when it is ready, in place of one that nobody
 * listens at: at no moment can somebody connect who may not, and libuv, which at its end removes the name
 * that it has bound, leaves alone what another program may have put there since.
 */
async function bindPath(server: Server, path: string, mode: number): Promise<Bound> {
  await checkFree(path);
  const own = join(dirname(path), `.${process.pid.toString(36)}-${(bindings++).toString(36)}`);
  if (Math.max(path.length, own.length) > PATH_BYTES_MAX) {
    throw new Error(
      `cannot listen at ${path}: a Unix socket's path has ${PATH_BYTES_MAX} bytes at most`,
    );
  }
  unlinkIfThere(own);
  const before = process.umask(0o777 & ~mode);
  let isListening: Promise<void>;
  try {
    isListening = listening(server, { path: own }, path); // which binds within the call
  } finally {
    process.umask(before);
  }
  await isListening;
  const { ino, dev } = lstatSync(own);
  renameSync(own, path);
  return {
    address: path,
    isLocal: true,
    remove: () => {
      try {
        const now = lstatSync(path);
        if (now.ino === ino && now.dev === dev) unlinkSync(path);
      } catch {
        // it is gone already
      }
    },
  };
}

/** Throws when a program listens there, or when it is something else than a socket. */
async function checkFree(path: string): Promise<void> {
  try {
    if (!lstatSync(path).isSocket()) {
      throw new Error(`cannot listen at ${path}: there is something that is no socket`);
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return; // what is wrong there binding will tell
  }
  const code = await new Promise<string | null>((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(null);
    });
    socket.on('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? ''));
  });
  if (code === 'ECONNREFUSED' || code === 'ENOENT') return;
  const why =
    code === null || code === 'EAGAIN' ? 'another program listens there' : `it is in use (${code})`;
  throw new Error(`cannot listen at ${path}: ${why}; stop it, or choose another path`);
}

function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch {
    // it should not be there anyway
  }
}

async function listening(
  server: Server,
  options: { fd: number } | { path: string } | { host: string; port: number },
  address: string,
): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => {
      reject(
        new Error(`cannot listen at ${address}: ${reasonOf(error, address)}`, { cause: error }),
      );
    };
    server.once('error', onError);
    server.listen(options, () => {
      server.off('error', onError);
      resolve();
    });
  });
}

function reasonOf(error: NodeJS.ErrnoException, address: string): string {
  const isPath = address.startsWith('/');
  // For which libuv says EACCES.
  if (isPath && !existsSync(dirname(address))) return 'the directory does not exist; make it first';
  switch (error.code) {
    case 'EADDRINUSE':
      return 'another program listens there; stop it, or choose another address';
    case 'EACCES':
    case 'EPERM':
      return isPath
        ? 'this user may not make files in that directory'
        : 'this user may not; ports below 1024 need root or CAP_NET_BIND_SERVICE';
    case 'EADDRNOTAVAIL':
      return 'this host has no such address';
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return 'the name of the host has no address';
    case 'EBADF':
    case 'EINVAL':
    case 'ENOTSOCK':
    case 'ERR_INVALID_FD_TYPE':
      if (address.startsWith('fd:')) return 'that descriptor is no socket that can listen';
  }
  return error.message;
}

export function isLoopback(ip: string): boolean {
  const plain = ip.replace(/^::ffff:/i, '');
  return isIPv6(plain) ? plain === '::1' : plain.startsWith('127.');
}
