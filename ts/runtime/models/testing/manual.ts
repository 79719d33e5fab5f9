// SPDX-License-Identifier: Apache-2.0
// Time and workers that do what a test says.
import type { MasterLink, MasterMessage, WorkerMessage } from '../../link/messages.ts';
import type { Clock } from '../clock.ts';
import type { WorkerHandle } from '../worker-handle.ts';

export class ManualClock implements Clock {
  #nowMs = 0;
  readonly #timers = new Set<{ atMs: number; call: () => void }>();

  now(): number {
    return this.#nowMs;
  }

  after(ms: number, call: () => void): () => void {
    const timer = { atMs: this.#nowMs + ms, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  get pending(): number {
    return this.#timers.size;
  }

  /** Timers on the way are called in their order, and what follows from each has followed. */
  async pass(ms: number): Promise<void> {
    const untilMs = this.#nowMs + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ atMs }) => atMs <= untilMs);
      const next = due.sort((a, b) => a.atMs - b.atMs)[0];
      if (next === undefined) break;
      this.#timers.delete(next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.call();
      await settled();
    }
    this.#nowMs = untilMs;
    await settled();
  }
}

/** Promises and immediates that were under way are through. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise((resolve) => setImmediate(resolve));
}

export class ManualWorker implements WorkerHandle {
  readonly name: string;
  readonly link: MasterLink;
  readonly exited: Promise<string>;
  readonly sent: MasterMessage[] = [];
  isKilled = false;
  isGone = false;
  #exit: (how: string) => void = () => undefined;

  constructor(name: string) {
    this.name = name;
    this.exited = new Promise((resolve) => {
      this.#exit = resolve;
    });
    this.link = {
      send: (message) => {
        this.sent.push(message);
      },
      onMessage: () => undefined,
      onClose: () => undefined,
      close: () => undefined,
    };
  }

  kill(): void {
    this.isKilled = true;
    this.exit('was killed by SIGKILL');
  }

  say(message: WorkerMessage): void {
    this.link.onMessage(message);
  }

  ready(): void {
    this.say({ type: 'ready' });
  }

  exit(how: string): void {
    this.isGone = true;
    this.#exit(how);
  }

  types(): string[] {
    return this.sent.map(({ type }) => type);
  }

  get isStopped(): boolean {
    return this.types().includes('stop');
  }

  /** Answers its last request. */
  answer(): void {
    const request = this.sent.findLast((message) => message.type === 'request');
    if (request?.type !== 'request') throw new Error(`${this.name} has no request`);
    this.say({ type: 'head', id: request.id, status: 200, reason: '', fields: [] });
    this.say({ type: 'end', id: request.id, last: Buffer.from(this.name) });
  }
}
