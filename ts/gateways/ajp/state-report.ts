// SPDX-License-Identifier: Apache-2.0
// Tells the manager how the backends are: at a change, and at most ten times a second.

const PAUSE_MS = 100;

export class StateReport {
  readonly #send: () => void;
  #timer: NodeJS.Timeout | undefined;
  #isDue = false;

  constructor(send: () => void) {
    this.#send = send;
  }

  /** Something has changed. */
  touch(): void {
    this.#isDue = true;
    if (this.#timer !== undefined) return;
    // What changes in the same moment is told together.
    this.#timer = setTimeout(() => this.#tell(), 0);
  }

  /** Tells what has not been told. */
  close(): void {
    clearTimeout(this.#timer);
    if (this.#isDue) this.#send();
    this.#isDue = false;
  }

  #tell(): void {
    this.#timer = undefined;
    if (!this.#isDue) return;
    this.#isDue = false;
    this.#send();
    this.#timer = setTimeout(() => this.#tell(), PAUSE_MS);
  }
}
