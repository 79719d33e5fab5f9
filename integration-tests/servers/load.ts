// SPDX-License-Identifier: Apache-2.0
// Requests without a pause while something else happens, each over a connection of its own, and what
// became of every one of them.

import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, type RequestOptions, request } from './client.ts';
import type { Site } from './site.ts';

/** One request to make, and what is wrong with an answer to it, if anything is. */
export interface Ask {
  path: string;
  options?: RequestOptions;
  problemOf?: (answer: Answer) => string | undefined;
}

export interface Loss {
  /** As the logs spell it, to be found there. */
  at: string;
  method: string;
  path: string;
  /** 0 when there was no answer at all. */
  status: number;
  text: string;
  /** By performance.now(). */
  beganMs: number;
  endedMs: number;
}

const keptLosses = 50;
/** So that a server that is gone is not asked as fast as it can refuse. */
const afterLossMs = 20;

/** As many clients as asked for, each making one request after the other. */
export class Load {
  readonly port: number;
  /** The first ones; more when keptLosses says so. */
  readonly losses: Loss[] = [];
  keptLosses = keptLosses;
  /** What each client waits between two requests. */
  pauseMs = 0;
  asked = 0;
  answered = 0;
  lost = 0;
  #next: (index: number) => Ask;
  #wanted = 0;
  #active = 0;
  #running = new Set<Promise<void>>();
  #underWay = new Set<number>();

  /** @param next The request of this number; they are counted from 0. */
  constructor(port: number, next: (index: number) => Ask) {
    this.port = port;
    this.#next = next;
  }

  /** How many clients are at it from now on; those beyond it end with their request. */
  set clients(count: number) {
    this.#wanted = count;
    while (this.#active < count) {
      this.#active += 1;
      const client = this.#client();
      this.#running.add(client);
      void client.then(() => this.#running.delete(client));
    }
  }

  /** How many requests have no answer yet. */
  get underWay(): number {
    return this.#underWay.size;
  }

  /** Lets every request that was begun end. */
  async stop(): Promise<void> {
    this.clients = 0;
    await Promise.all(this.#running);
  }

  /** Makes one request besides those of the clients. */
  async one(): Promise<void> {
    const index = this.asked++;
    const ask = this.#next(index);
    this.#underWay.add(index);
    const at = new Date().toISOString();
    const beganMs = performance.now();
    const lose = (status: number, text: string): void => {
      const { path, options } = ask;
      const endedMs = performance.now();
      const method = options?.method ?? 'GET';
      this.#lose({ at, method, path, status, text, beganMs, endedMs });
    };
    try {
      const answer = await request(this.port, ask.path, ask.options);
      const problem = problemIn(answer) ?? ask.problemOf?.(answer);
      if (problem === undefined) this.answered += 1;
      else lose(answer.status, problem);
    } catch (error) {
      lose(0, (error as Error).message);
    } finally {
      this.#underWay.delete(index);
    }
  }

  /** Whether every request that was made before that of this number has ended. */
  hasEndedBefore(asked: number): boolean {
    return [...this.#underWay].every((index) => index >= asked);
  }

  async #client(): Promise<void> {
    do {
      const { lost } = this;
      await this.one();
      if (this.lost > lost) await sleep(afterLossMs);
      else if (this.pauseMs > 0) await sleep(this.pauseMs);
    } while (this.#active <= this.#wanted);
    this.#active -= 1;
  }

  #lose(loss: Loss): void {
    this.lost += 1;
    if (this.losses.length < this.keptLosses) this.losses.push(loss);
  }
}

function problemIn({ status, isComplete }: Answer): string | undefined {
  if (status !== 200) return `status ${status}`;
  return isComplete ? undefined : 'broken off';
}

export interface Outcomes {
  answered: number;
  /** Each answer that was not 200, or the error in place of one; the first fifty. */
  lost: string[];
}

/**
 * Keeps four requests under way until `action` is done, which can see how far they are; a few are made
 * after it in any case.
 */
export async function underLoad(
  site: Site,
  path: string,
  action: (load: Load) => Promise<unknown>,
): Promise<Outcomes> {
  const load = new Load(site.port, () => ({ path }));
  load.clients = 4;
  try {
    await action(load);
    await Promise.all([1, 2, 3, 4].map(() => load.one()));
  } finally {
    await load.stop();
  }
  return { answered: load.answered, lost: load.losses.map(({ text }) => text) };
}
