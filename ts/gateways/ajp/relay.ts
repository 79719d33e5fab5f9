// SPDX-License-Identifier: Apache-2.0
// One request on its way: from the web server to a backend, and the answer back.
//
// Another backend is tried only while nothing of the request has left; what fails afterwards is answered
// 502 or 504, or, when a part of the answer has gone out, by breaking it off. One thing is sent twice: a
// request that is safe to repeat, when a connection that had served before ends without a byte of an
// answer. Then the backend has most probably closed it in the moment in which the request left.
import { bodyModeOfParams } from '../../protocols/ajp13/body-mode.ts';
import type { BodyMode } from '../../protocols/ajp13/types.ts';
import { ProtocolError } from '../../protocols/protocol-error.ts';
import type { Exchange, RequestHandler } from '../connections.ts';
import type { AjpOptions } from '../link.ts';
import { Answer, type AnswerOwner } from './answer.ts';
import type { Backend } from './backend.ts';
import { type BackendConnection, bytesOf } from './connection.ts';
import type { Dialect } from './dialect.ts';
import { errorAnswer } from './error-answer.ts';
import { Failure } from './failure.ts';
import { addressTo, type PreparedRequest, prepareRequest } from './forward-request.ts';
import { oneLine } from './messages.ts';
import type { Pool, Taker } from './pool.ts';
import { RequestBody } from './request-body.ts';
import type { PathMapping } from './request-path.ts';

/** What all requests of a gateway share. */
export interface RelayContext {
  readonly options: AjpOptions;
  readonly mapping: PathMapping;
  readonly dialect: Dialect;
  now(): number;
  choose(routes: readonly string[], tried: readonly Backend[]): Backend | Failure;
  /** Call onChange() when something is known of backends; until forget(). */
  await(relay: Relay): void;
  forget(relay: Relay): void;
  /** Of another configuration: what has not left goes there. */
  readonly successor: RelayContext | null;
  poolOf(backend: Backend): Pool<BackendConnection>;
  /** X-Usher-Backend and X-Usher-Route. */
  fieldsOf(backend: Backend): string;
  isFailure(status: number): boolean;
}

/** RFC 9110, 9.2.1: whoever asks for these wants nothing to be changed. */
const SAFE_METHODS = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

/** waiting: for as much of the body as has to be known, or for a connection; sent: the answer is due. */
type Phase = 'waiting' | 'sent' | 'over';

/** While it waits for an engine: that one was started may be told late. */
const TRY_AGAIN_MS = 1_000;

const NO_BODY: BodyMode = { kind: 'none' };
const OF_ANY_LENGTH: BodyMode = { kind: 'chunked' };
/** Of a body whose length has to be learnt; it is in memory. */
const COLLECTED_BYTES_MAX = 1 << 20;
const NO_LENGTH = new Failure(
  411,
  `a body of more than ${COLLECTED_BYTES_MAX} bytes without Content-Length: AJP 1.2 has to say the length first`,
);

function ofLength(bytes: number): BodyMode {
  return bytes === 0 ? NO_BODY : { kind: 'length', bytes };
}

export class Relay implements RequestHandler, Taker<BackendConnection>, AnswerOwner {
  #context: RelayContext;
  readonly #web: Exchange;
  readonly #body: RequestBody;
  #phase: Phase = 'waiting';
  #prepared: PreparedRequest | null = null;
  /** Whether there is a body is not known yet. */
  #isUnsaid = false;
  /** It is held until its length is known. */
  #isCollecting = false;
  #backend: Backend | null = null;
  #tried: Backend[] = [];
  readonly #causes: string[] = [];
  #connection: BackendConnection | null = null;
  /** If its connection was no fresh one, and ends without an answer. */
  #mayRepeat = false;
  #answer: Answer | null = null;
  /** Of the longest packet that the backend was sent. */
  #sentBytes = 0;
  /** Once all that came from the web server at once is known. */
  #isNextDue = false;
  #isPumpDue = false;
  #isBodyPaused = false;
  #isAnswerPaused = false;
  #requestTimer: NodeJS.Timeout | undefined;
  #replyTimer: NodeJS.Timeout | undefined;
  /** Nobody can take it before an engine has been started. */
  #waitTimer: NodeJS.Timeout | undefined;
  #waitsUntilMs: number | null = null;

