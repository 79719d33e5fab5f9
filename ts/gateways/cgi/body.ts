// SPDX-License-Identifier: Apache-2.0
// A request's body on its way to the program's stdin: gathered until the program runs, cut at what
// CONTENT_LENGTH says, stopped while the program does not read.
import type { Exchange } from '../connections.ts';
import type { Program } from './program.ts';

/** Kept for a program that does not run yet; a body without a length is counted up to this. */
const GATHERED_BYTES_MAX = 64 << 10;

export class RequestBody {
  readonly #exchange: Exchange;
  /** What CONTENT_LENGTH says; null: nothing. */
  readonly length: number | null;
  #received = 0;
  #isWhole = false;
  #gathered: Buffer[] = [];
  #program: Program | null = null;
  #isSwallowed = false;
  #isPaused = false;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    const said = exchange.head.params.get('CONTENT_LENGTH') ?? '';
    this.length = /^\d{1,15}$/.test(said) ? Number(said) : null;
  }

  /** Enough is known to start the program: the length, or that there is more than is counted. */
  get isReady(): boolean {
    return this.#isWhole || (this.length ?? 0) > 0 || this.#received > GATHERED_BYTES_MAX;
  }

  get hasBytes(): boolean {
    return (this.length ?? 0) > 0 || this.#received > 0;
  }

  /** undefined: the web server says it, or it is not known. */
  get countedBytes(): number | undefined {
    return this.length === null && this.#isWhole ? this.#received : undefined;
  }

  /** Bytes that CONTENT_LENGTH promised and that never came. */
  get missing(): number {
    return this.#isWhole ? (this.length ?? this.#received) - this.#received : 0;
  }

  add(bytes: Buffer): void {
    const room = this.length === null ? bytes.length : Math.max(0, this.length - this.#received);
    const taken = bytes.length <= room ? bytes : bytes.subarray(0, room);
    this.#received += taken.length;
    if (this.#isSwallowed || taken.length === 0) return;
    if (this.#program !== null) {
      if (!this.#program.write(taken)) this.#pause();
      return;
    }
    this.#gathered.push(taken);
    if (this.#received > GATHERED_BYTES_MAX) this.#pause();
  }

  end(): void {
    this.#isWhole = true;
    this.#program?.endStdin();
  }

  feed(program: Program): void {
    this.#program = program;
    let hasRoom = true;
    for (const bytes of this.#gathered) hasRoom = program.write(bytes);
    this.#gathered = [];
    if (this.#isWhole) program.endStdin();
    if (hasRoom) this.resume();
  }

  resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#exchange.resumeBody();
  }

  /** Nobody reads it: what still comes is dropped. */
  swallow(): void {
    this.#isSwallowed = true;
    this.#gathered = [];
    this.resume();
  }

  #pause(): void {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#exchange.pauseBody();
  }
}
