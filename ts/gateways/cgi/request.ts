// SPDX-License-Identifier: Apache-2.0
// One request: wait for a place, start its program, carry the body there and the answer back, and say
// what went wrong. The answer and the program end one after the other, in any order.
import { constants } from 'node:os';
import { CgiHeadError, cgiEnvironment, searchWords } from '../../protocols/cgi/index.ts';
import { ProtocolError } from '../../protocols/protocol-error.ts';
import type { Exchange, RequestHandler } from '../connections.ts';
import type { CgiOptions } from '../link.ts';
import { failureAnswer } from './answers.ts';
import { RequestBody } from './body.ts';
import { describeExit, type Failure, hintOfHang, hintOfOutput, startFailure } from './causes.ts';
import { ErrorLines } from './error-lines.ts';
import type { StartSpec } from './forker.ts';
import type { StartFailure } from './frames.ts';
import { OutputLimitError, ProgramOutput } from './output.ts';
import type { Program, ProgramEvents } from './program.ts';
import { findProgram, type NamedProgram } from './program-path.ts';

/** A program that closes its stdout and goes on has as long to exit before its answer counts as whole. */
const EXIT_WAIT_MS = 200;

export interface RequestWorld {
  options: CgiOptions;
  /** The one program of the class with its arguments; null: the file that the request names. */
  command: readonly string[] | null;
  /** NAME=VALUE of the class. */
  environment: readonly string[];
  start(spec: StartSpec, events: ProgramEvents): Program;
  /** Places.take and release. */
  takePlace(begin: () => void): (() => void) | null;
  releasePlace(): void;
  /** What a program writes to stderr when there is no request any more that it belongs to. */
  logLine(line: string): void;
}

export class CgiRequest implements RequestHandler, ProgramEvents {
  readonly #exchange: Exchange;
  readonly #world: RequestWorld;
  readonly #body: RequestBody;
  readonly #output: ProgramOutput;
  readonly #errors: ErrorLines;
  /** Of programs found by name. */
  #named: NamedProgram | null = null;
  #file: string;
  #program: Program | null = null;
  #hasBegun = false;
  #stopWaiting: (() => void) | null = null;
  #timer: NodeJS.Timeout | null = null;
  #killTimer: NodeJS.Timeout | null = null;
  #exitTimer: NodeJS.Timeout | null = null;
  #exit: { status: number; signal: number } | null = null;
  #isStopping = false;
  #isKilled = false;
  #isAnswered = false;

