// SPDX-License-Identifier: Apache-2.0
// How JServ knows its web servers: it sends random bytes, they send MD5 of those and the secret file's.
// It was weak when it was new; what follows is neither signed nor encrypted.
import { createHash, timingSafeEqual } from 'node:crypto';
import { ProtocolError } from '../protocol-error.ts';

const LENGTH_BYTES = 4;
/** Nobody needs more; JServ sends 5. */
const CHALLENGE_BYTES_MAX = 1024;

export const ANSWER_BYTES = 16;

/** What an engine sends when a connection begins. Throws a RangeError for 0 or more than 1024 bytes. */
export function encodeChallenge(challenge: Buffer): Buffer {
  const { length } = challenge;
  if (length === 0 || length > CHALLENGE_BYTES_MAX) {
    throw new RangeError(`AJP 1.2: a challenge of ${length} bytes, 1 to 1024 are allowed`);
  }
  const bytes = Buffer.alloc(LENGTH_BYTES);
  bytes.writeUInt32BE(length);
  return Buffer.concat([bytes, challenge]);
}

/** `key`: all bytes of the secret file. */
export function answerTo(challenge: Buffer, key: Buffer): Buffer {
  return createHash('md5').update(challenge).update(key).digest();
}

export function isAnswer(given: Buffer, challenge: Buffer, key: Buffer): boolean {
  return given.length === ANSWER_BYTES && timingSafeEqual(given, answerTo(challenge, key));
}

/** Where the challenge stands in what an engine sends first; null = more is needed. */
export function findChallenge(bytes: Buffer): { start: number; end: number } | null {
  if (bytes.length < LENGTH_BYTES) return null;
  const length = bytes.readUInt32BE(0);
  if (length === 0 || length > CHALLENGE_BYTES_MAX) {
    throw new ProtocolError(`AJP 1.2: a challenge of ${length} bytes, 1 to 1024 are allowed`);
  }
  const end = LENGTH_BYTES + length;
  return bytes.length < end ? null : { start: LENGTH_BYTES, end };
}
