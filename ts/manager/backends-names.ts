// SPDX-License-Identifier: Apache-2.0
// A host name of an external class and the addresses it stands for today: all that it has count.
import { lookup } from 'node:dns/promises';
import { inetTarget, type Target } from './backends-address.ts';

/** All IPv4 and IPv6 addresses of a name, from /etc/hosts or the name service. */
export type Resolve = (name: string) => Promise<string[]>;

/** Addresses of a name may change at any time. */
const AGAIN_MS = 30_000;
const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 5_000;
/** However many of its addresses fail. */
const HURRY_MS = 1_000;

export const resolveName: Resolve = async (name) =>
  (await lookup(name, { all: true })).map(({ address }) => address);

export class HostName {
  /** As configured: "name:9000". */
  readonly text: string;
  readonly #name: string;
  readonly #port: number;
  /** null = never resolved. What was found once stays until something else is found. */
  targets: Target[] | null = null;
  error: string | null = null;
  #dueMs = Number.NEGATIVE_INFINITY;
  #askedMs = Number.NEGATIVE_INFINITY;
  #isAsking = false;
  #pauseMs = FIRST_PAUSE_MS;

  constructor(text: string, name: string, port: number) {
    this.text = text;
    this.#name = name;
    this.#port = port;
  }

  /** Neither addresses nor an error yet. */
  get isUnknown(): boolean {
    return this.targets === null && this.error === null;
  }

  isDue(nowMs: number): boolean {
    return !this.#isAsking && nowMs >= this.#dueMs;
  }

  dueInMs(nowMs: number): number {
    return this.#isAsking ? 0 : Math.max(0, this.#dueMs - nowMs);
  }

  /** One of its addresses has failed, or somebody waits. */
  hurry(nowMs: number): void {
    this.#dueMs = Math.min(this.#dueMs, Math.max(nowMs, this.#askedMs + HURRY_MS));
  }

  /** Ask once. True when addresses or error are other ones now. */
  async refresh(resolve: Resolve, now: () => number): Promise<boolean> {
    const before = `${this.error} ${this.#texts()}`;
    this.#isAsking = true;
    this.#askedMs = now();
    try {
      const found = [...new Set(await resolve(this.#name))].sort();
      this.targets = found.map((address) => inetTarget(address, this.#port));
      this.error = null;
      this.#pauseMs = FIRST_PAUSE_MS;
      this.#dueMs = now() + AGAIN_MS;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code ?? String(error);
      this.error = `the name cannot be resolved (${code})`;
      this.#dueMs = now() + this.#pauseMs;
      this.#pauseMs = Math.min(2 * this.#pauseMs, LONGEST_PAUSE_MS);
    }
    this.#isAsking = false;
    return `${this.error} ${this.#texts()}` !== before;
  }

  #texts(): string {
    return this.targets?.map(({ text }) => text).join(' ') ?? '';
  }
}
