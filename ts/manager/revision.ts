// SPDX-License-Identifier: Apache-2.0
// What an instance was started from. Another revision of the class needs other instances: the class
// replaces them one after the other.
import { statSync } from 'node:fs';
import type { ClassConfig } from './class-config.ts';

export interface Revision {
  config: ClassConfig;
  /** Restarts that were asked for: +1 makes a new revision of the same options. */
  readonly epoch: number;
  /** programIdentity of the program's file when the revision began. */
  readonly program: string;
}

/** Device, inode, time of change and size of a program's file; '' while there is none. */
export function programIdentity(path: string): string {
  const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stats === undefined ? '' : `${stats.dev}.${stats.ino}.${stats.mtimeNs}.${stats.size}`;
}
