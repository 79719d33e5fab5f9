// SPDX-License-Identifier: Apache-2.0
// usher-forker as the gateway sees it: one child process that starts all programs, and one socket to
// it. When it dies its programs are lost, and the next start makes another one.
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import type { Duplex } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { piped, readFrom } from '../../serving/accepted-socket.ts';
import { encodeStart, FrameDecoder, type StartFailure } from './frames.ts';
import { Program, type ProgramEvents } from './program.ts';

export const forkerPath = fileURLToPath(new URL('../../../build/usher-forker', import.meta.url));

const COPY_BYTES_MAX = 16 << 10;

export interface StartSpec {
  /** The first is the program's absolute path. Latin-1, as the environment. */
  args: readonly string[];
  environment: readonly string[];
  /** Else its stdin is empty. */
  hasStdin: boolean;
}

export interface ForkerOptions {
  /** Of usher-forker: limits and path rules. */
  args: readonly string[];
  path?: string;
  /** It died, or could not be started; `programs` were lost with it. */
  onDeath(text: string, programs: number): void;
}

/** One life of the child. */
interface Life {
  child: ChildProcess;
  socket: Duplex;
  programs: Map<number, Program>;
}

export class Forker {
  readonly #options: ForkerOptions;
  readonly #path: string;
  #life: Life | null = null;
  #lastProgram = 0;
  #out: Buffer[] = [];
  #isClosing = false;

  /** @throws Error when there is no usher-forker */
  constructor(options: ForkerOptions) {
    this.#options = options;
    this.#path = options.path ?? forkerPath;
    try {
      accessSync(this.#path, constants.X_OK);
    } catch (cause) {
      throw new Error(`${this.#path} is missing or not executable: npm run build:native`, {
        cause,
      });
    }
    this.#life = this.#begin();
  }

  get pid(): number | undefined {
    return this.#life?.child.pid;
  }

  /** Programs that the forker has not forgotten. */
  get running(): number {
    return this.#life?.programs.size ?? 0;
  }

  /** What becomes of it is told by `events`, never before this returns. */
  start(spec: StartSpec, events: ProgramEvents): Program {
    this.#life ??= this.#begin();
    const life = this.#life;
    this.#lastProgram = (this.#lastProgram + 1) >>> 0;
    const id = this.#lastProgram;
    const program = new Program(id, events, {
      send: (frames) => {
        if (life === this.#life) this.#send(frames);
      },
      forget: () => life.programs.delete(id),
    });
    life.programs.set(id, program);
    this.#send([encodeStart(id, spec.args, spec.environment, spec.hasStdin)]);
    return program;
  }

  /** Kills what still runs. */
  close(): void {
    this.#isClosing = true;
    this.#life?.socket.destroy();
  }

  #begin(): Life {
    const child = spawn(this.#path, [...this.#options.args], {
      stdio: ['ignore', 'inherit', 'inherit', 'pipe'],
      env: {},
    });
    const socket = piped(child.stdio[3] as Duplex);
    const life: Life = { child, socket, programs: new Map() };
    const find = (id: number) => life.programs.get(id)?.events;
    const decoder = new FrameDecoder({
      onStarted: (id, pid) => life.programs.get(id)?.started(pid),
      onFailed: (id, failure: StartFailure) => life.programs.get(id)?.failed(failure),
      onStdinCredit: (id, bytes) => life.programs.get(id)?.addCredit(bytes),
      onStdinClosed: (id) => life.programs.get(id)?.stdinClosed(),
      onStdout: (id, bytes) => find(id)?.onStdout(bytes),
      onStderr: (id, bytes) => find(id)?.onStderr(bytes),
      onStdoutEnd: (id) => life.programs.get(id)?.stdoutEnded(),
      onStderrEnd: (id) => life.programs.get(id)?.stderrEnded(),
      onExited: (id, status, signal) => life.programs.get(id)?.exited(status, signal),
    });
    readFrom(socket, (chunk) => decoder.push(chunk));
    socket.on('error', () => undefined); // 'close' follows
    let said = 'its socket was closed';
    child.on('error', (error) => {
      said = error.message;
      socket.destroy();
    });
    child.on('exit', (code, signal) => {
      said = signal === null ? `it exited with ${code}` : `it was killed by ${signal}`;
      this.#end(life, said);
    });
    socket.on('close', () => {
      // whoever exits says how
      if (child.pid === undefined) this.#end(life, said);
      else child.kill('SIGKILL');
    });
    return life;
  }

  #end(life: Life, text: string): void {
    if (life !== this.#life) return;
    this.#life = null;
    this.#out = [];
    life.socket.destroy();
    const programs = [...life.programs.values()];
    life.programs.clear();
    if (!this.#isClosing) this.#options.onDeath(text, programs.length);
    for (const program of programs) program.lost();
  }

  /** All that is to be sent in one turn of the event loop is one write, and one turn of the forker. */
  #send(frames: readonly Buffer[]): void {
    if (this.#out.length === 0) setImmediate(() => this.#flush());
    this.#out.push(...frames);
  }

  #flush(): void {
    const out = this.#out;
    const socket = this.#life?.socket;
    this.#out = [];
    if (out.length === 0 || socket === undefined || socket.destroyed) return;
    const bytes = out.reduce((sum, { length }) => sum + length, 0);
    if (bytes <= COPY_BYTES_MAX) {
      socket.write(out.length === 1 ? (out[0] as Buffer) : Buffer.concat(out, bytes));
      return;
    }
    socket.cork();
    for (const frame of out) socket.write(frame);
    socket.uncork();
  }
}
