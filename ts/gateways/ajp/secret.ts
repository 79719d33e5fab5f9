// SPDX-License-Identifier: Apache-2.0
// The secret of -secret-file, which the launcher has opened: the gateway's user may not read it.
import { closeSync, fstatSync, readSync } from 'node:fs';

export const SECRET_FD = 4;
/** More than any secret has. */
const BYTES_MAX = 65536;

/**
 * Its bytes; undefined without -secret-file. To be called before anything else opens descriptors:
 * without a secret the number is free, and what Node itself has there is no regular file.
 */
export function readSecret(fd = SECRET_FD): Buffer | undefined {
  if (!isFile(fd)) return undefined;
  const buffer = Buffer.alloc(BYTES_MAX + 1);
  const length = readSync(fd, buffer, 0, buffer.length, 0);
  closeSync(fd);
  const secret = Buffer.from(buffer.subarray(0, length));
  buffer.fill(0);
  if (length > BYTES_MAX) throw new Error(`-secret-file: more than ${BYTES_MAX} bytes`);
  if (firstLine(secret) === '') throw new Error('-secret-file: its first line is empty');
  return secret;
}

/** As bytes in Latin-1 characters. */
export function firstLine(secret: Buffer): string {
  return secret.toString('latin1').split(/\r?\n/, 1)[0] ?? '';
}

function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false; // no such descriptor
  }
}
