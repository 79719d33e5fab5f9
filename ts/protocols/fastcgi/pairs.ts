// SPDX-License-Identifier: Apache-2.0
// Names and values as FCGI_PARAMS and FCGI_GET_VALUES have them: both lengths, then both texts. A length
// below 128 is one byte; else four, the first with its highest bit set.
import { ProtocolError } from '../protocol-error.ts';

export function encodePairs(pairs: Iterable<readonly [name: string, value: string]>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of pairs) {
    const texts = Buffer.from(name + value, 'latin1');
    parts.push(encodeLength(name.length), encodeLength(value.length), texts);
  }
  return Buffer.concat(parts);
}

/** Of four bytes. @param begin Where the pair begins. */
export function readLength(bytes: Buffer, at: number, begin: number): number {
  if (at + 4 > bytes.length) throw cutShort(begin, bytes.length);
  return bytes.readUInt32BE(at) & 0x7fffffff;
}

function encodeLength(length: number): Buffer {
  if (length <= 127) return Buffer.of(length);
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE((length | 0x80000000) >>> 0);
  return bytes;
}

export function cutShort(begin: number, end: number): ProtocolError {
  return new ProtocolError(
    `FastCGI: the names and values end at byte ${end}, within the pair that begins at byte ${begin}`,
    400,
  );
}