  constructor(exchange: Exchange, world: RequestWorld) {
    this.#exchange = exchange;
    this.#world = world;
    this.#file = world.command?.[0] ?? '';
    this.#body = new RequestBody(exchange);
    this.#output = new ProgramOutput(exchange, world.options.maxOutputBytes);
    this.#errors = new ErrorLines((line) => this.#report(line));
    if (this.#body.isReady) this.#begin();
  }

  // ---- of the web server ---------------------------------------------------------------------

  onBody(bytes: Buffer): void {
    this.#body.add(bytes);
    if (this.#body.isReady) this.#begin();
  }

  onBodyEnd(): void {
    this.#body.end();
    this.#begin();
    if (!this.#isAnswered) this.#output.release();
  }

  onAbort(): void {
    if (this.#program === null) this.#conclude(() => this.#exchange.end());
    else this.#stop();
  }

  onDrain(): void {
    this.#program?.taken(this.#output.takeAll());
  }

  // ---- start ---------------------------------------------------------------------------------

  #begin(): void {
    if (this.#hasBegun || this.#isAnswered) return;
    this.#hasBegun = true;
    if (!this.#findProgram()) return;
    const stopWaiting = this.#world.takePlace(() => {
      this.#stopWaiting = null;
      this.#start();
    });
    if (stopWaiting === null) {
      this.#fail({ status: 503, cause: 'was not started: too many programs are still ending' });
    } else if (this.#program === null && !this.#isAnswered) {
      this.#stopWaiting = stopWaiting;
    }
  }

  #findProgram(): boolean {
    if (this.#world.command !== null) return true;
    const path = this.#exchange.head.params.get('USHER_PROGRAM') ?? '';
    if (path === '' || path.includes('\0')) {
      this.#fail({ status: 502, cause: 'the web server named no program (USHER_PROGRAM)' });
      return false;
    }
    this.#named = findProgram(path);
    this.#file = this.#named.file;
    return true;
  }

  #start(): void {
    let spec: StartSpec;
    try {
      spec = this.#startSpec();
    } catch (error) {
      this.#world.releasePlace();
      if (!(error instanceof ProtocolError)) throw error;
      this.#fail({ status: error.status, cause: error.message });
      return;
    }
    this.#program = this.#world.start(spec, this);
    this.#body.feed(this.#program);
    const { requestTimeoutMs } = this.#world.options;
    if (requestTimeoutMs > 0) {
      this.#timer = setTimeout(() => this.#onTimeout(requestTimeoutMs), requestTimeoutMs);
    }
  }

  #startSpec(): StartSpec {
    const { params } = this.#exchange.head;
    const bodyBytes = this.#body.countedBytes;
    const environment = cgiEnvironment(params, {
      base: this.#world.environment,
      ...(this.#named === null ? {} : { program: this.#named }),
      ...(bodyBytes === undefined ? {} : { bodyBytes }),
    });
    // A program that is configured with arguments is not given others by clients.
    const command = this.#world.command ?? [this.#file];
    const query = params.get('QUERY_STRING') ?? '';
    const words = command.length > 1 ? [] : searchWords(query, params.get('REQUEST_METHOD'));
    return { args: [...command, ...words], environment, hasStdin: this.#body.hasBytes };
  }

  // ---- of the program ------------------------------------------------------------------------

  onFailed(failure: StartFailure): void {
    this.#fail(startFailure(failure), false);
    this.#over();
  }

  onLost(): void {
    this.#fail({ status: 502, cause: 'was ended: usher-forker, its parent, died' });
    this.#over();
  }

  onStdinDrain(): void {
    this.#body.resume();
  }

  onStdinClosed(): void {
    this.#body.swallow();
    if (!this.#isAnswered) this.#output.release();
  }

  onStdout(bytes: Buffer): void {
    if (this.#isAnswered || this.#isStopping) {
      this.#program?.taken(bytes.length);
      return;
    }
    try {
      this.#program?.taken(this.#output.push(bytes));
    } catch (error) {
      this.#program?.taken(bytes.length);
      if (error instanceof OutputLimitError) this.#fail({ status: 502, cause: error.message });
      else if (error instanceof CgiHeadError) this.#failHead(error);
      else throw error;
      this.#stop();
    }
  }

  onStderr(bytes: Buffer): void {
    this.#program?.taken(bytes.length);
    this.#errors.push(bytes);
  }

  onStdoutEnd(): void {
    this.#settle();
  }

  onExit(status: number, signal: number): void {
    this.#exit = { status, signal };
    if (this.#isKilled) this.#program?.close(); // who holds its pipes now has left its group
    this.#settle();
  }

  /** Is the answer whole, is the program over? */
  #settle(): void {
    const program = this.#program;
    if (program?.stdoutHasEnded !== true) return;
    if (this.#exit !== null) {
      this.#errors.end();
      this.#finish(this.#exit);
      program.close();
      this.#over();
    } else if (this.#exitTimer === null && !this.#isAnswered) {
      this.#exitTimer = setTimeout(() => this.#finish(null), EXIT_WAIT_MS);
    }
  }

  /** @param exit null: it runs on, but says no more. */
  #finish(exit: { status: number; signal: number } | null): void {
    if (this.#isAnswered) return;
    if (this.#exchange.isAborted) {
      this.#conclude(() => this.#exchange.end());
      return;
    }
    try {
      this.#output.end();
    } catch (error) {
      if (!(error instanceof CgiHeadError)) throw error;
      this.#failHead(error);
      if (exit === null) this.#stop();
      return;
    }
    const { missing, surplus } = this.#output;
    if (surplus > 0) this.#explain(`wrote ${surplus} bytes more than its Content-Length`);
    if (missing > 0 || (exit !== null && exit.signal !== 0 && !this.#isStopping)) {
      const end = exit === null ? 'closed its output' : describeExit(exit.status, exit.signal);
      const lacking = missing > 0 ? `, ${missing} bytes before the end of its answer` : '';
      this.#fail({ status: 502, cause: `${end}${lacking}` });
      return;
    }
    this.#conclude(() => this.#exchange.end(exit?.status ?? 0));
  }

  // ---- failures ------------------------------------------------------------------------------

  #failHead(error: CgiHeadError): void {
    const { message } = error;
    const exit =
      this.#exit === null ? '' : `${describeExit(this.#exit.status, this.#exit.signal)}; `;
    this.#fail({ status: 502, cause: `${exit}${message}${hintOfOutput(this.#errors.last)}` });
  }

  /** @param isNamed The cause goes on after the program's name; else it names it itself. */
  #fail({ status, cause }: Failure, isNamed = true): void {
    if (this.#isAnswered) return;
    if (isNamed) this.#explain(cause);
    else this.#report(cause);
    this.#conclude(() => {
      if (this.#output.hasHead) {
        this.#exchange.breakOff();
      } else {
        this.#exchange.write(failureAnswer(status));
        this.#exchange.end();
      }
    });
  }

  #explain(cause: string): void {
    this.#report(this.#file === '' ? cause : `${this.#file}: ${cause}`);
  }

  #report(line: string): void {
    if (this.#isAnswered || this.#exchange.isAborted) this.#world.logLine(line);
    else this.#exchange.report(`${line}\n`);
  }

  #onTimeout(afterMs: number): void {
    const program = this.#program;
    const hint = this.#exit === null ? hintOfHang(program?.pid ?? 0) : hintOfHeldOutput;
    this.#fail({
      status: 504,
      cause: `was ended after ${afterMs / 1000} s (-request-timeout)${hint}`,
    });
    this.#stop();
  }

  // ---- ends ----------------------------------------------------------------------------------

  /** TERM for the program and its children; KILL for those it did not end. */
  #stop(): void {
    if (this.#isStopping || this.#program === null) return;
    this.#isStopping = true;
    this.#body.swallow();
    this.#program.taken(this.#output.takeAll());
    this.#program.signal(constants.signals.SIGTERM);
    this.#killTimer = setTimeout(() => {
      this.#isKilled = true;
      this.#program?.signal(constants.signals.SIGKILL);
      if (this.#exit !== null) {
        this.#program?.close();
        this.#settle();
      }
    }, this.#world.options.stopTimeoutMs);
  }

  /** The answer's end, once. */
  #conclude(end: () => void): void {
    if (this.#isAnswered) return;
    this.#stopWaiting?.();
    this.#stopWaiting = null;
    this.#body.swallow();
    end();
    this.#isAnswered = true;
  }

  /** The program's end, once. */
  #over(): void {
    for (const timer of [this.#timer, this.#killTimer, this.#exitTimer]) {
      if (timer !== null) clearTimeout(timer);
    }
    this.#program = null;
    this.#world.releasePlace();
  }
}

const hintOfHeldOutput = '; it has exited, but what it started holds its output open';
