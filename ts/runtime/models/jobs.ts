// SPDX-License-Identifier: Apache-2.0
// Requests of a pool, in the order of their arrival. Not a Set: when one of those grows out of its table, the
// old table goes on to point to the next, and once the collector has taken it for old, all that was ever in
// its successors lives on with it. Here who leaves points to nobody.
import type { Exchange } from '../exchange.ts';
import type { LinkRequest } from '../link/link-request.ts';

export class Job {
  readonly exchange: Exchange;
  /** null = waits. */
  request: LinkRequest | null = null;
  cancelDeadline: (() => void) | null = null;
  /** @internal */
  list: JobList | null = null;
  /** @internal */
  before: Job | null = null;
  /** @internal */
  after: Job | null = null;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
  }
}

/** A job is in one list at a time, or in none. */
export class JobList {
  #first: Job | null = null;
  #last: Job | null = null;
  #size = 0;

  get size(): number {
    return this.#size;
  }

  get first(): Job | null {
    return this.#first;
  }

  add(job: Job): void {
    job.list = this;
    job.before = this.#last;
    if (this.#last === null) this.#first = job;
    else this.#last.after = job;
    this.#last = job;
    this.#size++;
  }

  /** Harmless when it is not in this list. */
  remove(job: Job): void {
    if (job.list !== this) return;
    const { before, after } = job;
    if (before === null) this.#first = after;
    else before.after = after;
    if (after === null) this.#last = before;
    else after.before = before;
    job.list = null;
    job.before = null;
    job.after = null;
    this.#size--;
  }

  /** As they are now, whatever happens to the list meanwhile. */
  exchanges(): Exchange[] {
    const exchanges: Exchange[] = [];
    for (let job = this.#first; job !== null; job = job.after) exchanges.push(job.exchange);
    return exchanges;
  }
}
