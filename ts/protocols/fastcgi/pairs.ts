// SPDX-License-Identifier: Apache-2.0
// Names and values as FCGI_PARAMS and FCGI_GET_VALUES have them: both lengths, then both texts. A length
// below 128 is one byte; else four, the first with its highest bit set.
import { ProtocolError } from '../protocol-error.ts';

/** 'U', which few names begin with. */
const U = 0x55;

/** Names that have come, at places that follow from some of their bytes. They come again with each
 * request, and the same string is found faster in a Map than an equal one. */
const known: (string | undefined)[] = new Array(1024).fill(undefined);
const KNOWN_BYTES_MAX = 64;

function nameAt(text: string, bytes: Buffer, at: number, length: number): string {
  const end = at + length;
  if (length < 3 || length > KNOWN_BYTES_MAX) return text.slice(at, end);
  const last = (bytes[end - 1] as number) * 31 + (bytes[end - 3] as number) * 7;
  const place = (length * 67 + last + (bytes[at + (length >> 1)] as number) * 17) & 1023;
  const there = known[place];
  if (there !== undefined && there.length === length && text.startsWith(there, at)) return there;
  const name = text.slice(at, end);
  // As the name of a property it is the very string that literals are.
  if (there === undefined) known[place] = Object.keys({ [name]: 0 })[0];
  return name;
}

/**
 * The last value of a name counts, but the first one of USHER_…: those are our own modules', and only
 * the web server's configuration can have said them again behind.
 * @throws ProtocolError when the bytes end within a pair
 */
export function decodePairs(bytes: Buffer): Map<string, string> {
  const pairs = new Map<string, string>();
  // One call for all texts: the strings cut out of it are cheaper than one call for each. A string that
  // is kept keeps them all.
  const text = bytes.toString('latin1');
  const end = bytes.length;
  let at = 0;
  while (at < end) {
    const begin = at;
    let nameBytes = bytes[at++] as number;
    if (nameBytes > 127) {
      if (at + 3 > end) throw cutShort(begin, end);
      nameBytes = longLength(bytes, begin);
      at += 3;
    }
    if (at >= end) throw cutShort(begin, end);
    const valueAt = at;
    let valueBytes = bytes[at++] as number;
    if (valueBytes > 127) {
      if (at + 3 > end) throw cutShort(begin, end);
      valueBytes = longLength(bytes, valueAt);
      at += 3;
    }
    if (nameBytes + valueBytes > end - at) throw cutShort(begin, end);
    const value = at + nameBytes;
    const name = nameAt(text, bytes, at, nameBytes);
    if (bytes[at] !== U || !name.startsWith('USHER_') || !pairs.has(name)) {
      pairs.set(name, text.slice(value, value + valueBytes));
    }
    at = value + valueBytes;
  }
  return pairs;
}

export function encodePairs(pairs: Iterable<readonly [name: string, value: string]>): Buffer {
  const parts: Buffer[] = [];
  for (const [name, value] of pairs) {
    const texts = Buffer.from(name + value, 'latin1');
    parts.push(encodeLength(name.length), encodeLength(value.length), texts);
  }
  return Buffer.concat(parts);
}

function longLength(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) & 0x7fffffff;
}

function encodeLength(length: number): Buffer {
  if (length <= 127) return Buffer.of(length);
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32BE((length | 0x80000000) >>> 0);
  return bytes;
}

function cutShort(begin: number, end: number): ProtocolError {
  return new ProtocolError(
    `FastCGI: the names and values end at byte ${end}, within the pair that begins at byte ${begin}`,
    400,
  );
}
