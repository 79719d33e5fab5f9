// SPDX-License-Identifier: Apache-2.0
// When a process has done enough: so many requests, or so much memory.
import { memoryUsage } from 'node:process';

/** Looking at memory more often would cost more than it tells. */
const LOOK_MS = 10;

export interface WearLimits {
  /** 0 = no limit, both. */
  maxRequests: number;
  maxMemoryMb: number;
}

export class Wear {
  readonly #limits: WearLimits;
  #requests = 0;
  #lookedAt = 0;

  constructor(limits: WearLimits) {
    this.#limits = limits;
  }

  /** After each request. @returns why it is enough; null = it is not. */
  afterRequest(nowMs: number = performance.now()): string | null {
    const { maxRequests, maxMemoryMb } = this.#limits;
    this.#requests++;
    if (maxRequests > 0 && this.#requests >= maxRequests) {
      return `it has served ${this.#requests} requests (maxRequests)`;
    }
    if (maxMemoryMb === 0 || nowMs - this.#lookedAt < LOOK_MS) return null;
    this.#lookedAt = nowMs;
    const usedMb = memoryUsage.rss() / (1 << 20);
    if (usedMb <= maxMemoryMb) return null;
    return `it has ${Math.ceil(usedMb)} MB of memory, allowed are ${maxMemoryMb} (maxMemoryMb)`;
  }
}
