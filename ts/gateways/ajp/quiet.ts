// SPDX-License-Identifier: Apache-2.0
// Whether a connection that was idle can be used: what has come meanwhile would be taken for the answer
// to the next request. Node tells of it only when the event loop comes to it, which may be too late.
import type { Socket } from 'node:net';
import { native } from '../../native/native.ts';

/** Node's own name for it. */
interface WithHandle {
  _handle?: { fd?: number } | null;
}

export function isQuiet(socket: Socket): boolean {
  const fd = (socket as unknown as WithHandle)._handle?.fd ?? -1;
  return fd >= 0 && native.isQuiet(fd);
}
