// SPDX-License-Identifier: Apache-2.0
// Sockets that all read into one buffer. Node makes one of 64 kB for each read and gives back what was not
// needed: for small requests that is an eighth of a program's time. `onread` spares it, but only a socket
// that is made by hand can have it, so that one takes over what the server has accepted.
import { type Server, Socket, type SocketConstructorOpts } from 'node:net';

const READ_BYTES = 64 << 10;

/** What was read, until the callback returns. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

/** Of lib/net.js: as they are since there is `onread` (Node 12), and not documented. */
interface Internals {
  _handle: object | null;
  _server: Server | null;
}

type Take = (bytes: Buffer) => void;

class AcceptedSocket extends Socket {
  onBytes: Take = () => undefined;

  constructor(handle: object, server: Server) {
    const onread = {
      buffer: shared,
      callback: (length: number) => {
        const bytes = Buffer.allocUnsafe(length);
        shared.copy(bytes, 0, 0, length);
        this.onBytes(bytes);
        return true;
      },
    };
    super({ handle, allowHalfOpen: true, onread } as SocketConstructorOpts);
    (this as unknown as Internals)._server = server; // which counts its connections
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
  return new AcceptedSocket(handle, server);
}

/** Any socket. @param take Gets bytes that nobody writes to again. */
export function readFrom(socket: Socket, take: Take): void {
  if (socket instanceof AcceptedSocket) socket.onBytes = take;
  else socket.on('data', take);
  socket.resume();
}
