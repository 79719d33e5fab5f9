// SPDX-License-Identifier: Apache-2.0
// Short-lived records of what may not be served, so that requests get their verdict and a scanner
// neither fills the table nor makes us look at the disk for every request.
import type { Channel, Ref } from '../native/native.ts';
import type { Refusal } from './dynamic.ts';

const LIFE_MS = 2_000;
const REFUSALS_MAX = 256;
const NO_LIMITS = {
  flags: 0,
  queueLimit: 0,
  queueTimeoutMs: 0,
  connectTimeoutMs: 0,
  idleTimeoutMs: 0,
  requestTimeoutMs: 0,
};

export class Refusals {
  #channel: Channel;
  #entries = new Map<string, { ref: Ref; untilMs: number }>();

  constructor(channel: Channel) {
    this.#channel = channel;
  }

  /** When the eldest ends. */
  get dueMs(): number {
    const [eldest] = this.#entries.values();
    return eldest?.untilMs ?? Number.POSITIVE_INFINITY;
  }

  has(key: string, server: string): boolean {
    return this.#entries.has(name(key, server));
  }

  add(key: string, server: string, refusal: Refusal, nowMs: number): void {
    const oldest = this.#entries.keys().next();
    if (this.#entries.size >= REFUSALS_MAX && !oldest.done) this.#remove(oldest.value);
    const ref = this.#channel.addClass('dynamic', key, server, NO_LIMITS);
    this.#channel.setClass(ref, 'refused', refusal.status, 0, refusal.reason);
    this.#entries.set(name(key, server), { ref, untilMs: nowMs + LIFE_MS });
  }

  /** The key is to become a class: its refusals (of one server, or of all) end now. */
  clear(key: string, server: string | null): void {
    for (const entry of [...this.#entries.keys()]) {
      if (server === null ? entry.endsWith(`\0${key}`) : entry === name(key, server)) {
        this.#remove(entry);
      }
    }
  }

  expire(nowMs: number): void {
    for (const [entry, { untilMs }] of this.#entries) {
      if (nowMs < untilMs) return; // in order of age
      this.#remove(entry);
    }
  }

  #remove(entry: string): void {
    const found = this.#entries.get(entry);
    this.#entries.delete(entry);
    if (found) this.#channel.removeClass(found.ref);
  }
}

function name(key: string, server: string): string {
  return `${server}\0${key}`;
}
