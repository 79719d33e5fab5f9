// SPDX-License-Identifier: Apache-2.0
// What an instance was started from. Another revision of the class needs other instances: the class
// replaces them one after the other.
import type { ClassConfig } from './class-config.ts';

export interface Revision {
  config: ClassConfig;
  /** Restarts that were asked for: +1 makes a new revision of the same options. */
  readonly epoch: number;
  /** Identity of the program's file (Programs.identity) when the revision began; '' = nobody wants to
   * know, there was none, or it is not known yet. */
  readonly program: string;
}
