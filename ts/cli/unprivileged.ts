// SPDX-License-Identifier: Apache-2.0
// Whom root lets do what needs no rights: the manager's own user, else nobody.
import { readFileSync } from 'node:fs';

export interface User {
  name: string;
  uid: number;
  gid: number;
}

/** @param passwd Text of /etc/passwd. @throws When there is neither. */
export function unprivilegedUser(passwd = readFileSync('/etc/passwd', 'utf8')): User {
  const lines = passwd.split('\n').map((line) => line.split(':'));
  for (const name of ['usher', 'nobody']) {
    const [, , uid, gid] = lines.find(([known]) => known === name) ?? [];
    if (uid !== undefined && Number(uid) > 0) return { name, uid: Number(uid), gid: Number(gid) };
  }
  throw new Error('neither a user usher nor nobody is there, and this is not to run as root');
}
