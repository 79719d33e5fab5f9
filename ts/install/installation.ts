// SPDX-License-Identifier: Apache-2.0
// What an installed package says of itself.

/** Says where a tree is installed; not in a checkout. */
export const installationFile = 'installation.json';

export interface Installation {
  /** By which name it is known, whichever version is there. */
  prefix: string;
  node: string;
}
