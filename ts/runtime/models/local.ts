// SPDX-License-Identifier: Apache-2.0
// Handlers in this process: one request at a time with a queue (sequential), or as many as come
// (concurrent).
import type { Exchange, Servlet } from '../exchange.ts';
import { AlarmError, watchEventLoop, withAlarm } from '../guards/synchronous.ts';
import { Wear, type WearLimits } from '../guards/wear.ts';
import type { Model, ModelCounts } from './model.ts';

export interface LocalSettings extends WearLimits {
  /** 1 = sequential; Infinity = concurrent. */
  atATime: number;
  backlog: number;
  /** 0 = none. */
  deadlineMs: number;
}

export interface LocalOwner {
  /** Once, after the request that made it so: the program should stop. */
  onWorn(reason: string): void;
}

/** A loop that computes gets so much more than a request, before the process is ended for it. */
const LOOP_PATIENCE_MS = 5000;

interface Ticket {
  exchange: Exchange;
  /** By performance.now(). */
  arrivedMs: number;
  deadline: NodeJS.Timeout | null;
}

export class LocalModel implements Model {
  readonly #servlet: Servlet;
  readonly #settings: LocalSettings;
  readonly #owner: LocalOwner;
  readonly #wear: Wear;
  readonly #running = new Set<Ticket>();
  readonly #waiting: Ticket[] = [];
  #isWorn = false;
  #endWatch: (() => Promise<void>) | null = null;
  #onIdle: (() => void) | null = null;

  constructor(servlet: Servlet, settings: LocalSettings, owner: LocalOwner) {
    this.#servlet = servlet;
    this.#settings = settings;
    this.#owner = owner;
    this.#wear = new Wear(settings);
  }

  async start(): Promise<void> {
    const { deadlineMs } = this.#settings;
    if (deadlineMs > 0) this.#endWatch = watchEventLoop(deadlineMs + LOOP_PATIENCE_MS);
  }

  counts(): ModelCounts {
    return { running: this.#running.size, waiting: this.#waiting.length, workers: 1 };
  }

  run(exchange: Exchange): void {
    const { atATime, backlog } = this.#settings;
    const isRoom = this.#running.size < atATime;
    if (!isRoom && this.#waiting.length >= backlog) {
      exchange.refuse({
        status: 503,
        reason: 'The program is busy; try again later.',
        log: `${backlog} requests wait already (backlog): refused`,
        retryAfterSeconds: 1,
      });
      return;
    }
    const ticket = this.#ticket(exchange);
    if (isRoom) this.#begin(ticket);
    else this.#wait(ticket);
  }

  async stop(stopMs: number): Promise<void> {
    if (this.#running.size > 0) {
      const timer = setTimeout(() => this.#breakOff(), stopMs);
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve;
      });
      clearTimeout(timer);
    }
    await this.#endWatch?.();
  }

  #ticket(exchange: Exchange): Ticket {
    const { deadlineMs } = this.#settings;
    const ticket: Ticket = { exchange, arrivedMs: 0, deadline: null };
    if (deadlineMs > 0) {
      ticket.arrivedMs = performance.now();
      ticket.deadline = setTimeout(() => this.#expire(ticket), deadlineMs);
    }
    return ticket;
  }

  /** Who leaves or expires while it waits has no turn. */
  #wait(ticket: Ticket): void {
    this.#waiting.push(ticket);
    ticket.exchange.onOver = () => {
      const at = this.#waiting.indexOf(ticket);
      if (at === -1) return;
      this.#waiting.splice(at, 1);
      if (ticket.deadline) clearTimeout(ticket.deadline);
    };
  }

  #begin(ticket: Ticket): void {
    this.#running.add(ticket);
    ticket.exchange.onOver = () => this.#over(ticket);
    if (this.#settings.deadlineMs > 0) {
      ticket.exchange.alarm = (call) => this.#alarmed(ticket, call);
    }
    this.#servlet(ticket.exchange);
  }

  #alarmed<T>(ticket: Ticket, call: () => T): T | undefined {
    const leftMs = ticket.arrivedMs + this.#settings.deadlineMs - performance.now();
    let result: T | undefined;
    try {
      withAlarm(leftMs, () => {
        result = call();
      });
    } catch (error) {
      if (!(error instanceof AlarmError)) throw error;
      this.#expire(ticket);
    }
    return result;
  }

  #over(ticket: Ticket): void {
    if (ticket.deadline) clearTimeout(ticket.deadline);
    this.#running.delete(ticket);
    const reason = this.#wear.afterRequest();
    if (reason !== null && !this.#isWorn) {
      this.#isWorn = true;
      this.#owner.onWorn(reason);
    }
    // Not inside the end of the one before: a long queue would be a deep stack.
    if (this.#waiting.length > 0) setImmediate(() => this.#next());
    else if (this.#running.size === 0) this.#onIdle?.();
  }

  #next(): void {
    if (this.#running.size >= this.#settings.atATime) return;
    const ticket = this.#waiting.shift();
    if (ticket !== undefined) this.#begin(ticket);
    else if (this.#running.size === 0) this.#onIdle?.();
  }

  #expire({ exchange }: Ticket): void {
    const { deadlineMs } = this.#settings;
    exchange.giveUp({
      status: 504,
      reason: 'The program took too long.',
      log: `${exchange.head.method} ${exchange.head.url}: no answer within ${deadlineMs} ms (deadlineMs)`,
    });
  }

  #breakOff(): void {
    for (const { exchange } of [...this.#waiting, ...this.#running]) {
      exchange.giveUp({
        status: 503,
        reason: 'The program is being stopped.',
        log: `${exchange.head.method} ${exchange.head.url}: cut off, as the program stops (stopMs)`,
      });
    }
  }
}
