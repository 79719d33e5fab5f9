// SPDX-License-Identifier: Apache-2.0
// The only reader of messages: each getter is bounded by the message, whatever lies behind it in the
// buffer, and names what it was reading when it fails.
import { ProtocolError } from '../protocol-error.ts';
import { CODE_FIRST, NULL_LENGTH } from './codes.ts';
import { byteName, forbiddenByte, type TextKind, TOKEN } from './text.ts';

export class Cursor {
  #bytes: Buffer = Buffer.alloc(0);
  #at = 0;
  #end = 0;
  readonly #status: number;

  /** The status of the errors it throws: what a server answers; 0 at a client. */
  constructor(status: number) {
    this.#status = status;
  }

  /** Reads bytes [at, end) from now on. */
  begin(bytes: Buffer, at: number, end: number): void {
    if (!(at >= 0 && at <= end && end <= bytes.length)) {
      throw new RangeError(`message [${at}, ${end}) in a buffer of ${bytes.length} bytes`);
    }
    this.#bytes = bytes;
    this.#at = at;
    this.#end = end;
  }

  get remaining(): number {
    return this.#end - this.#at;
  }

  byte(what: string): number {
    this.#need(1, what);
    return this.#bytes[this.#at++] as number;
  }

  uint16(what: string): number {
    this.#need(2, what);
    const at = this.#at;
    this.#at = at + 2;
    return ((this.#bytes[at] as number) << 8) | (this.#bytes[at + 1] as number);
  }

  string(what: string, kind: TextKind): string | null {
    const length = this.uint16(what);
    return length === NULL_LENGTH ? null : this.#text(length, what, kind);
  }

  /** A string where null is not allowed. */
  text(what: string, kind: TextKind): string {
    const text = this.string(what, kind);
    if (text === null) throw this.error(`${what} is null`);
    return text;
  }

  /** A header's name: a code of the table, or a token. */
  name(what: string, names: readonly string[]): string {
    const length = this.uint16(what);
    if (length < CODE_FIRST) {
      if (length === 0) throw this.error(`${what} is empty`);
      return this.#text(length, what, TOKEN);
    }
    const name = names[length - CODE_FIRST];
    if (!name) {
      const last = (CODE_FIRST + names.length - 1).toString(16);
      throw this.error(`${what} has code ${length.toString(16)}, known are a001 to ${last}`);
    }
    return name;
  }

  /** Throws unless `count` items of at least `bytesEach` can follow. */
  fits(count: number, bytesEach: number, what: string): void {
    if (count * bytesEach > this.remaining) {
      throw this.error(`${count} ${what} cannot be in the ${this.remaining} bytes that are left`);
    }
  }

  /** Throws unless the message has been read to its end. */
  finish(what: string): void {
    if (this.#at !== this.#end) throw this.error(`${this.remaining} bytes after ${what}`);
  }

  error(message: string): ProtocolError {
    return new ProtocolError(`AJP: ${message}`, this.#status);
  }

  #text(length: number, what: string, kind: TextKind): string {
    const at = this.#at;
    const end = at + length;
    this.#need(length + 1, what);
    if (this.#bytes[end] !== 0) throw this.error(`${what} of ${length} bytes is not ended by NUL`);
    const wrong = forbiddenByte(this.#bytes, at, end, kind);
    if (wrong !== -1) {
      const name = byteName(this.#bytes[wrong] as number);
      throw this.error(`${what} holds ${name} at ${wrong - at}, which is not allowed there`);
    }
    this.#at = end + 1;
    return this.#bytes.toString('latin1', at, end);
  }

  #need(count: number, what: string): void {
    if (count > this.#end - this.#at) {
      throw this.error(`${what} needs ${count} bytes, the message has ${this.remaining} more`);
    }
  }
}
