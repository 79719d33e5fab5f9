// SPDX-License-Identifier: Apache-2.0
// Changes below a root directory, each with what undoes it. A change is begun only when the former one is
// done, so undoing them backwards leads to what was there.
import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
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

type Undo = () => void | Promise<void>;

/** What is at a path: a file's bytes, a link's target, or that it is something else; null = nothing. */
export type Found = { bytes: Buffer } | { target: string } | 'other' | null;

export class Journal {
  readonly root: string;
  private readonly undos: Undo[] = [];

  constructor(root: string) {
    this.root = root;
  }

  /** Where a path of the host is, below the root. */
  at(path: string): string {
    return join(this.root, path);
  }

  find(path: string): Found {
    let stats: ReturnType<typeof lstatSync>;
    try {
      stats = lstatSync(this.at(path));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR') return null;
      throw error;
    }
    if (stats.isSymbolicLink()) return { target: readlinkSync(this.at(path)) };
    return stats.isFile() ? { bytes: readFileSync(this.at(path)) } : 'other';
  }

  /** Whatever is not a change of files. */
  did(undo: Undo): void {
    this.undos.push(undo);
  }

  /** @returns The directories that were not there, from above. */
  makeDirectory(path: string): string[] {
    if (existsSync(this.at(path))) return [];
    if (path === '/') {
      mkdirSync(this.root, { recursive: true }); // stays: whoever named it wants it
      return [];
    }
    const above = this.makeDirectory(dirname(path));
    mkdirSync(this.at(path));
    chmodSync(this.at(path), 0o755); // whatever the umask
    this.did(() => rmdirSync(this.at(path)));
    return [...above, path];
  }

  writeFile(path: string, bytes: Buffer | string, mode = 0o644): void {
    const former = this.find(path);
    const partial = `${this.at(path)}.usher-new`; // no name that a server's "*.conf" would read
    rmSync(partial, { force: true });
    writeFileSync(partial, bytes, { mode, flag: 'wx' });
    chmodSync(partial, mode);
    renameSync(partial, this.at(path));
    this.did(() => this.restore(path, former));
  }

  writeLink(path: string, target: string): void {
    const former = this.find(path);
    this.linkTo(path, target);
    this.did(() => this.restore(path, former));
  }

  /** A file or a link. */
  remove(path: string): void {
    const former = this.find(path);
    if (former === null) return;
    const { mode } = lstatSync(this.at(path));
    unlinkSync(this.at(path));
    this.did(() => {
      this.restore(path, former);
      if (former !== 'other' && 'bytes' in former) chmodSync(this.at(path), mode & 0o7777);
    });
  }

  /** @returns Whether it was empty, and is gone. */
  removeDirectory(path: string): boolean {
    try {
      rmdirSync(this.at(path));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT') return true;
      if (code === 'ENOTEMPTY' || code === 'EBUSY' || code === 'ENOTDIR') return false;
      throw error;
    }
    this.did(() => mkdirSync(this.at(path), { mode: 0o755 }));
    return true;
  }

  /** @returns What could not be undone. */
  async undo(): Promise<string[]> {
    const failures: string[] = [];
    for (const undo of this.undos.splice(0).reverse()) {
      try {
        await undo();
      } catch (error) {
        failures.push((error as Error).message);
      }
    }
    return failures;
  }

  private linkTo(path: string, target: string): void {
    const partial = `${this.at(path)}.usher-new`;
    rmSync(partial, { force: true });
    symlinkSync(target, partial);
    renameSync(partial, this.at(path));
  }

  private restore(path: string, former: Found): void {
    if (former === null) unlinkSync(this.at(path));
    else if (former === 'other') throw new Error(`${path}: not restored`);
    else if ('target' in former) this.linkTo(path, former.target);
    else {
      writeFileSync(this.at(path), former.bytes);
    }
  }
}
