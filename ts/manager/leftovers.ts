// SPDX-License-Identifier: Apache-2.0
// Instances that a former manager left and no class owns any more: asked to end, then killed.
import type { Launcher } from '../process/launcher.ts';

const SIGTERM = 15;
const SIGKILL = 9;
/** From the first signal to the second; their class, which would know, is gone. */
const STOP_MS = 10_000;

export class Leftovers {
  #launcher: Pick<Launcher, 'signal'>;
  #killAtMs = new Map<number, number>();

  constructor(launcher: Pick<Launcher, 'signal'>) {
    this.#launcher = launcher;
  }

  /** When the first is to be killed. */
  get dueMs(): number {
    return Math.min(...this.#killAtMs.values());
  }

  end(id: number, nowMs: number): void {
    this.#launcher.signal(id, SIGTERM);
    this.#killAtMs.set(id, nowMs + STOP_MS);
  }

  /** It has exited. */
  forget(id: number): void {
    this.#killAtMs.delete(id);
  }

  pass(nowMs: number): void {
    for (const [id, atMs] of this.#killAtMs) {
      if (nowMs < atMs) continue;
      this.#killAtMs.delete(id);
      this.#launcher.signal(id, SIGKILL);
    }
  }
}
