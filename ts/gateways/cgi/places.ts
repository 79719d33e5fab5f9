// SPDX-License-Identifier: Apache-2.0
// How many programs run at once. Web servers send no more requests than that; but one that was just
// given up may leave a program behind that still ends, so the next request waits for it.

export class Places {
  /** 0 = no limit. */
  #limit = 0;
  #taken = 0;
  #waiting = new Set<() => void>();

  get taken(): number {
    return this.#taken;
  }

  set limit(limit: number) {
    this.#limit = limit;
    this.#serve();
  }

  /**
   * Calls `begin` when there is a place, at once if there is one, and gives what ends the wait; null
   * when as many wait already as may run.
   */
  take(begin: () => void): (() => void) | null {
    if (this.#limit > 0 && this.#waiting.size >= this.#limit) return null;
    this.#waiting.add(begin);
    this.#serve();
    return () => this.#waiting.delete(begin);
  }

  release(): void {
    this.#taken--;
    this.#serve();
  }

  #serve(): void {
    for (const begin of this.#waiting) {
      if (this.#limit > 0 && this.#taken >= this.#limit) return;
      this.#waiting.delete(begin);
      this.#taken++;
      begin();
    }
  }
}
