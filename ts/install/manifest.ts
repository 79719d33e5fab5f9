// SPDX-License-Identifier: Apache-2.0
// What `usher install` has put where: written by install and uninstall, read by whoever wants to know.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export type ServerKind = 'nginx' | 'apache';
export type ManagerMode = 'embedded' | 'external';

/** What an entry belongs to, and goes with. */
export type Part = 'package' | ServerKind;

/** Paths are absolute, as they are on the host: without the `--root` that the installation was made below. */
export type Entry =
  | { part: Part; kind: 'file'; path: string; sha256: string }
  | { part: Part; kind: 'link'; path: string; target: string }
  /** That was not there before. */
  | { part: Part; kind: 'directory'; path: string }
  /** Of the same kind, with the name of the user as its path. */
  | { part: Part; kind: 'user'; path: string }
  /** A service that is enabled. */
  | { part: Part; kind: 'service'; path: string };

/** A copy of the package; more than one while a former one is still run. */
export interface Tree {
  path: string;
  version: string;
  /** By path below `path`: the SHA-256 of its bytes, or `-> TARGET`. */
  files: Record<string, string>;
}

export interface Manifest {
  schema: 1;
  /** A link to the last of `trees`: /usr/local/lib/usher. */
  prefix: string;
  trees: Tree[];
  node: string;
  manager: ManagerMode;
  servers: ServerKind[];
  /** In the order in which they were made. */
  entries: Entry[];
}

export const manifestPath = '/var/lib/usher/installed.json';

/**
 * @param root The directory below which everything was installed (`--root`).
 * @returns null = `usher install` has not been here.
 * @throws Error when there is a manifest that cannot be read.
 */
export function readManifest(root = '/'): Manifest | null {
  const path = join(root, manifestPath);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
  try {
    const manifest = JSON.parse(text) as Manifest;
    if (isManifest(manifest)) return manifest;
  } catch {
    // told below
  }
  throw new Error(
    `${path}: not what this version of "usher install" writes; put it right, or take it away and install anew`,
  );
}

function isManifest(value: Partial<Manifest> | null): boolean {
  return (
    value?.schema === 1 &&
    typeof value.prefix === 'string' &&
    Array.isArray(value.trees) &&
    Array.isArray(value.servers) &&
    Array.isArray(value.entries)
  );
}
