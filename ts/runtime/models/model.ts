// SPDX-License-Identifier: Apache-2.0
// What runs requests: in this process (models/local.ts), or in workers (models/pool.ts).
import type { Exchange } from '../exchange.ts';

export interface ModelCounts {
  /** At handlers now. */
  running: number;
  /** Accepted, not at a handler yet. */
  waiting: number;
  workers: number;
}

export interface Model {
  /** Before the first request. Rejects when no worker starts. */
  start(): Promise<void>;
  /** Sees to it that the exchange is answered, be it with a 503. Never throws. */
  run(exchange: Exchange): void;
  counts(): ModelCounts;
  /** No run() comes after it. Resolves when all has ended: what was accepted is finished first, what is not
   * by `stopMs` is broken off. */
  stop(stopMs: number): Promise<void>;
}
