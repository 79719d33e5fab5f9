// SPDX-License-Identifier: Apache-2.0
// Sockets whose instance has ended while requests were in them, or on their way to them. A request
// that took its place before may connect a moment later: the socket stays until nobody can.
import type { ClassContext } from './context.ts';
import type { Endpoint } from './instance.ts';

/** Who took a place there has connected after this, or is stopped or hostile. */
const COMING_MS = 30_000;

export class Orphans {
  #context: ClassContext;
  #endpoints: Endpoint[] = [];
  #keptAtMs = new WeakMap<Endpoint, number>();

  constructor(context: ClassContext) {
    this.#context = context;
  }

  get isEmpty(): boolean {
    return this.#endpoints.length === 0;
  }

  /** Requests that wait in the socket to be accepted. */
  queueOf(endpoint: Endpoint): number {
    return Math.max(0, this.#context.acceptQueue(endpoint.inode));
  }

  /** Is nobody there, and will nobody come? True only after the endpoint was published as draining. */
  isDeserted(endpoint: Endpoint): boolean {
    // In this order: who leaves the sum of the cells has connected, or never will.
    const { channel, now } = this.#context;
    const isLate = now() - (this.#keptAtMs.get(endpoint) ?? now()) > COMING_MS;
    return (channel.inFlight(endpoint.ref) === 0 || isLate) && this.queueOf(endpoint) === 0;
  }

  /** Nobody new comes; what is there waits for an instance. */
  keep(endpoint: Endpoint): void {
    this.#context.channel.setEndpoint(endpoint.ref, 'draining', 0);
    this.#keptAtMs.set(endpoint, this.#context.now());
    this.#endpoints.push(endpoint);
  }

  /** Those with requests in them, to be given an instance. */
  takeQueued(): Endpoint[] {
    return this.#take((one) => this.queueOf(one) > 0);
  }

  /** Those that nobody needs, to be closed. */
  takeDeserted(): Endpoint[] {
    return this.#take((one) => this.isDeserted(one));
  }

  takeAll(): Endpoint[] {
    return this.#endpoints.splice(0);
  }

  #take(test: (endpoint: Endpoint) => boolean): Endpoint[] {
    const taken = this.#endpoints.filter(test);
    this.#endpoints = this.#endpoints.filter((one) => !taken.includes(one));
    return taken;
  }
}
