// SPDX-License-Identifier: Apache-2.0
// A worker of a pool: its requests, whether it still answers, and its end.
import { ProtocolError } from '../../protocols/protocol-error.ts';
import type { Exchange } from '../exchange.ts';
import { LinkRequest } from '../link/link-request.ts';
import type { WorkerMessage } from '../link/messages.ts';
import type { Clock } from './clock.ts';
import type { PoolRules } from './pool-rules.ts';
import type { WorkerHandle } from './worker-handle.ts';

/**
 *   starting   onWorkerStart is not through
 *   ready      takes requests
 *   retiring   has its last ones
 *   stopping   has none, and was told to end
 *   ended
 */
export type PoolWorkerState = 'starting' | 'ready' | 'retiring' | 'stopping' | 'ended';

export interface PoolWorkerEvents {
  onReady(worker: PoolWorker): void;
  /** A request is done. */
  onFree(worker: PoolWorker): void;
  /** It wants another one in its place. */
  onRetire(worker: PoolWorker, reason: string): void;
  /** Its requests were answered before. `how`: "ended with status 3". */
  onEnd(worker: PoolWorker, how: string): void;
}

/** From the moment when background tasks are cut to the end of the worker. */
export const CUT_MS = 1000;
/** From the end of its link to the end of the worker. */
const DYING_MS = 5000;
/** For a program to begin to serve. */
const START_MS = 120_000;

export class PoolWorker {
  readonly name: string;
  /** Why another one is to take its place; null = no. It goes on until that one is there. */
  outdatedBy: 'reload' | 'wear' | null = null;
  /** By the clock. */
  idleSinceMs: number;
  /** Requests that are done. */
  served = 0;
  readonly #handle: WorkerHandle;
  readonly #rules: PoolRules;
  readonly #clock: Clock;
  readonly #events: PoolWorkerEvents;
  /** Mostly one. Not a Map, for the reason in jobs.ts. */
  readonly #requests: LinkRequest[] = [];
  #state: PoolWorkerState = 'starting';
  #lastId = 0;
  /** Nothing comes from it, and nothing gets there. */
  #isCut = false;
  #wasReady = false;
  #wasStopped = false;
  /** One is on its way, since another abort one more has to follow. */
  #isPinged = false;
  #isPingOwed = false;
  #cancelPing: () => void = () => undefined;
  /** Of its start, then of its end. */
  #cancelLimit: () => void;
  /** Why it was killed, or said that it cannot start. */
  #reason: string | null = null;

  constructor(handle: WorkerHandle, rules: PoolRules, clock: Clock, events: PoolWorkerEvents) {
    this.name = handle.name;
    this.#handle = handle;
    this.#rules = rules;
    this.#clock = clock;
    this.#events = events;
    this.idleSinceMs = clock.now();
    handle.link.onMessage = (message) => this.#onMessage(message);
    handle.link.onClose = (error) => this.#onClose(error);
    this.#cancelLimit = clock.after(START_MS, () =>
      this.kill(`was ended: it did not call serve() within ${START_MS / 1000} s`),
    );
    void handle.exited.then((how) => this.#onExit(how));
  }

  get state(): PoolWorkerState {
    return this.#state;
  }

  get running(): number {
    return this.#requests.length;
  }

  /** Starting, or takes requests. */
  get isMember(): boolean {
    const isUsable = this.#state === 'starting' || this.#state === 'ready';
    return isUsable && this.outdatedBy === null && !this.#isCut;
  }

  get isFull(): boolean {
    return this.#requests.length >= this.#rules.requestsAtATime;
  }

  get isIdle(): boolean {
    return this.#state === 'ready' && this.#requests.length === 0;
  }

  /** Its end, whichever it is, was to be expected. */
  get wasAskedToEnd(): boolean {
    return this.#wasStopped && this.#reason === null;
  }

  get wasReady(): boolean {
    return this.#wasReady;
  }

  /** It has got requests. */
  get wasUsed(): boolean {
    return this.#lastId > 0;
  }

  get hasRoom(): boolean {
    return this.#state === 'ready' && !this.isFull && !this.#isCut;
  }

