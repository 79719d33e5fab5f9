// SPDX-License-Identifier: Apache-2.0
// Writes one message: bounded by its packet, and nothing goes in that may not be sent.
import { ProtocolError } from '../protocol-error.ts';
import { CODE_FIRST, CODED_CHARACTERS_MAX, HEAD_BYTES, NULL_LENGTH } from './codes.ts';
import { byteName, forbiddenByte, forbiddenCharacter, isForbidden, type TextKind } from './text.ts';

/** Up to so many characters a loop is quicker than a call of Buffer.write. */
const LOOP_CHARACTERS = 20;
/** A look at how V8 holds the text, and not at its characters, where it has none of these. */
const BEYOND_LATIN_1 = /[^\0-\xff]/;

export interface WriteStatus {
  /** Of the error for a message that is too long, and for text that may not be sent. */
  tooLong: number;
  forbidden: number;
}

export class MessageWriter {
  readonly #bytes: Buffer;
  readonly #what: string;
  readonly #packetBytes: number;
  readonly #status: WriteStatus;
  #at = HEAD_BYTES;

  /** `bytesMax`: what the message can take; less than a packet saves memory. */
  constructor(what: string, bytesMax: number, packetBytes: number, status: WriteStatus) {
    this.#what = what;
    this.#packetBytes = packetBytes;
    this.#status = status;
    this.#bytes = Buffer.allocUnsafe(Math.min(bytesMax + HEAD_BYTES, packetBytes));
  }

  byte(value: number): void {
    this.#need(1);
    this.#bytes[this.#at++] = value;
  }

  uint16(value: number): void {
    this.#need(2);
    this.#bytes[this.#at++] = value >>> 8;
    this.#bytes[this.#at++] = value & 0xff;
  }

  /** A number from outside, which may be none. */
  checkedUint16(value: number, what: string): void {
    if (!(Number.isInteger(value) && value >= 0 && value <= 0xffff)) {
      throw this.#refuse(`${what} ${value} is not within 0 to 65535`);
    }
    this.uint16(value);
  }

  string(text: string | null, kind: TextKind, what: string): void {
    if (text === null) {
      this.uint16(NULL_LENGTH);
      return;
    }
    const length = text.length;
    if (length >= NULL_LENGTH) throw this.#tooLong();
    const bytes = this.#bytes;
    if (this.#at + length + 3 > bytes.length) {
      this.#check(text, kind, what);
      throw this.#tooLong();
    }
    this.uint16(length);
    const at = this.#at;
    const end = at + length;
    if (length <= LOOP_CHARACTERS) {
      for (let i = 0; i < length; i++) {
        const code = text.charCodeAt(i);
        if (isForbidden(code, kind)) this.#check(text, kind, what);
        bytes[at + i] = code;
      }
    } else {
      if (BEYOND_LATIN_1.test(text)) this.#check(text, kind, what);
      bytes.write(text, at, length, 'latin1');
      // Four times as fast as a look at the characters.
      if (forbiddenByte(bytes, at, end, kind) !== -1) this.#check(text, kind, what);
    }
    bytes[end] = 0;
    this.#at = end + 1;
  }

  /** A header's name: its code when it has one, else a token. */
  name(name: string, codes: ReadonlyMap<string, number>, kind: TextKind): void {
    let code = codes.get(name);
    if (code === undefined && name.length <= CODED_CHARACTERS_MAX) {
      code = codes.get(name.toLowerCase());
    }
    if (code !== undefined) {
      this.uint16(code);
      return;
    }
    if (name === '') throw this.#refuse('a header name is empty');
    if (name.length >= CODE_FIRST) throw this.#tooLong();
    this.string(name, kind, 'a header name');
  }

  /** The whole packet. */
  finish(magic: number): Buffer {
    const bytes = this.#bytes;
    bytes.writeUInt16BE(magic, 0);
    bytes.writeUInt16BE(this.#at - HEAD_BYTES, 2);
    return bytes.subarray(0, this.#at);
  }

  #need(count: number): void {
    if (this.#at + count > this.#bytes.length) throw this.#tooLong();
  }

  #check(text: string, kind: TextKind, what: string): void {
    const wrong = forbiddenCharacter(text, kind);
    if (wrong === -1) return;
    const name = byteName(text.charCodeAt(wrong));
    throw this.#refuse(`${what} holds ${name} at ${wrong}, which may not be sent`);
  }

  #tooLong(): ProtocolError {
    return new ProtocolError(
      `AJP: ${this.#what} does not fit a packet of ${this.#packetBytes} bytes (a larger packet size, packetSize of Tomcat, must be configured at both ends)`,
      this.#status.tooLong,
    );
  }

  #refuse(message: string): ProtocolError {
    return new ProtocolError(`AJP: ${this.#what}: ${message}`, this.#status.forbidden);
  }
}
