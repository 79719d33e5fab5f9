// SPDX-License-Identifier: Apache-2.0
// What a client gets in place of a backend's answer. The cause is for the error log only: it names
// hosts and settings.
import { STATUS_CODES } from 'node:http';

/** @param extra Fields, each with its line end. */
export function errorAnswer(status: number, extra: string): Buffer {
  const line = `${status} ${STATUS_CODES[status] ?? 'Error'}`;
  return Buffer.from(
    `Status: ${line}\r\nContent-Type: text/plain\r\nContent-Length: ${line.length + 1}\r\n` +
      `${extra}\r\n${line}\n`,
    'latin1',
  );
}
