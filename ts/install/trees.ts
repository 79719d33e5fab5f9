// SPDX-License-Identifier: Apache-2.0
// Copies of the package: written beside the former one under a name that nobody looks for, then renamed.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setImmediate as letOthersRun } from 'node:timers/promises';
import type { Host } from './host.ts';
import type { Journal } from './journal.ts';
import type { Tree } from './manifest.ts';
import { digest, type PackageFile } from './package-files.ts';

const filesAtOnce = 100;

/** @throws What `signal` was aborted with; nothing is left then. */
export async function writeTree(
  path: string,
  files: PackageFile[],
  journal: Journal,
  signal: AbortSignal,
): Promise<void> {
  const partial = `${journal.at(path)}.partial`;
  rmSync(partial, { recursive: true, force: true }); // of an installation that was killed
  try {
    makeFolder(partial);
    for (const [i, file] of files.entries()) {
      if (i % filesAtOnce === 0) await letOthersRun();
      signal.throwIfAborted();
      writePackageFile(partial, file);
    }
    renameSync(partial, journal.at(path));
  } catch (error) {
    rmSync(partial, { recursive: true, force: true });
    throw error;
  }
  journal.did(() => rmSync(journal.at(path), { recursive: true }));
}

function writePackageFile(tree: string, file: PackageFile): void {
  const full = join(tree, file.path);
  makeFolder(dirname(full));
  if ('target' in file) {
    symlinkSync(file.target, full);
    return;
  }
  writeFileSync(full, file.bytes(), { flag: 'wx' });
  chmodSync(full, file.mode); // whatever the umask
}

function makeFolder(path: string): void {
  if (existsSync(path)) return;
  makeFolder(dirname(path));
  mkdirSync(path);
  chmodSync(path, 0o755);
}

/** Which files are not as they were installed; null = there is no such tree. */
export function changedFiles({ path, files }: Tree, journal: Journal): string[] | null {
  const tree = journal.at(path);
  if (!existsSync(tree)) return null;
  return Object.keys(files).filter((name) => state(tree, name) !== files[name]);
}

function state(tree: string, name: string): string | null {
  const full = join(tree, name);
  try {
    if (lstatSync(full).isSymbolicLink()) return `-> ${readlinkSync(full)}`;
    return digest(readFileSync(full));
  } catch {
    return null;
  }
}

/**
 * Removes what was installed; what was changed, or put there by others, stays.
 * @returns The paths that stay.
 */
export function removeTree({ path, files }: Tree, journal: Journal): string[] {
  const tree = journal.at(path);
  if (!existsSync(tree)) return [];
  const folders = new Set<string>(['.']);
  for (const [name, expected] of Object.entries(files)) {
    if (state(tree, name) === expected) unlinkSync(join(tree, name));
    for (let at = dirname(name); at !== '.'; at = dirname(at)) folders.add(at);
  }
  const deepestFirst = [...folders].sort((a, b) => b.length - a.length);
  for (const folder of deepestFirst) removeIfEmpty(join(tree, folder));
  return existsSync(tree) ? filesBelow(tree, '').map((name) => `${path}/${name}`) : [];
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'ENOENT') throw error;
  }
}

function filesBelow(tree: string, folder: string): string[] {
  return readdirSync(join(tree, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(tree, path) : [path];
  });
}

/** The processes of Usher that execute files of a tree. */
export function runningFrom(tree: Tree, host: Host): number[] {
  return host
    .executables()
    .filter(({ path }) => path.startsWith(`${tree.path}/`))
    .map(({ pid }) => pid);
}
