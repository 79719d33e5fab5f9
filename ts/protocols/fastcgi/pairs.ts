// SPDX-License-Identifier: Apache-2.0
// Names and values as FCGI_PARAMS and FCGI_GET_VALUES have them: both lengths, then both texts. A length
// below 128 is one byte; else four, the first with its highest bit set.
import { ProtocolError } from '../protocol-error.ts';

export function encodePairs(pairs: Iterable<readonly [name: string, value: string]>): Buffer {
  let text = '';
  for (const [name, value] of pairs) {
    text += encodeLength(name.length) + encodeLength(value.length) + name + value;
  }
  return Buffer.from(text, 'latin1');
}

/** Of four bytes. @param begin Where the pair begins. */
export function readLength(bytes: Buffer, at: number, begin: number): number {
  if (at + 4 > bytes.length) throw cutShort(begin, bytes.length);
  return bytes.readUInt32BE(at) & 0x7fffffff;
}

/** As characters. */
function encodeLength(length: number): string {
  if (length <= 127) return String.fromCharCode(length);
  const [first, ...rest] = [24, 16, 8, 0].map((shift) => (length >>> shift) & 255);
  return String.fromCharCode((first as number) | 128, ...rest);
}

export function cutShort(begin: number, end: number): ProtocolError {
  return new ProtocolError(
    `FastCGI: the names and values end at byte ${end}, within the pair that begins at byte ${begin}`,
    400,
  );
}
