// SPDX-License-Identifier: Apache-2.0
// A program's output up to its body: pieces in, then the head and the first bytes of the body.
import { ProtocolError } from '../protocol-error.ts';
import { CgiHeadError } from './cgi-head-error.ts';
import { HeadFields } from './head-fields.ts';
import type { CgiHead, CgiHeadLimits } from './types.ts';

const LF = 0x0a;

export class CgiHeadDecoder {
  readonly #limits: CgiHeadLimits;
  readonly #fields: HeadFields;
  /** What is there of a line whose end is not. */
  #line = '';
  #lines = 0;
  #bytes = 0;
  #failure: ProtocolError | null = null;

  constructor(limits: CgiHeadLimits = { headBytes: 65536, fields: 256 }) {
    this.#limits = limits;
    this.#fields = new HeadFields(limits.fields);
  }

  /**
   * null: the head goes on. Nothing may follow a head; `body` is a view.
   * @throws CgiHeadError, the same again for whatever follows
   */
  push(chunk: Buffer): { head: CgiHead; body: Buffer } | null {
    return this.#failing(() => {
      const room = this.#limits.headBytes - this.#bytes;
      const end = Math.min(chunk.length, room);
      let at = 0;
      while (at < end) {
        const newline = chunk.indexOf(LF, at);
        if (newline === -1 || newline >= end) {
          this.#line += chunk.toString('latin1', at, end);
          break;
        }
        const line = this.#line + chunk.toString('latin1', at, newline);
        at = newline + 1;
        this.#line = '';
        if (line === '' || line === '\r') {
          return { head: this.#fields.finish(), body: chunk.subarray(at) };
        }
        this.#lines++;
        this.#fields.add(line.endsWith('\r') ? line.slice(0, -1) : line, this.#lines);
      }
      this.#bytes += end;
      if (chunk.length > room) {
        const limit = `longer than ${this.#limits.headBytes} bytes`;
        throw new CgiHeadError(`line ${this.#lines + 1} of the answer's head,`, limit, this.#line);
      }
      return null;
    });
  }

  /** The output ended, and its head had not. @throws CgiHeadError always */
  end(): never {
    return this.#failing(() => {
      if (this.#bytes === 0) throw new CgiHeadError('', 'the program wrote nothing');
      const place = `line ${this.#lines + 1} of the answer's head,`;
      throw new CgiHeadError(place, 'the output ends before the empty line after it', this.#line);
    });
  }

  #failing<Result>(read: () => Result): Result {
    if (this.#failure !== null) throw this.#failure;
    try {
      return read();
    } catch (error) {
      if (error instanceof ProtocolError) this.#failure = error;
      throw error;
    }
  }
}
