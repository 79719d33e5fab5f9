// SPDX-License-Identifier: Apache-2.0
// Errors as people read them, one line each.
import { getSystemErrorMap } from 'node:util';

/** "connection refused" for ECONNREFUSED; other messages without line ends. */
export function oneLine(error: Error): string {
  const { errno, code } = error as NodeJS.ErrnoException;
  if (error instanceof AggregateError && error.errors[0] instanceof Error) {
    return oneLine(error.errors[0]); // a name with several addresses, none of which answers
  }
  const known = errno === undefined ? undefined : getSystemErrorMap().get(errno);
  if (known !== undefined) return known[1];
  const text = error.message.replace(/\s+/g, ' ').trim();
  return text || code || 'unknown error';
}
