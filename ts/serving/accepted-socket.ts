// SPDX-License-Identifier: Apache-2.0
// Sockets that all read into one buffer. Node makes one of 64 kB for each read and gives back what was not
// needed: for small requests that is an eighth of a program's time. `onread` spares it, but only a socket
// that is made by hand can have it, so that one takes over what the server has accepted.
import { type Server, Socket, type SocketConstructorOpts } from 'node:net';
import type { Duplex } from 'node:stream';

const READ_BYTES = 64 << 10;

/** What was read, until the callback returns. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

/** Of lib/net.js: as they are since there is `onread` (Node 12), and not documented. */
interface Internals {
  _handle: object | null;
  _server: Server | null;
}

export type Take = (bytes: Buffer) => void;

class SharingSocket extends Socket {
  onBytes: Take = () => undefined;
  lends = false;

  constructor(options: SocketConstructorOpts | { handle: object; allowHalfOpen: boolean }) {
    const onread = {
      buffer: shared,
      callback: (length: number) => {
        const bytes = shared.subarray(0, length);
        this.onBytes(this.lends ? bytes : Buffer.from(bytes));
        return true;
      },
    };
    super({ ...options, onread } as SocketConstructorOpts);
  }
}

/**
 * What takes its place.
 * @param given By a server with pauseOnConnect and allowHalfOpen; nobody has touched it yet.
 */
export function accepted(given: Socket): Socket {
  const inner = given as unknown as Internals;
  const { _handle: handle, _server: server } = inner;
  if (!handle || !server) return given; // a Node that has changed, or who was there has gone
  inner._handle = null;
  inner._server = null;
  const socket = new SharingSocket({ handle, allowHalfOpen: true });
  (socket as unknown as Internals)._server = server; // which counts its connections
  return socket;
}

/** What takes the place of a pipe to a program that was started. @param given Nobody has touched it yet. */
export function piped(given: Duplex): Duplex {
  const inner = given as unknown as Internals;
  const { _handle: handle } = inner;
  if (!handle) return given;
  inner._handle = null;
  return new SharingSocket({ handle, allowHalfOpen: false });
}

/** A descriptor that was inherited. */
export function inherited(fd: number): Socket {
  return new SharingSocket({ fd, readable: true, writable: true });
}

/** Bytes given to its write() are in the kernel once its writableLength is 0: they may be written over. */
export function copiesAtOnce(socket: Duplex): boolean {
  return socket instanceof SharingSocket;
}

/** Any socket. @param take Gets bytes that nobody writes to again. */
export function readFrom(socket: Duplex, take: Take): void {
  if (socket instanceof SharingSocket) socket.onBytes = take;
  else socket.on('data', take);
  socket.resume();
}

/** Any socket. @param take Gets bytes that others are written over as soon as it returns. */
export function borrowFrom(socket: Duplex, take: Take): void {
  if (socket instanceof SharingSocket) socket.lends = true;
  readFrom(socket, take);
}
