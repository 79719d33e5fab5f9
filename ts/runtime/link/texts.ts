// SPDX-License-Identifier: Apache-2.0
// Lists of short texts as one text, which is written to bytes and read from them in one call each: the heads
// of requests and answers. Before each text stands its length, one character, or LONG and four of them.
// Characters are Latin-1, a byte each.
import { ProtocolError } from '../../protocols/protocol-error.ts';

const NULL = 254;
const LONG = 255;

const codes = Array.from({ length: NULL }, (_, code) => String.fromCharCode(code));
const nullText = String.fromCharCode(NULL);
const longText = String.fromCharCode(LONG);

export function joinTexts(texts: readonly (string | null)[]): string {
  let joined = '';
  for (const text of texts) {
    if (text === null) joined += nullText;
    else if (text.length < NULL) joined += (codes[text.length] as string) + text;
    else joined += longText + fourCharacters(text.length) + text;
  }
  return joined;
}

function fourCharacters(n: number): string {
  return String.fromCharCode(n >>> 24, (n >>> 16) & 255, (n >>> 8) & 255, n & 255);
}

/** Reads a joined list. What does not fit is a ProtocolError. */
export class TextReader {
  readonly #joined: string;
  #at = 0;

  constructor(joined: string) {
    this.#joined = joined;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#joined.length;
  }

  next(): string | null {
    const joined = this.#joined;
    let start = this.#at + 1;
    let length = joined.charCodeAt(this.#at);
    if (length === NULL) {
      this.#at = start;
      return null;
    }
    if (length === LONG) {
      length = this.#fourAt(start);
      start += 4;
    }
    const end = start + length;
    // Of a length that is missing the end is NaN.
    if (!(end <= joined.length)) throw new ProtocolError('a text that is longer than its message');
    this.#at = end;
    return joined.substring(start, end);
  }

  text(): string {
    const text = this.next();
    if (text === null) throw new ProtocolError('a text is missing in a message');
    return text;
  }

  number(): number {
    const text = this.text();
    if (!/^\d{1,16}$/.test(text)) throw new ProtocolError(`"${text}" is no number, in a message`);
    return Number(text);
  }

  /** So many texts. */
  list(count: number): string[] {
    const list: string[] = [];
    for (let i = 0; i < count; i++) list.push(this.text());
    return list;
  }

  #fourAt(at: number): number {
    const joined = this.#joined;
    const high = joined.charCodeAt(at) * 0x100_0000;
    return (
      high +
      ((joined.charCodeAt(at + 1) << 16) |
        (joined.charCodeAt(at + 2) << 8) |
        joined.charCodeAt(at + 3))
    );
  }
}
