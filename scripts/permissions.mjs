// SPDX-License-Identifier: Apache-2.0
// Who may do what in a runtime directory: `node scripts/permissions.mjs /run/usher` prints a line for
// each file: kind and mode, owner, path. Reads names and modes only; as another user than the owner
// it shows what that user sees. Used by integration-tests/security.test.ts.

import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { isMain } from './run.mjs';

const users = new Map(
  readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .map((line) => line.split(':'))
    .map(([name, , uid]) => [Number(uid), name]),
);

function kindOf(stats) {
  if (stats.isDirectory()) return 'd';
  if (stats.isSocket()) return 's';
  if (stats.isFile()) return '-';
  if (stats.isFIFO()) return 'p';
  return stats.isSymbolicLink() ? 'l' : '?';
}

/** Of a file and all below it: lines of kind, mode, owner and path relative to `directory`. */
export function permissions(directory, path = '.') {
  const full = `${directory}/${path}`;
  const stats = lstatSync(full);
  const mode = (stats.mode & 0o7777).toString(8).padStart(4, '0');
  const lines = [`${kindOf(stats)} ${mode} ${users.get(stats.uid) ?? stats.uid} ${path}`];
  if (!stats.isDirectory()) return lines;
  let names;
  try {
    names = readdirSync(full).sort();
  } catch (error) {
    return [...lines, `  (${error.code}: what is inside cannot be listed)`];
  }
  const inside = (name) => (path === '.' ? name : `${path}/${name}`);
  return [...lines, ...names.flatMap((name) => permissions(directory, inside(name)))];
}

if (isMain(import.meta.url)) {
  const [directory = '/run/usher'] = process.argv.slice(2);
  console.log(permissions(directory).join('\n'));
}
