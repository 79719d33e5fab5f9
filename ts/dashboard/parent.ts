// SPDX-License-Identifier: Apache-2.0
// Asks the process that started us; ts/control/reader.ts is the other end.
import type { Answered, Begun } from '../control/reader.ts';

const ANSWER_MS = 10_000;

interface Asked {
  resolve(answered: Answered): void;
  timer: NodeJS.Timeout;
}

export class Parent {
  #asked = new Map<number, Asked>();
  #lastId = 0;

  /** @param onGone Called when nobody will answer any more. */
  constructor(onGone: () => void) {
    process.on('message', (message) => this.#hear(message as Answered));
    process.on('disconnect', onGone);
  }

  begun(begun: Begun): void {
    process.send?.(begun);
  }

  /** Never rejects: who does not answer in time is an answer 504. */
  ask(url: string): Promise<Answered> {
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        const error = { code: 'timeout', message: `no answer within ${ANSWER_MS / 1000} s` };
        this.#hear({ id, httpStatus: 504, body: JSON.stringify({ error }) });
      }, ANSWER_MS);
      this.#asked.set(id, { resolve, timer });
      process.send?.({ id, url });
    });
  }

  #hear(answered: Answered): void {
    const asked = this.#asked.get(answered.id);
    if (!asked) return; // too late
    this.#asked.delete(answered.id);
    clearTimeout(asked.timer);
    asked.resolve(answered);
  }
}
