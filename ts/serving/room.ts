// SPDX-License-Identifier: Apache-2.0
// Memory that all output is made in, each write over the one before: memory that is taken anew costs more
// than all that is copied to it.
import type { Duplex } from 'node:stream';

/** A record or packet of the longest kind, and what goes with it. */
export const ROOM_BYTES = (64 << 10) + (4 << 10);
/** Kept for when output has to wait. */
const SPARE_MAX = 16;

let current: Buffer = Buffer.allocUnsafeSlow(ROOM_BYTES);
const spare: Buffer[] = [];

/** Whoever writes to it gives it to the socket's write() and calls leaveRoom(), with nothing in between. */
export function room(): Buffer {
  return current;
}

/** What was made in the room was given to write(). The socket: one whose write() copies at once. */
export function leaveRoom(socket: Duplex): void {
  if (socket.writableLength === 0) return;
  const left = current;
  current = spare.pop() ?? Buffer.allocUnsafeSlow(ROOM_BYTES);
  if (!socket.writableNeedDrain) return; // nobody tells when it is free
  socket.once('drain', () => {
    if (spare.length < SPARE_MAX) spare.push(left);
  });
}
