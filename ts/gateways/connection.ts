// SPDX-License-Identifier: Apache-2.0
// One FastCGI connection of a web server, and the request on it: a connection carries one at a time.
import type { Socket } from 'node:net';
import {
  endRecords,
  FastcgiDecoder,
  type RequestHead,
  stderrRecords,
  stdoutRecords,
} from '../protocols/fastcgi/index.ts';
import { ProtocolError } from '../protocols/protocol-error.ts';

/** What a gateway does with one request. Nothing is called after end() or breakOff(). */
export interface RequestHandler {
  /** A view of what was received, never written to again: it may be kept. */
  onBody(bytes: Buffer): void;
  onBodyEnd(): void;
  /** Nobody wants the answer any more. The gateway still has to call end() or breakOff(), when what it
   * started for the request has ended. */
  onAbort(): void;
  /** write() said false; now there is room again. */
  onDrain(): void;
}

/** A request as the gateway answers it. All calls are harmless when the connection is gone. */
export interface Exchange {
  readonly head: RequestHead;
  /** Nobody reads the answer: onAbort was called. */
  readonly isAborted: boolean;
  /** Bytes of the answer, first the head as CGI has it. They are kept until they are written, and not
   * copied. false: no more until onDrain, or memory grows. */
  write(bytes: Buffer): boolean;
  /** A line for the web server's error log. */
  report(line: string): void;
  /** The answer is whole. `status`: what the program exited with. */
  end(status?: number): void;
  /** The answer is not whole and cannot become so: the connection ends without an end of the request,
   * by which the web server knows. */
  breakOff(): void;
  /** Stop and go on reading the request. */
  pauseBody(): void;
  resumeBody(): void;
}

export interface ConnectionEvents {
  onRequest(exchange: Exchange): RequestHandler;
  /** The exchange has ended, with its connection or without. */
  onEnded(): void;
  onClose(connection: Connection): void;
  /** The peer broke the protocol, and was cut off. */
  onBroken(error: ProtocolError): void;
}

/** Waiting to be written: beyond this write() says false. */
const OUTPUT_BYTES_MAX = 256 << 10;
/** Below this one copy is cheaper than one more element of writev. */
const COPY_BYTES_MAX = 16 << 10;
/** Parameters of one request: nginx and Apache allow less. */
export const PARAMS_BYTES_MAX = 1 << 20;

/** A connection that is not read says nothing of its end: it is asked by writing no bytes at all, which
 * fails once the peer has gone. */
const LOOK_MS = 1000;
const NOTHING = Buffer.alloc(0);

/** A connection that is to be closed is given this long to take what was written. */
const LINGER_MS = 30_000;

export class Connection {
  readonly #socket: Socket;
  readonly #events: ConnectionEvents;
  readonly #decoder: FastcgiDecoder;
  #current: { exchange: ServedExchange; handler: RequestHandler | null } | null = null;
  #out: Buffer[] = [];
  #outBytes = 0;
  #flushIsDue = false;
  #needsDrain = false;
  #isClosing = false;
  #requests = 0;
  #look: NodeJS.Timeout | null = null;

  constructor(socket: Socket, events: ConnectionEvents) {
    this.#socket = socket;
    this.#events = events;
    this.#decoder = new FastcgiDecoder(
      {
        onRequest: (head) => this.#onRequest(head),
        onBody: (_id, bytes) => this.#current?.handler?.onBody(bytes),
        onBodyEnd: () => this.#current?.handler?.onBodyEnd(),
        onAbort: () => this.#abort(),
        onReply: (bytes, isLast) => {
          this.send([bytes]);
          if (isLast) this.close();
        },
      },
      { paramsBytes: PARAMS_BYTES_MAX },
    );
    socket.on('data', (chunk: Buffer) => this.#onData(chunk));
    socket.on('drain', () => this.#onDrain());
    socket.on('error', () => undefined); // 'close' follows
    // What half-closes its connection waits for nothing: FastCGI has FCGI_STDIN's end for that.
    socket.on('end', () => socket.destroy());
    socket.on('close', () => this.#onClose());
  }

  /** No request is being served. */
  get isIdle(): boolean {
    return this.#current === null;
  }

  /** Close now when idle, else after the request. */
  close(): void {
    this.#isClosing = true;
    if (this.isIdle) this.#finish();
  }

  #onData(chunk: Buffer): void {
    if (this.#isClosing && this.isIdle && this.#requests > 0) return;
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#socket.destroy();
      this.#events.onBroken(error);
    }
  }

  #onRequest(head: RequestHead): void {
    this.#requests++;
    if (!head.keepConn) this.#isClosing = true;
    const exchange = new ServedExchange(this, head);
    const current: { exchange: ServedExchange; handler: RequestHandler | null } = {
      exchange,
      handler: null,
    };
    this.#current = current;
    current.handler = this.#events.onRequest(exchange); // which may have answered already
  }

