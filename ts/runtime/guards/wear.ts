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
  readonly #usedBytes: () => number;
  #requests = 0;
  #lookedAtMs = Number.NEGATIVE_INFINITY;

  /** @param usedBytes What counts as memory; default: what of the process is resident. */
  constructor(limits: WearLimits, usedBytes: () => number = memoryUsage.rss) {
    this.#limits = limits;
    this.#usedBytes = usedBytes;
  }

  /** After each request. @returns why it is enough; null = it is not. */
  afterRequest(): string | null {
    const { maxRequests, maxMemoryMb } = this.#limits;
    this.#requests++;
    if (maxRequests > 0 && this.#requests >= maxRequests) {
      return `it has served ${this.#requests} requests (maxRequests)`;
    }
    if (maxMemoryMb === 0) return null;
    const nowMs = performance.now();
    if (nowMs - this.#lookedAtMs < LOOK_MS) return null;
    this.#lookedAtMs = nowMs;
    const usedMb = this.#usedBytes() / (1 << 20);
    if (usedMb <= maxMemoryMb) return null;
    return `it has ${Math.ceil(usedMb)} MB of memory, allowed are ${maxMemoryMb} (maxMemoryMb)`;
  }
}
