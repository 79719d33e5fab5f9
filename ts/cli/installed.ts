// SPDX-License-Identifier: Apache-2.0
// Where the installation's files are.
import { readFileSync, realpathSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Installation, installationFile } from '../install/installation.ts';

/** The folder of the package that this is: two above ts/cli and dist/cli. */
export const packageFolder = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** The same by the name that lasts: where it is installed that is a link, which the next version turns. */
const lastingFolder = lastingName(packageFolder);

function lastingName(folder: string): string {
  try {
    const text = readFileSync(join(folder, installationFile), 'utf8');
    const { prefix } = JSON.parse(text) as Installation;
    return realpathSync(prefix) === folder ? prefix : folder;
  } catch {
    return folder; // a checkout, or a copy below --root
  }
}

/** The file at `path` below the installation's folder. */
export function installed(path: string): string {
  return join(lastingFolder, path);
}