  /** @returns what is to be told when the exchange is over */
  run(exchange: Exchange): LinkRequest {
    const id = ++this.#lastId;
    const request = new LinkRequest(exchange, id, this.#handle.link, {
      onAbortSent: () => this.#ping(),
      onDone: () => this.#done(request),
    });
    this.#requests.push(request);
    if (id >= this.#rules.requestsPerLife) this.#state = 'retiring';
    request.start();
    return request;
  }

  /**
   * It takes no more requests. When it has none it is stopped; else this is to be called again.
   * @param stopMs what its background tasks have then
   */
  retire(stopMs: number): void {
    if (this.#isCut) return; // its end follows
    if (this.#state === 'starting' || this.#state === 'ready') this.#state = 'retiring';
    if (this.#state === 'retiring' && this.#requests.length === 0) this.#stop(stopMs);
  }

  /** @param how as the end of a sentence */
  kill(how: string): void {
    if (this.#state === 'ended') return;
    this.#reason ??= how;
    this.#handle.kill();
  }

  #stop(stopMs: number): void {
    this.#state = 'stopping';
    this.#wasStopped = true;
    this.#cancelLimit();
    this.#handle.link.send({ type: 'stop', stopMs });
    this.#cancelLimit = this.#clock.after(stopMs + CUT_MS, () =>
      this.kill(`was ended: it did not stop within ${stopMs} ms`),
    );
  }

  #onMessage(message: WorkerMessage): void {
    try {
      this.#take(message);
    } catch (error) {
      this.kill(`was ended: ${(error as Error).message}`);
    }
  }

  #take(message: WorkerMessage): void {
    switch (message.type) {
      case 'ready':
        if (this.#state !== 'starting') return; // asked to stop meanwhile
        this.#cancelLimit();
        this.#state = 'ready';
        this.#wasReady = true;
        this.idleSinceMs = this.#clock.now();
        this.#events.onReady(this);
        return;
      case 'failed':
        this.#reason ??= `did not start: ${message.reason}`;
        return;
      case 'pong':
        this.#onPong();
        return;
      case 'retire':
        this.#events.onRetire(this, message.reason);
        return;
      default:
        // What was under way when a request ended has none any more.
        this.#requests.find(({ id }) => id === message.id)?.take(message);
    }
  }

  #done(request: LinkRequest): void {
    const at = this.#requests.indexOf(request);
    if (at === -1) return;
    this.#requests.splice(at, 1);
    this.served++;
    if (this.#requests.length === 0) this.idleSinceMs = this.#clock.now();
    this.#events.onFree(this);
  }

  #ping(): void {
    this.#isPingOwed = this.#isPinged;
    if (this.#isPinged || this.#state === 'ended') return;
    this.#isPinged = true;
    this.#handle.link.send({ type: 'ping' });
    let isAnswered = false;
    const { pingMs } = this.#rules;
    const cancel = this.#clock.after(pingMs, () => {
      // Its answer may be here, if it was us who had no time.
      setImmediate(() => {
        if (isAnswered) return;
        this.kill(`was ended: it did not answer within ${pingMs} ms after an abort`);
      });
    });
    this.#cancelPing = () => {
      isAnswered = true;
      cancel();
    };
  }

  #onPong(): void {
    this.#cancelPing();
    this.#isPinged = false;
    if (this.#isPingOwed) this.#ping();
  }

  /** A process that ends closes its link somewhat before. */
  #onClose(error: Error | null): void {
    this.#isCut = true;
    this.#cancelLimit();
    if (error instanceof ProtocolError) {
      this.kill(`was ended: it sent ${error.message}`);
      return;
    }
    const how = 'was ended: it had closed its link';
    this.#cancelLimit = this.#clock.after(DYING_MS, () => this.kill(how));
  }

  #onExit(how: string): void {
    const { name } = this;
    this.#cancelLimit();
    this.#cancelPing();
    this.#state = 'ended';
    const text = this.#reason ?? (this.#wasReady ? how : `${how} before it took requests`);
    for (const request of this.#requests) {
      const { method, url } = request.exchange.head;
      request.lose({
        status: 502,
        reason: 'The program ended without an answer.',
        log: `${method} ${url}: ${name} ${text}`,
      });
    }
    this.#requests.length = 0;
    this.#events.onEnd(this, text);
  }
}
