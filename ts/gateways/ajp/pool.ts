// SPDX-License-Identifier: Apache-2.0
// The connections to one backend: who may have one, who waits for one, and which are still good.
//
// Connecting belongs to the pool and not to a request: what it finds out about the backend counts even
// when the request that needed it is gone, and the connection serves the next one.
import type { AjpOptions } from '../link.ts';
import type { Backend } from './backend.ts';
import { Failure } from './failure.ts';
import { oneLine } from './messages.ts';

export type PoolOptions = Pick<
  AjpOptions,
  | 'poolMax'
  | 'poolMin'
  | 'poolIdleMs'
  | 'acquireTimeoutMs'
  | 'socketConnectTimeoutMs'
  | 'pingConnectMs'
  | 'pingPrepostMs'
  | 'pingIntervalMs'
  | 'pingTimeoutMs'
>;

export interface PooledConnection {
  /** Open, the last answer read to its end, nothing unsent, as far as is known without a look. */
  readonly isFinished: boolean;
  /** The same, and a look at the socket has found nothing unread: costs a system call. */
  readonly isReusable: boolean;
  open(timeoutMs: number, done: (error: Error | null) => void): void;
  ping(timeoutMs: number, done: (error: Error | null) => void): void;
  close(): void;
}

/** Who waits for a connection. */
export interface Taker<C> {
  /** @param isFresh It has not been idle, nor served anybody else. */
  onConnection(connection: C, isFresh: boolean): void;
  /** The backend cannot be reached; nothing was sent. */
  onUnreachable(error: string): void;
  /** All connections are in use, for too long. */
  onExhausted(failure: Failure): void;
}

interface Idle<C> {
  connection: C;
  sinceMs: number;
}

/** They say something of us, or of a queue that is full, and not that the backend is away. */
const NOT_ITS_FAULT = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'EADDRNOTAVAIL', 'EAGAIN']);

const LOOK_AGAIN_MS = 100;

export class Pool<C extends PooledConnection> {
  readonly #backend: Backend;
  readonly #options: PoolOptions;
  readonly #create: (pool: Pool<C>) => C;
  readonly #now: () => number;

