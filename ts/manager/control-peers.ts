// SPDX-License-Identifier: Apache-2.0
// Who may use the control socket. Its mode says so already; this holds as well where somebody changes
// that, or hands a connection to another user.
import { statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { native } from '../native/native.ts';

/**
 * Why who is at the other end may not; null = may: root, the manager's own user, the launcher's and the
 * owner of the runtime directory.
 * @param welcome Of the launcher.
 */
export function refuseOthers(welcome: {
  uid: number;
  runtimeDir: string;
}): (peer: Socket) => string | null {
  const allowed = new Set<number | null>([
    0,
    process.geteuid?.() ?? 0,
    welcome.uid,
    ownerOf(welcome.runtimeDir),
  ]);
  return (socket) => {
    const uid = uidOf(socket);
    if (uid !== null && allowed.has(uid)) return null;
    const who = uid === null ? 'it is not known who you are' : `you are user ${uid}`;
    return `${who}: only root and the owner of ${welcome.runtimeDir} may use this manager`;
  };
}

/** null = we may not go there to look. */
function ownerOf(folder: string): number | null {
  try {
    return statSync(folder).uid;
  } catch {
    return null;
  }
}

/** null = the system does not tell, or the connection has ended. */
function uidOf(socket: Socket): number | null {
  // Node has no public name for the descriptor of a socket.
  const fd = (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd;
  try {
    return fd === undefined ? null : native.peer(fd).uid;
  } catch {
    return null; // it is no socket any more
  }
}
