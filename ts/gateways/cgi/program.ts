// SPDX-License-Identifier: Apache-2.0
// One program that usher-forker runs: its streams, each with its window.
import {
  encodeClose,
  encodeOutputCredit,
  encodeSignal,
  encodeStdin,
  encodeStdinEnd,
  type StartFailure,
  WINDOW_BYTES,
} from './frames.ts';

/** Credit is told in pieces of this size. */
const CREDIT_BYTES = WINDOW_BYTES / 4;
/** Of one frame. */
const STDIN_BYTES_MAX = 64 << 10;

export interface ProgramEvents {
  /** Nothing was started; nothing else is told. */
  onFailed(failure: StartFailure): void;
  /** The forker died, and the program with it; nothing else is told. */
  onLost(): void;
  onStdout(bytes: Buffer): void;
  onStderr(bytes: Buffer): void;
  onStdoutEnd(): void;
  /** One of them is 0; both for success. Output may still come, of children that hold the pipe. */
  onExit(status: number, signal: number): void;
  /** write() said false; now there is room again. */
  onStdinDrain(): void;
  /** It reads no more: what is written is dropped. */
  onStdinClosed(): void;
}

interface Channel {
  send(frames: readonly Buffer[]): void;
  forget(): void;
}

export class Program {
  readonly events: ProgramEvents;
  readonly #id: number;
  readonly #channel: Channel;
  /** Of the program and of its process group; 0: not known yet. */
  pid = 0;
  hasExited = false;
  stdoutHasEnded = false;
  #stderrHasEnded = false;
  #isForgotten = false;

  #stdin: Buffer[] = [];
  #stdinCredit = WINDOW_BYTES;
  #stdinIsWhole = false;
  #stdinIsClosed = false;
  #outputTaken = 0;

  constructor(id: number, events: ProgramEvents, channel: Channel) {
    this.#id = id;
    this.events = events;
    this.#channel = channel;
  }

  // ---- for the request -----------------------------------------------------------------------

  /** Bytes for its stdin, kept until they are sent. false: no more until onStdinDrain. */
  write(bytes: Buffer): boolean {
    if (this.#stdinIsClosed || this.#stdinIsWhole) return true;
    if (bytes.length > 0) this.#stdin.push(bytes);
    this.#sendStdin();
    return this.#stdin.length === 0;
  }

  endStdin(): void {
    if (this.#stdinIsWhole) return;
    this.#stdinIsWhole = true;
    if (this.#stdin.length === 0) this.#send([encodeStdinEnd(this.#id)]);
  }

  /** So many bytes of its output have been dealt with. */
  taken(bytes: number): void {
    this.#outputTaken += bytes;
    if (this.#outputTaken < CREDIT_BYTES) return;
    this.#send([encodeOutputCredit(this.#id, this.#outputTaken)]);
    this.#outputTaken = 0;
  }

  /** To its process group. */
  signal(number: number): void {
    this.#send([encodeSignal(this.#id, number)]);
  }

  /** Nothing more of its output is wanted. */
  close(): void {
    if (this.stdoutHasEnded && this.#stderrHasEnded) return;
    this.stdoutHasEnded = true;
    this.#stderrHasEnded = true;
    this.#send([encodeClose(this.#id)]);
    this.#forgetIfOver();
  }

  // ---- for the forker ------------------------------------------------------------------------

  started(pid: number): void {
    this.pid = pid;
  }

  failed(failure: StartFailure): void {
    this.#forget();
    this.events.onFailed(failure);
  }

  /** What the program started may live on: only its own process dies with the forker. */
  lost(): void {
    this.#isForgotten = true;
    if (this.pid > 0) {
      try {
        process.kill(-this.pid, 'SIGKILL');
      } catch {
        // ESRCH: the group is gone
      }
    }
    this.events.onLost();
  }

  addCredit(bytes: number): void {
    this.#stdinCredit += bytes;
    if (this.#stdin.length === 0) return;
    this.#sendStdin();
    if (this.#stdin.length > 0) return;
    if (this.#stdinIsWhole) this.#send([encodeStdinEnd(this.#id)]);
    else this.events.onStdinDrain();
  }

  stdinClosed(): void {
    this.#stdinIsClosed = true;
    this.#stdin = [];
    this.events.onStdinClosed();
  }

  stdoutEnded(): void {
    if (this.stdoutHasEnded) return; // close() was quicker
    this.stdoutHasEnded = true;
    this.#forgetIfOver();
    this.events.onStdoutEnd();
  }

  stderrEnded(): void {
    this.#stderrHasEnded = true;
    this.#forgetIfOver();
  }

  exited(status: number, signal: number): void {
    this.hasExited = true;
    this.#forgetIfOver();
    this.events.onExit(status, signal);
  }

  #sendStdin(): void {
    const frames: Buffer[] = [];
    while (this.#stdin.length > 0 && this.#stdinCredit > 0) {
      const first = this.#stdin[0] as Buffer;
      const length = Math.min(first.length, this.#stdinCredit, STDIN_BYTES_MAX);
      if (length === first.length) this.#stdin.shift();
      else this.#stdin[0] = first.subarray(length);
      frames.push(...encodeStdin(this.#id, first.subarray(0, length)));
      this.#stdinCredit -= length;
    }
    if (frames.length > 0) this.#send(frames);
  }

  #send(frames: readonly Buffer[]): void {
    if (!this.#isForgotten) this.#channel.send(frames);
  }

  #forgetIfOver(): void {
    if (this.hasExited && this.stdoutHasEnded && this.#stderrHasEnded) this.#forget();
  }

  #forget(): void {
    this.#isForgotten = true;
    this.#channel.forget();
  }
}