  constructor(context: RelayContext, web: Exchange) {
    this.#context = context;
    this.#web = web;
    this.#body = new RequestBody(context.dialect.body);
  }

  /** The parameters are there. */
  begin(): void {
    const { options, mapping } = this.#context;
    const { params } = this.#web.head;
    if (options.requestTimeoutMs > 0) {
      this.#requestTimer = setTimeout(() => this.#requestIsLate(), options.requestTimeoutMs);
    }
    try {
      const mode = bodyModeOfParams(params);
      this.#prepared = prepareRequest(params, options, mapping);
      // A server that speaks HTTP/2 need not know of the body before its first byte comes.
      this.#isUnsaid = mode.kind === 'none' && params.get('CONTENT_LENGTH') !== '0';
      if (!this.#isUnsaid) this.#decide(mode);
    } catch (error) {
      this.#refuse(error);
    }
  }

  // ---- the web server's side -----------------------------------------------------------------

  onBody(bytes: Buffer): void {
    if (this.#phase === 'over') return;
    if (this.#isUnsaid) this.#decide(OF_ANY_LENGTH);
    this.#body.add(bytes);
    if (this.#bodyIsWrong()) return;
    if (this.#isCollecting) {
      if (this.#body.bytes > COLLECTED_BYTES_MAX) this.#fail(NO_LENGTH);
      return;
    }
    if (this.#body.isFull && !this.#isBodyPaused) {
      this.#isBodyPaused = true;
      this.#web.pauseBody();
    }
  }

  onBodyEnd(): void {
    if (this.#phase === 'over') return;
    this.#body.end();
    if (this.#isUnsaid) this.#decide(NO_BODY);
    else if (this.#isCollecting) this.#decide(ofLength(this.#body.bytes));
    else this.#bodyIsWrong();
  }

  /** What comes in one piece from the web server goes in one packet. */
  onRead(): void {
    if (this.#phase === 'over') return;
    if (this.#isNextDue) {
      this.#isNextDue = false;
      this.#next();
    } else if (this.#phase === 'sent') {
      this.#pump();
    }
    this.#body.own();
  }

  /** AJP has no word for it: only the end of the connection tells the backend. */
  onAbort(): void {
    if (this.#phase !== 'over') this.#finish();
  }

  onDrain(): void {
    if (!this.#isAnswerPaused) return;
    this.#isAnswerPaused = false;
    this.#replyTimer?.refresh();
    this.#connection?.resume();
  }

  /** A part sent as if it were the whole would be taken for it. */
  #bodyIsWrong(): boolean {
    const fault = this.#body.fault;
    if (fault === null) return false;
    this.#fail(new Failure(400, `the web server sent ${fault}`));
    return true;
  }

  // ---- to a backend --------------------------------------------------------------------------

  /** Once, and before anything is sent. */
  #decide(mode: BodyMode): void {
    this.#isUnsaid = false;
    this.#isCollecting = mode.kind === 'chunked' && this.#context.dialect.needsLength;
    this.#body.begin(mode);
    const method = this.#prepared?.request.method ?? '';
    this.#mayRepeat = mode.kind === 'none' && SAFE_METHODS.has(method);
    if (this.#isCollecting) return;
    // Without it a container takes the length for unknown, and asks for a body that is not there.
    const length = mode.kind === 'none' ? '0' : mode.kind === 'length' ? String(mode.bytes) : null;
    if (length !== null) this.#prepared?.fields.push(['Content-Length', length]);
    if (mode.kind === 'length') this.#isNextDue = true;
    else this.#next();
  }

  #next(): void {
    if (this.#phase !== 'waiting' || this.#prepared === null) return;
    const chosen = this.#context.choose(this.#prepared.routes, this.#tried);
    if (chosen instanceof Failure) {
      if (chosen.isPassing && this.#wait()) return;
      const cause = this.#causes.length > 0 ? this.#causes.join('; ') : chosen.message;
      this.#fail(new Failure(chosen.status, cause));
      return;
    }
    this.#backend = chosen;
    chosen.begin();
    this.#context.poolOf(chosen).acquire(this);
  }

  /** For an engine that is being started, or has just died. False when the time for that is over. */
  #wait(): boolean {
    const now = this.#context.now();
    this.#waitsUntilMs ??= now + this.#context.options.engineWaitMs;
    const leftMs = this.#waitsUntilMs - now;
    if (leftMs <= 0) return false;
    this.#context.await(this);
    // What could not be reached may be there though nobody says so.
    this.#waitTimer = setTimeout(() => this.onChange(), Math.min(leftMs, TRY_AGAIN_MS));
    return true;
  }

  onChange(): void {
    clearTimeout(this.#waitTimer);
    this.#context.forget(this);
    if (this.#phase !== 'waiting') return;
    this.#context = this.#context.successor ?? this.#context;
    this.#tried = [];
    this.#causes.length = 0;
    this.#next();
  }

  onUnreachable(error: string): void {
    const backend = this.#backend as Backend;
    this.#backend = null;
    backend.end(this.#context.now());
    this.#tried.push(backend);
    this.#causes.push(`backend ${backend.name}: ${error}`);
    if (this.#tried.length <= this.#context.options.retries) this.#next();
    else if (backend.engine === null || !this.#wait())
      this.#fail(new Failure(503, this.#causes.join('; ')));
  }

  onExhausted(failure: Failure): void {
    this.#fail(failure);
  }

  onConnection(connection: BackendConnection, isFresh: boolean): void {
    const { options, dialect, mapping } = this.#context;
    const backend = this.#backend as Backend;
    const prepared = this.#prepared as PreparedRequest;
    addressTo(backend, prepared.attributes);
    let head: Buffer;
    try {
      head = dialect.encode(prepared, backend);
    } catch (error) {
      this.#context.poolOf(backend).release(connection); // it has not seen anything of this
      this.#refuse(error);
      return;
    }
    this.#phase = 'sent';
    if (isFresh) this.#mayRepeat = false;
    this.#connection = connection;
    this.#answer = new Answer(this.#web, this, {
      mapping,
      extra: this.#context.fieldsOf(backend),
      isSuspect: (status) => this.#context.dialect.isSuspect(status, this.#sentBytes),
    });
    this.#body.announce();
    const first = this.#body.next();
    this.#sentBytes = Math.max(head.length, bytesOf(first));
    connection.begin(this.#answer, head, first, prepared.request.method);
    this.#resumeBody();
    if (options.replyTimeoutMs > 0) {
      this.#replyTimer = setTimeout(() => this.#replyIsLate(), options.replyTimeoutMs);
    }
  }

  /** In the middle of what came from the backend. */
  #pumpSoon(): void {
    if (this.#isPumpDue || !this.#body.isOwed) return;
    this.#isPumpDue = true;
    process.nextTick(() => {
      this.#isPumpDue = false;
      if (this.#phase === 'sent') this.#pump();
    });
  }

  #pump(): void {
    const packet = this.#body.next();
    if (packet.length === 0) return;
    this.#sentBytes = Math.max(this.#sentBytes, bytesOf(packet));
    this.#connection?.send(packet);
    this.#replyTimer?.refresh();
    this.#resumeBody();
  }

  #resumeBody(): void {
    if (!this.#isBodyPaused || this.#body.isFull) return;
    this.#isBodyPaused = false;
    this.#web.resumeBody();
  }

  // ---- its answer ----------------------------------------------------------------------------

  onHeard(): void {
    this.#replyTimer?.refresh();
  }

  onGetBody(wanted: number): boolean {
    this.#context.dialect.onWanted(this.#backend as Backend, wanted);
    if (!this.#body.ask(wanted)) return false;
    this.#pumpSoon();
    return true;
  }

  onBackendError(text: string): void {
    this.#web.report(`backend ${(this.#backend as Backend).name}: ${text}`);
  }

  onFull(): void {
    this.#isAnswerPaused = true;
    this.#connection?.pause();
  }

  onEnding(status: number, reuse: boolean): void {
    if (reuse) return;
    const line = this.#context.dialect.explain(this.#backend as Backend, status, this.#sentBytes);
    if (line !== null) this.#web.report(line);
  }

  onWhole(status: number): void {
    const backend = this.#backend as Backend;
    const connection = this.#connection as BackendConnection;
    this.#connection = null;
    if (this.#context.isFailure(status)) backend.strike(`status ${status}`, this.#context.now());
    else backend.answered();
    this.#finish();
    // A part of the body that is still due would be read as the beginning of the next request.
    const pool = this.#context.poolOf(backend);
    if (this.#body.isOwed) pool.discard(connection);
    else pool.release(connection);
  }

  onLost(failure: Failure): void {
    if (this.#mayRepeat) this.#repeat(failure);
    else this.#strike(failure);
  }

  onFault(failure: Failure): void {
    this.#strike(failure);
  }

  #requestIsLate(): void {
    const limitS = this.#context.options.requestTimeoutMs / 1000;
    this.#fail(new Failure(504, `not answered within -request-timeout ${limitS} s`));
  }

  #replyIsLate(): void {
    if (this.#isAnswerPaused || this.#body.isOwed) {
      this.#replyTimer?.refresh(); // it waits for us
      return;
    }
    const limitS = this.#context.options.replyTimeoutMs / 1000;
    this.#strike(new Failure(504, `silent for -reply-timeout ${limitS} s`));
  }

  /** On a fresh connection: the others may have been closed as well. */
  #repeat({ message }: Failure): void {
    const backend = this.#backend as Backend;
    const connection = this.#connection as BackendConnection;
    clearTimeout(this.#replyTimer);
    this.#connection = null;
    this.#answer = null;
    this.#phase = 'waiting';
    this.#mayRepeat = false;
    this.#causes.push(`backend ${backend.name}: ${message}, sent again`);
    this.#context.poolOf(backend).renew(connection, this);
  }

  // ---- the end -------------------------------------------------------------------------------

  /** The backend's fault; not alone a reason to think that it has failed. */
  #strike({ status, message }: Failure): void {
    const backend = this.#backend as Backend;
    backend.strike(message, this.#context.now());
    const hint = this.#answer?.hasBegun
      ? null
      : this.#context.dialect.explain(backend, status, this.#sentBytes);
    const causes = [...this.#causes, `backend ${backend.name}: ${message}`];
    if (hint !== null) causes.push(hint);
    this.#fail(new Failure(status, causes.join('; ')));
  }

  /** A request that no backend gets. What we have not thought of must not end those of others. */
  #refuse(error: unknown): void {
    if (error instanceof Failure) this.#fail(error);
    else if (error instanceof ProtocolError) this.#fail(new Failure(error.status, error.message));
    else this.#fail(new Failure(500, `in the gateway: ${oneLine(error as Error)}`));
  }

  #fail({ status, message }: Failure): void {
    if (this.#phase === 'over') return;
    this.#web.report(message);
    if (this.#answer?.hasBegun) {
      this.#finish(true);
      return;
    }
    const backend = this.#backend;
    this.#web.write(errorAnswer(status, backend === null ? '' : this.#context.fieldsOf(backend)));
    this.#finish();
  }

  #finish(isBroken = false): void {
    this.#phase = 'over';
    clearTimeout(this.#requestTimer);
    clearTimeout(this.#replyTimer);
    clearTimeout(this.#waitTimer);
    this.#context.forget(this);
    const backend = this.#backend;
    if (backend !== null) {
      const pool = this.#context.poolOf(backend);
      pool.cancel(this);
      if (this.#connection !== null) pool.discard(this.#connection);
      this.#connection = null;
      backend.end(this.#context.now());
    }
    if (isBroken) this.#web.breakOff();
    else this.#web.end();
  }
}
