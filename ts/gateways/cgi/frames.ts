// SPDX-License-Identifier: Apache-2.0
// The language between gateway and usher-forker; native/forker/protocol.h describes it.
import { endianness } from 'node:os';

/** How far the sender of a stream may be ahead of the credit it was given. */
export const WINDOW_BYTES = 256 << 10;
const HEADER_BYTES = 12;
const HAS_STDIN = 1;

const type = {
  start: 1,
  stdin: 2,
  stdinEnd: 3,
  outputCredit: 4,
  signal: 5,
  close: 6,
  started: 16,
  failed: 17,
  stdinCredit: 18,
  stdinClosed: 19,
  stdout: 20,
  stderr: 21,
  stdoutEnd: 22,
  stderrEnd: 23,
  exited: 24,
} as const;

const isLittle = endianness() === 'LE';

function readNumber(bytes: Buffer, at: number): number {
  return isLittle ? bytes.readUInt32LE(at) : bytes.readUInt32BE(at);
}

function writeNumber(bytes: Buffer, value: number, at: number): void {
  if (isLittle) bytes.writeUInt32LE(value, at);
  else bytes.writeUInt32BE(value, at);
}

// ---- to the forker -----------------------------------------------------------------------------

function header(kind: number, program: number, length: number, room = 0): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + room);
  writeNumber(bytes, length, 0);
  writeNumber(bytes, kind, 4);
  writeNumber(bytes, program, 8);
  return bytes;
}

function numberFrame(kind: number, program: number, value: number): Buffer {
  const bytes = header(kind, program, 4, 4);
  writeNumber(bytes, value, HEADER_BYTES);
  return bytes;
}

/**
 * @param args The first is the program's absolute path. Strings are Latin-1: a character is a byte.
 * @throws Error for a NUL in one of them: it would become two
 */
export function encodeStart(
  program: number,
  args: readonly string[],
  environment: readonly string[],
  hasStdin: boolean,
): Buffer {
  const text = `${[...args, ...environment].join('\0')}\0`;
  if (nulsIn(text) !== args.length + environment.length) {
    throw new Error(`${args[0]}: a NUL in an argument or a variable`);
  }
  const bytes = header(type.start, program, 12 + text.length, 12 + text.length);
  writeNumber(bytes, hasStdin ? HAS_STDIN : 0, HEADER_BYTES);
  writeNumber(bytes, args.length, HEADER_BYTES + 4);
  writeNumber(bytes, environment.length, HEADER_BYTES + 8);
  bytes.write(text, HEADER_BYTES + 12, 'latin1');
  return bytes;
}

function nulsIn(text: string): number {
  let count = 0;
  for (let at = text.indexOf('\0'); at !== -1; at = text.indexOf('\0', at + 1)) count++;
  return count;
}

export function encodeStdin(program: number, bytes: Buffer): [Buffer, Buffer] {
  return [header(type.stdin, program, bytes.length), bytes];
}

export function encodeStdinEnd(program: number): Buffer {
  return header(type.stdinEnd, program, 0);
}

export function encodeOutputCredit(program: number, bytes: number): Buffer {
  return numberFrame(type.outputCredit, program, bytes);
}

export function encodeSignal(program: number, signal: number): Buffer {
  return numberFrame(type.signal, program, signal);
}

export function encodeClose(program: number): Buffer {
  return header(type.close, program, 0);
}

// ---- from the forker ---------------------------------------------------------------------------

/** A step of a start that failed: missing, path, pipe, fork, limit, cwd, exec … */
export interface StartFailure {
  step: string;
  errno: number;
  text: string;
}

/** Views of bytes are never written to again. */
export interface FrameEvents {
  onStarted(program: number, pid: number): void;
  onFailed(program: number, failure: StartFailure): void;
  onStdinCredit(program: number, bytes: number): void;
  onStdinClosed(program: number): void;
  onStdout(program: number, bytes: Buffer): void;
  onStderr(program: number, bytes: Buffer): void;
  onStdoutEnd(program: number): void;
  onStderrEnd(program: number): void;
  /** One of them is 0; both for success. */
  onExited(program: number, status: number, signal: number): void;
}

/** The stream of the forker, cut anywhere, back into frames. Output is passed on as it comes. */
export class FrameDecoder {
  readonly #events: FrameEvents;
  /** A header, or content of a frame that is needed whole, of which the rest has not come. */
  #partial: Buffer = Buffer.alloc(0);
  /** Of an output frame under way. */
  #outputLeft = 0;
  #outputType = 0;
  #program = 0;

  constructor(events: FrameEvents) {
    this.#events = events;
  }

  push(chunk: Buffer): void {
    let at = 0;
    let bytes = chunk;
    if (this.#partial.length > 0) {
      bytes = Buffer.concat([this.#partial, chunk]);
      this.#partial = Buffer.alloc(0);
    }
    while (at < bytes.length) {
      if (this.#outputLeft > 0) {
        const end = Math.min(at + this.#outputLeft, bytes.length);
        this.#outputLeft -= end - at;
        this.#output(bytes.subarray(at, end));
        at = end;
        continue;
      }
      if (bytes.length - at < HEADER_BYTES) break;
      const length = readNumber(bytes, at);
      const kind = readNumber(bytes, at + 4);
      this.#program = readNumber(bytes, at + 8);
      if (kind === type.stdout || kind === type.stderr) {
        this.#outputType = kind;
        this.#outputLeft = length;
        at += HEADER_BYTES;
        continue;
      }
      if (bytes.length - at < HEADER_BYTES + length) break;
      at += HEADER_BYTES;
      this.#take(kind, bytes.subarray(at, at + length));
      at += length;
    }
    if (at < bytes.length) this.#partial = Buffer.from(bytes.subarray(at));
  }

  #output(bytes: Buffer): void {
    if (this.#outputType === type.stdout) this.#events.onStdout(this.#program, bytes);
    else this.#events.onStderr(this.#program, bytes);
  }

  #take(kind: number, content: Buffer): void {
    const program = this.#program;
    switch (kind) {
      case type.started:
        this.#events.onStarted(program, readNumber(content, 0));
        return;
      case type.failed:
        this.#events.onFailed(program, decodeFailure(content));
        return;
      case type.stdinCredit:
        this.#events.onStdinCredit(program, readNumber(content, 0));
        return;
      case type.stdinClosed:
        this.#events.onStdinClosed(program);
        return;
      case type.stdoutEnd:
        this.#events.onStdoutEnd(program);
        return;
      case type.stderrEnd:
        this.#events.onStderrEnd(program);
        return;
      case type.exited:
        this.#events.onExited(program, readNumber(content, 0), readNumber(content, 4));
        return;
      default:
        throw new Error(`usher-forker sent a frame of type ${kind}: it is of another version`);
    }
  }
}

function decodeFailure(content: Buffer): StartFailure {
  const [step = '', text = ''] = content.toString('utf8', 4).split('\0');
  return { step, errno: readNumber(content, 0), text };
}
