// SPDX-License-Identifier: Apache-2.0
import { createHash, timingSafeEqual } from 'node:crypto';

const digest = (secret: string) => createHash('sha256').update(secret, 'latin1').digest();

/**
 * Compares what a peer gave with the secret, in a time that tells nothing of either. Throws a RangeError
 * for a secret that is empty or could not come over the wire.
 */
export function secretCheck(expected: string): (given: string | undefined) => boolean {
  if (!/^[\x20-\x7e\x80-\xff]+$/.test(expected)) {
    throw new RangeError(
      'AJP: a secret must have one character at least, and no control characters',
    );
  }
  const wanted = digest(expected);
  // The digest of nothing is not that of a secret, which has a character at least.
  return (given) => timingSafeEqual(digest(given ?? ''), wanted);
}
