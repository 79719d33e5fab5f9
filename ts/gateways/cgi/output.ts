// SPDX-License-Identifier: Apache-2.0
// A program's stdout on its way to the web server: the head is read, the body passed on, both within
// what was promised and allowed.
import { CgiHeadDecoder } from '../../protocols/cgi/index.ts';
import type { Exchange } from '../connections.ts';
import { encodeHead } from './answers.ts';

const SMALL_BYTES = 16 << 10;
/** Held back at most while the request's body is still coming. */
const HELD_BYTES_MAX = 64 << 10;

/** The answer is longer than -max-output allows. */
export class OutputLimitError extends Error {
  override name = 'OutputLimitError';
}

export class ProgramOutput {
  readonly #exchange: Exchange;
  readonly #bytesMax: number;
  #head: CgiHeadDecoder | null = new CgiHeadDecoder();
  #bytes = 0;
  #bodyBytes = 0;
  #contentLength: number | null = null;
  #hasBody = true;
  /** Answered to the program when the web server has read on. */
  #untaken = 0;
  #isFull = false;
  /** Until release(): nginx sends no more of a body once it has seen the answer's head, and git's
   * programs write theirs before they read. null: nothing is held back. */
  #held: Buffer[] | null = [];
  #heldBytes = 0;

  /** @param bytesMax Of the whole answer; 0 = no limit. */
  constructor(exchange: Exchange, bytesMax: number) {
    this.#exchange = exchange;
    this.#bytesMax = bytesMax;
  }

  /** The head was sent: the answer can only be gone on with, or broken off. */
  get hasHead(): boolean {
    return this.#head === null && this.#held === null;
  }

  /** More than Content-Length promised: dropped. */
  get surplus(): number {
    return this.#contentLength === null ? 0 : Math.max(0, this.#bodyBytes - this.#contentLength);
  }

  /** Less than Content-Length promised. */
  get missing(): number {
    if (this.#contentLength === null || !this.#hasBody) return 0;
    return Math.max(0, this.#contentLength - this.#bodyBytes);
  }

  /**
   * How many bytes may be told the program as taken, now.
   * @throws CgiHeadError, OutputLimitError: nothing of these bytes was sent
   */
  push(bytes: Buffer): number {
    this.#bytes += bytes.length;
    this.#limit(this.#bytes);
    if (this.#head === null) this.#writeBody(bytes);
    else this.#readHead(this.#head, bytes);
    this.#untaken += bytes.length;
    return this.#isFull ? 0 : this.takeAll();
  }

  /** @throws CgiHeadError when there is no whole head */
  end(): void {
    this.#head?.end();
    this.release();
  }

  /** The request's body is there, or nobody wants the rest of it. */
  release(): void {
    const held = this.#held;
    this.#held = null;
    if (held === null || this.#heldBytes === 0) return;
    const bytes = Buffer.concat(held, this.#heldBytes);
    this.#heldBytes = 0;
    this.#write(bytes);
  }

  /** The web server has read on. */
  takeAll(): number {
    const taken = this.#untaken;
    this.#untaken = 0;
    this.#isFull = false;
    return taken;
  }

  #limit(bytes: number): void {
    if (this.#bytesMax === 0 || bytes <= this.#bytesMax) return;
    throw new OutputLimitError(`its answer is longer than ${this.#bytesMax} bytes (-max-output)`);
  }

  #readHead(decoder: CgiHeadDecoder, bytes: Buffer): void {
    const read = decoder.push(bytes);
    if (read === null) return;
    const { bytes: head, contentLength } = encodeHead(read.head);
    this.#limit(contentLength ?? 0);
    this.#head = null;
    const status = read.head.kind === 'local-redirect' ? 200 : read.head.status;
    const method = this.#exchange.head.params.get('REQUEST_METHOD');
    this.#hasBody = method !== 'HEAD' && status !== 204 && status !== 304;
    this.#contentLength = contentLength;
    // A small answer is one record.
    if (read.body.length > 0 && read.body.length <= SMALL_BYTES && this.#fits(read.body.length)) {
      this.#bodyBytes = read.body.length;
      this.#write(Buffer.concat([head, read.body]));
      return;
    }
    this.#write(head);
    this.#writeBody(read.body);
  }

  #fits(bytes: number): boolean {
    return this.#contentLength === null || bytes <= this.#contentLength;
  }

  #writeBody(bytes: Buffer): void {
    const room =
      this.#contentLength === null ? bytes.length : this.#contentLength - this.#bodyBytes;
    this.#bodyBytes += bytes.length;
    if (room > 0) this.#write(bytes.length <= room ? bytes : bytes.subarray(0, room));
  }

  #write(bytes: Buffer): void {
    if (this.#held !== null) {
      this.#held.push(Buffer.from(bytes)); // they are there until the next read
      this.#heldBytes += bytes.length;
      if (this.#heldBytes > HELD_BYTES_MAX) this.release();
      return;
    }
    if (!this.#exchange.write(bytes)) this.#isFull = true;
  }
}
