// SPDX-License-Identifier: Apache-2.0
// Is a program's file another than before? Most can be looked at; where the manager's user may not
// go, the launcher looks, and its answer is there at a later call.
import { statSync } from 'node:fs';

export class Programs {
  #askLauncher: (path: string) => Promise<string>;
  #answers = new Map<string, string>();
  #asking = new Set<string>();

  /** @param askLauncher Launcher.identify. */
  constructor(askLauncher: (path: string) => Promise<string>) {
    this.#askLauncher = askLauncher;
  }

  /** Device, inode, time of change and size of the file; '' while there is none, null while that is
   * not known. */
  identity(path: string): string | null {
    try {
      const stats = statSync(path, { bigint: true, throwIfNoEntry: false });
      return stats ? `${stats.dev}.${stats.ino}.${stats.mtimeNs}.${stats.size}` : '';
    } catch {
      void this.#ask(path); // EACCES on the way there
      return this.#answers.get(path) ?? null;
    }
  }

  async #ask(path: string): Promise<void> {
    if (this.#asking.has(path)) return;
    this.#asking.add(path);
    try {
      this.#answers.set(path, await this.#askLauncher(path));
    } catch {
      // what was known stays
    } finally {
      this.#asking.delete(path);
    }
  }
}
