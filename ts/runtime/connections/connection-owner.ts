// SPDX-License-Identifier: Apache-2.0
// What connections need of who accepts them.
import type { Exchange } from '../exchange.ts';

export interface ConnectionOwner {
  /** Sees to it that the exchange is answered. Never throws. */
  run(exchange: Exchange): void;
  /** A line for our own log. */
  log(line: string): void;
}
