// SPDX-License-Identifier: Apache-2.0
// Requests for workers, and workers for requests: all that pools have in common. PoolRules makes the models.
import type { Exchange, Refusal } from '../exchange.ts';
import { type Clock, realClock } from './clock.ts';
import { Job, JobList } from './jobs.ts';
import type { Model, ModelCounts } from './model.ts';
import type { PoolRules } from './pool-rules.ts';
import { CUT_MS, PoolWorker, type PoolWorkerEvents } from './pool-worker.ts';
import { StartFailures } from './start-failures.ts';
import type { StartWorker } from './worker-handle.ts';

export interface PoolSurroundings {
  clock?: Clock;
  /** A line for whoever runs the program. */
  log: (line: string) => void;
}

interface Promised {
  resolve(): void;
  reject(error: Error): void;
}

export class Pool implements Model {
  readonly #rules: PoolRules;
  readonly #startWorker: StartWorker;
  readonly #clock: Clock;
  readonly #log: (line: string) => void;
  readonly #workers = new Set<PoolWorker>();
  readonly #waiting = new JobList();
  readonly #running = new JobList();
  readonly #failures = new StartFailures();
  readonly #events: PoolWorkerEvents;
  #started: Promised | null = null;
  #replaced: Promised[] = [];
  #stopped: (() => void)[] = [];
  /** By the clock; null = it runs. */
  #stopAtMs: number | null = null;
  #isArranging = false;
  #isArrangedAgain = false;
  #cancelRetry: (() => void) | null = null;
  #cancelShrink: (() => void) | null = null;

