// SPDX-License-Identifier: Apache-2.0
// What a program writes to stderr, as lines for the web server's error log: not too long, not too many.

const LINE_BYTES_MAX = 2048;
const TOTAL_BYTES_MAX = 64 << 10;
const LF = 0x0a;

export class ErrorLines {
  readonly #write: (line: string) => void;
  #partial: Buffer = Buffer.alloc(0);
  /** The rest of a line that was cut is dropped. */
  #isCut = false;
  #written = 0;
  #dropped = 0;
  /** The last one that is not empty: it often is the cause. */
  last = '';

  constructor(write: (line: string) => void) {
    this.#write = write;
  }

  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      const newline = chunk.indexOf(LF, at);
      const end = newline === -1 ? chunk.length : newline;
      this.#add(chunk.subarray(at, end));
      if (newline !== -1) this.#endLine();
      at = end + 1;
    }
  }

  /** There is no more. */
  end(): void {
    this.#endLine();
    if (this.#dropped > 0) this.#write(`(${this.#dropped} bytes more on stderr are not shown)`);
    this.#dropped = 0;
  }

  #add(bytes: Buffer): void {
    if (this.#isCut || this.#written >= TOTAL_BYTES_MAX) {
      this.#dropped += bytes.length;
      return;
    }
    const room = LINE_BYTES_MAX - this.#partial.length;
    this.#partial = Buffer.concat([this.#partial, bytes.subarray(0, room)]);
    if (bytes.length <= room) return;
    this.#dropped += bytes.length - room;
    this.#isCut = true;
  }

  #endLine(): void {
    const isCut = this.#isCut;
    const line = this.#partial.toString('utf8').trimEnd();
    this.#partial = Buffer.alloc(0);
    this.#isCut = false;
    if (line === '') return;
    this.#written += line.length;
    this.last = line;
    this.#write(isCut ? `${line} …` : line);
  }
}
