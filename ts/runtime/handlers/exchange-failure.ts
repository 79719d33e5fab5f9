// SPDX-License-Identifier: Apache-2.0
// A handler that has failed: the client gets to know that, the log what.
import type { Exchange } from '../exchange.ts';
import { errorLine } from './error-line.ts';

/** 500 where no head went out, else the answer is broken off. A line for the log in any case. */
export function refuseFailed(exchange: Exchange, error: unknown): void {
  const { method, url } = exchange.head;
  const log = `the handler failed: ${method} ${url}: ${errorLine(error)}`;
  if (exchange.state === 'over') exchange.report(log);
  else exchange.refuse({ status: 500, reason: 'The application failed.', log });
}