  constructor(rules: PoolRules, startWorker: StartWorker, { clock, log }: PoolSurroundings) {
    this.#rules = rules;
    this.#startWorker = startWorker;
    this.#clock = clock ?? realClock;
    this.#log = log;
    this.#events = {
      onReady: () => this.#onReady(),
      onFree: (worker) => this.#onFree(worker),
      onRetire: (worker, reason) => this.#onRetire(worker, reason),
      onEnd: (worker, how) => this.#onEnd(worker, how),
    };
  }

  /** Resolves when one worker is ready. Rejects with the reason when none can be. */
  start(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#started = { resolve, reject };
      this.#arrange();
    });
  }

  counts(): ModelCounts {
    const { size: running } = this.#running;
    return { running, waiting: this.#waiting.size, workers: this.#workers.size };
  }

  run(exchange: Exchange): void {
    const { maxRequestsAtOnce, backlog, deadlineMs } = this.#rules;
    const atOnce = this.#running.size + this.#waiting.size;
    if (this.#stopAtMs !== null) {
      exchange.refuse(stopping(exchange));
      return;
    }
    if (atOnce >= maxRequestsAtOnce) {
      exchange.refuse(busy(`${atOnce} requests are running (maxProcesses): refused`));
      return;
    }
    const job = new Job(exchange);
    this.#waiting.add(job);
    exchange.onOver = () => this.#onOver(job);
    if (deadlineMs > 0) {
      job.cancelDeadline = this.#clock.after(deadlineMs, () => this.#expire(exchange));
    }
    this.#arrange();
    if (job.request === null && this.#waiting.size > backlog) {
      exchange.refuse(busy(`${backlog} requests wait already (backlog): refused`));
    }
  }

  /**
   * New workers, which read the program again; the old ones go on until those are ready. Resolves when they
   * are. Rejects with the reason when one could not start: the old ones stay then.
   */
  replaceAll(): Promise<void> {
    if (this.#stopAtMs !== null) return Promise.reject(new Error('the pool is stopping'));
    return new Promise((resolve, reject) => {
      this.#replaced.push({ resolve, reject });
      for (const worker of this.#workers) {
        if (!worker.isMember) continue;
        worker.outdatedBy = 'reload';
        if (worker.state === 'starting') worker.retire(0);
      }
      this.#failures.forget();
      this.#arrange();
    });
  }

  stop(stopMs: number): Promise<void> {
    this.#stopAtMs = Math.min(this.#stopAtMs ?? Infinity, this.#clock.now() + stopMs);
    this.#settle([this.#started ?? [], this.#replaced.splice(0)].flat(), 'the pool is stopping');
    this.#started = null;
    const cancelBreak = this.#clock.after(stopMs, () => {
      for (const exchange of [...this.#waiting.exchanges(), ...this.#running.exchanges()]) {
        exchange.giveUp(stopping(exchange));
      }
      this.#arrange();
    });
    const cancelKill = this.#clock.after(stopMs + CUT_MS, () => {
      for (const worker of this.#workers)
        worker.kill(`was ended: it did not stop within ${stopMs} ms`);
    });
    return new Promise((resolve) => {
      this.#stopped.push(() => {
        cancelBreak();
        cancelKill();
        this.#cancelRetry?.();
        this.#cancelShrink?.();
        resolve();
      });
      this.#arrange();
    });
  }

  // ---- events

  #onReady(): void {
    this.#failures.pause();
    this.#settle(this.#started, null);
    this.#started = null;
    this.#arrange();
  }

  #onFree(worker: PoolWorker): void {
    const { maxRequests } = this.#rules;
    this.#failures.forget();
    if (maxRequests > 0 && worker.served >= maxRequests && worker.isMember) {
      worker.outdatedBy = 'wear';
    }
    if (worker.state === 'retiring') worker.retire(this.#leftMs());
    this.#arrange();
  }

  #onRetire(worker: PoolWorker, reason: string): void {
    if (!worker.isMember) return;
    this.#log(`${worker.name} is replaced: ${reason}`);
    worker.outdatedBy = 'wear';
    this.#arrange();
  }

  #onEnd(worker: PoolWorker, how: string): void {
    this.#workers.delete(worker);
    const text = `${worker.name} ${how}`;
    if (!worker.wasAskedToEnd) {
      this.#log(text);
      // One that crashes in a request is replaced at once: requests come no faster than that.
      if (!worker.wasUsed) this.#failed(worker, text);
    }
    this.#arrange();
  }

  #failed(worker: PoolWorker, text: string): void {
    this.#failures.add(this.#clock.now(), text);
    if (worker.wasReady || this.#stopAtMs !== null) return;
    for (const old of this.#workers) {
      if (old.outdatedBy === 'reload') old.outdatedBy = null;
    }
    this.#settle(this.#replaced.splice(0), text);
    if (this.#started !== null && !this.#has((other) => other.isMember)) {
      this.#stopAtMs = this.#clock.now(); // no more are started
      this.#settle(this.#started, text);
      this.#started = null;
    }
  }

  #onOver(job: Job): void {
    job.cancelDeadline?.();
    if (job.request === null) {
      this.#waiting.remove(job);
      if (this.#stopAtMs !== null) this.#arrange();
      return;
    }
    this.#running.remove(job);
    job.request.onOver();
  }

  #expire(exchange: Exchange): void {
    const { method, url } = exchange.head;
    exchange.giveUp({
      status: 504,
      reason: 'The program took too long.',
      log: `${method} ${url}: no answer within ${this.#rules.deadlineMs} ms (deadlineMs)`,
    });
  }

  // ---- what follows from them

  /** Makes true what the rules say; after each event. */
  #arrange(): void {
    this.#isArrangedAgain = true;
    if (this.#isArranging) return;
    this.#isArranging = true;
    while (this.#isArrangedAgain) {
      this.#isArrangedAgain = false;
      this.#dispatch();
      this.#retireOutdated();
      this.#startMissing();
      this.#refuseHopeless();
      this.#shrink();
      this.#endWhenStopped();
    }
    this.#isArranging = false;
  }

  #dispatch(): void {
    for (let job = this.#waiting.first; job !== null; job = this.#waiting.first) {
      const worker = this.#freeWorker();
      if (worker === null) return;
      this.#waiting.remove(job);
      this.#running.add(job);
      job.request = worker.run(job.exchange);
    }
  }

  /** The one that was busy last, so that others are idle for long. */
  #freeWorker(): PoolWorker | null {
    let best: PoolWorker | null = null;
    for (const worker of this.#workers) {
      if (worker.hasRoom && (best === null || isBetter(worker, best))) best = worker;
    }
    return best;
  }

  /** Workers that can take requests, now or soon. */
  #wanted(): number {
    const { minWorkers, maxWorkers, spares, requestsAtATime } = this.#rules;
    const waiting = this.#waiting.size;
    const full = this.#count((worker) => worker.isMember && worker.isFull);
    const more = waiting === 0 ? 0 : Math.max(1, Math.ceil(waiting / requestsAtATime));
    if (this.#stopAtMs !== null) return Math.min(maxWorkers, full + more);
    return Math.max(minWorkers, Math.min(maxWorkers, full + more + spares));
  }

  /** Who is to be replaced goes on until others are ready. */
  #retireOutdated(): void {
    const isOutdated = (w: PoolWorker) => w.outdatedBy !== null && w.state === 'ready';
    if (!this.#has(isOutdated) && this.#replaced.length === 0) return;
    const outdated = [...this.#workers].filter(isOutdated);
    const ready = this.#count((worker) => worker.isMember && worker.state === 'ready');
    let surplus = outdated.length + ready - Math.max(ready, this.#wanted());
    outdated.sort((a, b) => a.running - b.running);
    for (const worker of outdated) {
      if (surplus-- <= 0) return;
      worker.retire(this.#leftMs());
    }
    if (ready > 0) this.#settle(this.#replaced.splice(0), null);
  }

  #startMissing(): void {
    const { maxTotal } = this.#rules;
    const members = this.#count((worker) => worker.isMember);
    const missing = Math.min(this.#wanted() - members, maxTotal - this.#workers.size);
    this.#cancelRetry?.();
    this.#cancelRetry = null;
    if (missing <= 0) return;
    if (this.#started !== null && this.#failures.reason !== null) return; // start() is to fail
    const waitMs = this.#failures.waitMs(this.#clock.now());
    if (waitMs > 0) {
      this.#cancelRetry = this.#clock.after(waitMs, () => this.#arrange());
      return;
    }
    for (let i = 0; i < missing; i++) {
      const handle = this.#startWorker();
      this.#workers.add(new PoolWorker(handle, this.#rules, this.#clock, this.#events));
    }
  }

  /** Nobody answers, and nobody will soon. */
  #refuseHopeless(): void {
    const { reason } = this.#failures;
    if (this.#waiting.size === 0 || reason === null) return;
    const waitMs = this.#failures.waitMs(this.#clock.now());
    if (waitMs === 0 || this.#has((w) => w.state === 'starting' || w.state === 'ready')) return;
    for (const exchange of this.#waiting.exchanges()) {
      exchange.refuse({
        status: 503,
        reason: 'The program cannot be started at the moment.',
        log: `${exchange.head.method} ${exchange.head.url}: no worker can be started: ${reason}`,
        retryAfterSeconds: Math.ceil(waitMs / 1000),
      });
    }
  }

  /** Ends who has been idle for long, when there are more than wanted. */
  #shrink(): void {
    this.#cancelShrink?.();
    this.#cancelShrink = null;
    let surplus = this.#count((worker) => worker.isMember) - this.#wanted();
    if (surplus <= 0 || this.#stopAtMs !== null) return;
    const { idleMs } = this.#rules;
    const now = this.#clock.now();
    const idle = [...this.#workers].filter((w) => w.isMember && w.isIdle);
    idle.sort((a, b) => a.idleSinceMs - b.idleSinceMs);
    for (const worker of idle) {
      if (surplus-- <= 0) return;
      const leftMs = worker.idleSinceMs + idleMs - now;
      if (leftMs > 0) {
        this.#cancelShrink = this.#clock.after(leftMs, () => this.#arrange());
        return;
      }
      worker.retire(this.#leftMs());
    }
  }

  #endWhenStopped(): void {
    if (this.#stopAtMs === null || this.#waiting.size > 0) return;
    for (const worker of this.#workers) worker.retire(this.#leftMs());
    if (this.#workers.size > 0) return;
    for (const stopped of this.#stopped.splice(0)) stopped();
  }

  /** What a worker has that is stopped now. */
  #leftMs(): number {
    if (this.#stopAtMs === null) return this.#rules.stopMs;
    return Math.max(0, this.#stopAtMs - this.#clock.now());
  }

  #settle(promised: Promised | null | readonly Promised[], failure: string | null): void {
    for (const { resolve, reject } of [promised ?? []].flat()) {
      if (failure === null) resolve();
      else reject(new Error(failure));
    }
  }

  #has(test: (worker: PoolWorker) => boolean): boolean {
    for (const worker of this.#workers) if (test(worker)) return true;
    return false;
  }

  #count(test: (worker: PoolWorker) => boolean): number {
    let count = 0;
    for (const worker of this.#workers) if (test(worker)) count++;
    return count;
  }
}

function isBetter(a: PoolWorker, b: PoolWorker): boolean {
  if ((a.outdatedBy === null) !== (b.outdatedBy === null)) return a.outdatedBy === null;
  return a.running === b.running ? a.idleSinceMs > b.idleSinceMs : a.running < b.running;
}

function busy(log: string): Refusal {
  return {
    status: 503,
    reason: 'The program is busy; try again later.',
    log,
    retryAfterSeconds: 1,
  };
}

function stopping({ head }: Exchange): Refusal {
  return {
    status: 503,
    reason: 'The program is being stopped.',
    log: `${head.method} ${head.url}: cut off, as the program stops (stopMs)`,
  };
}