  #abort(): void {
    const { exchange, handler } = this.#current ?? {};
    if (exchange === undefined || exchange.isAborted) return;
    exchange.isAborted = true;
    handler?.onAbort();
  }

  #onDrain(): void {
    if (!this.#needsDrain) return;
    this.#needsDrain = false;
    this.#current?.handler?.onDrain();
  }

  #onClose(): void {
    this.resume();
    this.#out = [];
    this.#abort();
    this.#events.onClose(this);
  }

  // ---- for the exchange ----------------------------------------------------------------------

  send(records: readonly Buffer[]): boolean {
    if (this.#socket.destroyed) return true;
    for (const record of records) {
      this.#out.push(record);
      this.#outBytes += record.length;
    }
    if (!this.#flushIsDue) {
      this.#flushIsDue = true;
      process.nextTick(() => this.#flush());
    }
    const isFull = this.#outBytes + this.#socket.writableLength >= OUTPUT_BYTES_MAX;
    if (isFull) this.#needsDrain = true;
    return !isFull;
  }

  /** `exchange` is over: the connection is ready for the next, or ends. */
  ended(exchange: ServedExchange, isWhole: boolean): void {
    if (this.#current?.exchange !== exchange) return;
    this.#current = null;
    this.#needsDrain = false;
    this.#decoder.end(exchange.head.id);
    if (!isWhole) this.#cut();
    else if (this.#isClosing) this.#finish();
    else this.resume();
    this.#events.onEnded();
  }

  pause(): void {
    if (this.#socket.destroyed) return;
    this.#socket.pause();
    this.#look ??= setInterval(() => {
      if (this.#socket.writableLength === 0) this.#socket.write(NOTHING);
    }, LOOK_MS);
  }

  resume(): void {
    this.#socket.resume();
    if (this.#look !== null) clearInterval(this.#look);
    this.#look = null;
  }

  /** All that is to be written in one tick is one write. */
  #flush(): void {
    this.#flushIsDue = false;
    const out = this.#out;
    const bytes = this.#outBytes;
    this.#out = [];
    this.#outBytes = 0;
    if (out.length === 0 || this.#socket.destroyed) return;
    if (out.length === 1 || bytes <= COPY_BYTES_MAX) {
      this.#socket.write(out.length === 1 ? (out[0] as Buffer) : Buffer.concat(out, bytes));
      return;
    }
    this.#socket.cork();
    for (const record of out) this.#socket.write(record);
    this.#socket.uncork();
  }

  /** Everything that was written reaches the peer, who may have more to say that nobody reads. */
  #finish(): void {
    this.#flush();
    this.resume();
    this.#socket.end();
    this.#socket.setTimeout(LINGER_MS, () => this.#socket.destroy());
  }

  /** What was written reaches the peer, who finds the end of the connection instead of the request's. */
  #cut(): void {
    this.#isClosing = true;
    this.#finish();
  }
}

class ServedExchange implements Exchange {
  readonly head: RequestHead;
  readonly #connection: Connection;
  isAborted = false;
  #isOver = false;

  constructor(connection: Connection, head: RequestHead) {
    this.#connection = connection;
    this.head = head;
  }

  write(bytes: Buffer): boolean {
    if (this.#isOver || this.isAborted || bytes.length === 0) return true;
    return this.#connection.send(stdoutRecords(this.head.id, bytes));
  }

  report(line: string): void {
    if (this.#isOver || this.isAborted) return;
    this.#connection.send(stderrRecords(this.head.id, line));
  }

  end(status = 0): void {
    if (this.#isOver) return;
    this.#connection.send([endRecords(this.head.id, status)]);
    this.#isOver = true;
    this.#connection.ended(this, true);
  }

  breakOff(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#connection.ended(this, false);
  }

  pauseBody(): void {
    if (!this.#isOver) this.#connection.pause();
  }

  resumeBody(): void {
    if (!this.#isOver) this.#connection.resume();
  }
}
