// SPDX-License-Identifier: Apache-2.0
// The secret of -secret-file, which the launcher has opened: the gateway's user may not read it.
import { closeSync, fstatSync, readSync } from 'node:fs';

export const SECRET_FD = 4;
/** More than any secret has. */
const BYTES_MAX = 4096;

/**
 * Its first line, as bytes in Latin-1 characters; undefined without -secret-file. To be called before
 * anything else opens descriptors: without a secret the number is free, and what Node itself has there
 * is no regular file.
 */
export function readSecret(fd = SECRET_FD): string | undefined {
  if (!isFile(fd)) return undefined;
  const buffer = Buffer.alloc(BYTES_MAX);
  const length = readSync(fd, buffer, 0, BYTES_MAX, 0);
  closeSync(fd);
  const secret = buffer.toString('latin1', 0, length).split(/\r?\n/, 1)[0] ?? '';
  buffer.fill(0);
  if (secret === '') throw new Error('-secret-file: its first line is empty');
  return secret;
}

function isFile(fd: number): boolean {
  try {
    return fstatSync(fd).isFile();
  } catch {
    return false; // no such descriptor
  }
}