  /** The one used last is at the end, and is used next: the others may grow old. */
  readonly #idle: Idle<C>[] = [];
  /** In the order they came, each with its deadline. */
  readonly #takers = new Map<Taker<C>, NodeJS.Timeout>();
  /** Those to whom only a fresh one will do; they come first. */
  readonly #renewing = new Set<Taker<C>>();
  /** All that exist. */
  #size = 0;
  /** Being opened, or asked, for those who wait. */
  #connecting = 0;
  #asked = 0;
  #idleTimer: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(
    backend: Backend,
    options: PoolOptions,
    create: (pool: Pool<C>) => C,
    now: () => number,
  ) {
    this.#backend = backend;
    this.#options = options;
    this.#create = create;
    this.#now = now;
  }

  get size(): number {
    return this.#size;
  }

  get idleCount(): number {
    return this.#idle.length;
  }

  /** Calls one of the taker's methods, at once or later, unless it is cancelled. */
  acquire(taker: Taker<C>): void {
    if (this.#takers.size === 0) {
      const connection = this.#takeIdle();
      if (connection !== undefined) {
        taker.onConnection(connection, false);
        return;
      }
    }
    this.#expireIn(this.#options.acquireTimeoutMs, taker);
    this.#supply();
  }

  /** In the place of this one, which has ended, one that nobody has used. */
  renew(connection: C, taker: Taker<C>): void {
    this.#renewing.add(taker);
    this.discard(connection);
  }

  cancel(taker: Taker<C>): void {
    clearTimeout(this.#takers.get(taker));
    this.#takers.delete(taker);
    this.#renewing.delete(taker);
  }

  /** The request is over. Only a connection that is reusable serves another one. */
  release(connection: C): void {
    // One that nobody waits for is looked at when it is taken.
    const isGood = this.#takers.size > 0 ? connection.isReusable : connection.isFinished;
    if (this.#isClosed || !isGood) this.discard(connection);
    else this.#offer(connection, this.#now());
  }

  discard(connection: C): void {
    connection.close();
    this.#size--;
    this.#supply();
  }

  /** An idle connection has ended, or said something unasked. */
  lost(connection: C): void {
    const at = this.#idle.findIndex((one) => one.connection === connection);
    if (at < 0) return;
    this.#idle.splice(at, 1);
    this.discard(connection);
  }

  closeIdle(): void {
    for (const { connection } of this.#idle.splice(0)) this.discard(connection);
  }

  /** Nobody waits any more; what is in use is closed when it comes back. */
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#idleTimer);
    this.closeIdle();
  }

  /** One that may be used without asking. */
  #takeIdle(): C | undefined {
    const last = this.#lastIdle();
    if (last === undefined || this.#pingMs(this.#now() - last.sinceMs) > 0) return undefined;
    this.#idle.pop();
    return last.connection;
  }

  /** Those that have ended meanwhile are closed on the way. */
  #lastIdle(): Idle<C> | undefined {
    for (;;) {
      const last = this.#idle.at(-1);
      if (last === undefined || last.connection.isReusable) return last;
      this.#idle.pop();
      last.connection.close();
      this.#size--;
    }
  }

  /** How long the answer to CPING may take; 0: it need not be asked. */
  #pingMs(idleMs: number): number {
    const { pingPrepostMs, pingIntervalMs, pingTimeoutMs } = this.#options;
    if (pingPrepostMs > 0) return pingPrepostMs;
    return pingIntervalMs > 0 && idleMs > pingIntervalMs ? pingTimeoutMs : 0;
  }

  /** As many connections as takers wait for are on their way, within the limits. */
  #supply(): void {
    while (this.#connecting < this.#renewing.size && this.#mayConnect()) this.#connect();
    while (this.#coming < this.#takers.size) {
      const idle = this.#lastIdle();
      if (idle !== undefined) {
        this.#idle.pop();
        this.#offer(idle.connection, idle.sinceMs);
      } else if (this.#mayConnect()) {
        this.#connect();
      } else {
        return;
      }
    }
  }

  /** What is on its way to those who take any connection. */
  get #coming(): number {
    return this.#asked + Math.max(0, this.#connecting - this.#renewing.size);
  }

  /** One that has failed is tried by one connection, however many wait for it. */
  #mayConnect(): boolean {
    if (this.#size >= this.#options.poolMax) return false;
    return this.#backend.state === 'ok' || this.#connecting + this.#asked === 0;
  }

  #connect(): void {
    const { socketConnectTimeoutMs, pingConnectMs, pingPrepostMs } = this.#options;
    const pingMs = pingConnectMs || pingPrepostMs;
    const connection = this.#create(this);
    this.#size++;
    this.#connecting++;
    connection.open(socketConnectTimeoutMs, (error) => {
      if (error !== null) this.#cannotReach(connection, error);
      else if (pingMs === 0) this.#arrive(connection);
      else {
        connection.ping(pingMs, (silence) => {
          if (silence !== null) this.#cannotReach(connection, silence);
          else this.#arrive(connection);
        });
      }
    });
  }

  #arrive(connection: C): void {
    this.#connecting--;
    this.#backend.reached();
    const renewing = this.#renewing.keys().next().value;
    const taker = renewing ?? this.#takers.keys().next().value;
    if (taker === undefined) {
      this.#give(connection);
    } else {
      this.cancel(taker);
      taker.onConnection(connection, true);
    }
    this.#supply(); // others may connect as well, now that it is known to be there
  }

  #cannotReach(connection: C, error: Error): void {
    this.#connecting--;
    connection.close();
    this.#size--;
    const text = oneLine(error);
    const takers = [...this.#renewing, ...this.#takers.keys()];
    for (const taker of takers) this.cancel(taker);
    if (!NOT_ITS_FAULT.has((error as NodeJS.ErrnoException).code ?? '')) {
      this.#backend.unreachable(text, this.#now());
      this.closeIdle();
    }
    for (const taker of takers) taker.onUnreachable(text);
  }

  /** To whoever waits, after it was asked, where it has to be. */
  #offer(connection: C, idleSinceMs: number): void {
    const pingMs = this.#takers.size === 0 ? 0 : this.#pingMs(this.#now() - idleSinceMs);
    if (pingMs === 0) {
      this.#give(connection, idleSinceMs);
      return;
    }
    this.#asked++;
    connection.ping(pingMs, (error) => {
      this.#asked--;
      if (error === null) this.#give(connection);
      else this.discard(connection); // an old one: a new one will tell whether the backend is there
    });
  }

  #give(connection: C, idleSinceMs = this.#now()): void {
    const taker = this.#takers.keys().next().value;
    if (taker !== undefined) {
      this.cancel(taker);
      taker.onConnection(connection, false);
    } else if (this.#isClosed || !connection.isFinished) {
      this.discard(connection);
    } else {
      this.#idle.push({ connection, sinceMs: idleSinceMs });
      this.#watchIdle();
    }
  }

  #expireIn(timeMs: number, taker: Taker<C>): void {
    this.#takers.set(
      taker,
      setTimeout(() => this.#expire(taker), timeMs),
    );
  }

  #expire(taker: Taker<C>): void {
    const { acquireTimeoutMs, poolMax } = this.#options;
    const ahead = [...this.#takers.keys()].indexOf(taker);
    const isProbed = this.#connecting > 0 && this.#backend.state !== 'ok';
    if (ahead < this.#coming || isProbed) {
      // One is on its way, within time limits of its own, and what they find is found for all.
      this.#expireIn(Math.max(acquireTimeoutMs, LOOK_AGAIN_MS), taker);
      return;
    }
    this.cancel(taker);
    const why = `all ${poolMax} of -connection-pool-size are in use`;
    const limit = `-connection-acquire-timeout ${acquireTimeoutMs / 1000} s`;
    taker.onExhausted(
      new Failure(503, `backend ${this.#backend.name}: no connection within ${limit}: ${why}`),
    );
  }

  #watchIdle(): void {
    const { poolIdleMs } = this.#options;
    const oldest = this.#idle[0];
    if (poolIdleMs === 0 || oldest === undefined || this.#idleTimer !== undefined) return;
    this.#idleTimer = setTimeout(
      () => {
        this.#idleTimer = undefined;
        this.#closeOld();
        this.#watchIdle();
      },
      Math.max(1, oldest.sinceMs + poolIdleMs - this.#now()),
    );
    this.#idleTimer.unref();
  }

  #closeOld(): void {
    const { poolIdleMs, poolMin } = this.#options;
    const limitMs = this.#now() - poolIdleMs;
    for (;;) {
      const oldest = this.#idle[0];
      if (oldest === undefined || oldest.sinceMs > limitMs) return;
      if (this.#size <= poolMin) {
        oldest.sinceMs = this.#now(); // stays
        this.#idle.push(...this.#idle.splice(0, 1));
        return;
      }
      this.#idle.shift();
      this.discard(oldest.connection);
    }
  }
}
