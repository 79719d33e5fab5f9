// SPDX-License-Identifier: Apache-2.0
// One FastCGI connection of a web server, and the request on it: a connection carries one at a time.
import type { Socket } from 'node:net';
import {
  answerInOne,
  CONTENT_BYTES_MAX,
  endRecords,
  FastcgiDecoder,
  OUTPUT_RECORDS_BYTES,
  outputInto,
  type RequestHead,
  stderrRecords,
  stdoutRecords,
} from '../protocols/fastcgi/index.ts';
import type { ProtocolError } from '../protocols/protocol-error.ts';
import { borrowFrom } from './accepted-socket.ts';
import { COPY_BYTES_MAX, ServerConnection } from './server-connection.ts';

/** What is done with one request. Nothing is called after end() or breakOff(). */
export interface RequestHandler {
  /** Nobody writes to them again: they may be kept. To who has onRead they are lent until that returns. */
  onBody(bytes: Buffer): void;
  onBodyEnd(): void;
  /** All of the request that came at once has been told. */
  onRead?(): void;
  /** Nobody wants the answer any more. end() or breakOff() still has to be called, when what was started
   * for the request has ended. */
  onAbort(): void;
  /** write() said false; now there is room again. */
  onDrain(): void;
}

/** A request as it is answered. All calls are harmless when the connection is gone. */
export interface ServedRequest {
  readonly head: RequestHead;
  /** Nobody reads the answer: onAbort was called. */
  readonly isAborted: boolean;
  /** Bytes of the answer, first the head as CGI has it. They are kept until they are written, and not
   * copied. false: no more until onDrain, or memory grows. */
  write(bytes: Buffer): boolean;
  /** The same from lent pieces, after the head when it has not gone yet; isLast: and the end. It is in
   * the kernel, or was copied, when it returns. */
  gather(head: string, pieces: readonly Buffer[], pieceBytes: number, isLast: boolean): boolean;
  /** A line for the web server's error log. */
  report(line: string): void;
  /** The answer is whole. `status`: what the program exited with. */
  end(status?: number): void;
  /** The whole answer at once: its head, bytes as Latin-1 characters, and its body, or a text that goes as
   * UTF-8. */
  answer(head: string, body: Buffer | string | null): void;
  /** The answer is not whole and cannot become so: the connection ends without an end of the request,
   * by which the web server knows. */
  breakOff(): void;
  /** Stop and go on reading the request. */
  pauseBody(): void;
  resumeBody(): void;
}

export interface FastcgiConnectionEvents {
  onRequest(request: ServedRequest): RequestHandler;
  /** The request has ended, with its connection or without. */
  onEnded(): void;
  onClose(connection: FastcgiConnection): void;
  /** The peer broke the protocol, and was cut off. */
  onBroken(error: ProtocolError): void;
}

/** Parameters of one request: nginx and Apache allow less. */
export const PARAMS_BYTES_MAX = 1 << 20;

export class FastcgiConnection extends ServerConnection {
  readonly #events: FastcgiConnectionEvents;
  readonly #decoder: FastcgiDecoder;
  #current: Served | null = null;
  #handler: RequestHandler | null = null;
  #hasServed = false;
  /** The peer does not read answers to what it asks about us. */
  #isFlooded = false;

  constructor(socket: Socket, events: FastcgiConnectionEvents) {
    super(socket, borrowFrom);
    this.#events = events;
    this.#decoder = new FastcgiDecoder(
      {
        onRequest: (head) => this.#onRequest(head),
        onBody: (_id, bytes) => this.#onBody(bytes),
        onBodyEnd: () => this.#handler?.onBodyEnd(),
        onAbort: () => this.#abort(),
        onReply: (bytes, isLast) => this.#reply(bytes, isLast),
      },
      { paramsBytes: PARAMS_BYTES_MAX },
    );
  }

  override get isIdle(): boolean {
    return this.#current === null;
  }

  protected override get hasServed(): boolean {
    return this.#hasServed;
  }

  protected override onData(chunk: Buffer): void {
    try {
      this.#decoder.push(chunk);
    } finally {
      this.#handler?.onRead?.();
    }
  }

  protected override onBroken(error: ProtocolError): void {
    this.destroy();
    this.#events.onBroken(error);
  }

  protected override onDrain(): void {
    if (this.#isFlooded) {
      this.#isFlooded = false;
      if (this.#current?.isPaused !== true) super.resume();
    }
    this.#handler?.onDrain();
  }

  protected override onClosed(): void {
    this.#abort();
    this.#events.onClose(this);
  }

  #onRequest(head: RequestHead): void {
    this.#hasServed = true;
    if (!head.keepConn) this.closeAfterThis();
    const request = new Served(this, head);
    this.#current = request;
    const handler = this.#events.onRequest(request);
    if (this.#current === request) this.#handler = handler; // else it was answered already
  }

  #onBody(bytes: Buffer): void {
    const handler = this.#handler;
    handler?.onBody(handler.onRead === undefined ? Buffer.from(bytes) : bytes);
  }

  #abort(): void {
    const current = this.#current;
    if (current === null || current.isAborted) return;
    current.isAborted = true;
    this.#handler?.onAbort();
  }

  #reply(bytes: Buffer, isLast: boolean): void {
    const hasRoom = this.send(bytes);
    if (isLast) {
      this.closeAfterThis();
      if (this.isIdle) this.finish();
    } else if (!hasRoom) {
      this.#isFlooded = true;
      this.pause();
    }
  }

  // ---- for the request -----------------------------------------------------------------------

  /** @internal */
  write(record: Buffer): boolean {
    return this.send(record);
  }

  /** @internal null: it has to be made otherwise. isLast: the request is over */
  gathered(
    request: Served,
    head: string,
    pieces: readonly Buffer[],
    pieceBytes: number,
    isLast: boolean,
  ): boolean | null {
    if (this.#current !== request) return true;
    const room = this.room;
    if (room === null || head.length + pieceBytes + OUTPUT_RECORDS_BYTES > room.length) return null;
    const { id } = request.head;
    const bytes = room.subarray(0, outputInto(room, id, head, pieces, pieceBytes, isLast));
    if (isLast) {
      this.ended(request, bytes);
      return true;
    }
    this.queue(bytes);
    this.flush();
    return this.hasRoom;
  }

  /** @internal the whole answer, a small one */
  answered(request: Served, head: string, body: Buffer | string | null): void {
    if (this.#current !== request) return;
    this.ended(request, answerInOne(request.head.id, head, body, this.room));
  }

  /** @internal `request` is over. @param last the end of its answer; null: it breaks off */
  ended(request: Served, last: Buffer | null): void {
    if (this.#current !== request) return;
    if (last !== null) this.queue(last);
    this.#current = null;
    this.#handler = null;
    this.#decoder.end(request.head.id);
    // Cut: the peer finds the end of the connection instead of the request's.
    if (last === null) this.closeAfterThis();
    this.ready();
    this.#events.onEnded();
  }

  /** @internal */
  setPaused(isPaused: boolean): void {
    if (isPaused) this.pause();
    else if (!this.#isFlooded) this.resume();
  }
}

class Served implements ServedRequest {
  readonly head: RequestHead;
  readonly #connection: FastcgiConnection;
  isAborted = false;
  isPaused = false;
  #isOver = false;

  constructor(connection: FastcgiConnection, head: RequestHead) {
    this.#connection = connection;
    this.head = head;
  }

  write(bytes: Buffer): boolean {
    if (this.#isOver || this.isAborted || bytes.length === 0) return true;
    return this.#send(stdoutRecords(this.head.id, bytes));
  }

  gather(head: string, pieces: readonly Buffer[], pieceBytes: number, isLast: boolean): boolean {
    if (this.#isOver) return true;
    if (!this.isAborted && pieceBytes <= CONTENT_BYTES_MAX) {
      this.#isOver = isLast;
      const hasRoom = this.#connection.gathered(this, head, pieces, pieceBytes, isLast);
      if (hasRoom !== null) return hasRoom;
      this.#isOver = false;
    }
    const hasRoom = this.write(Buffer.concat([Buffer.from(head, 'latin1'), ...pieces]));
    if (isLast) this.end();
    return hasRoom;
  }

  report(line: string): void {
    if (!this.#isOver && !this.isAborted) this.#send(stderrRecords(this.head.id, line));
  }

  end(status = 0): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#connection.ended(this, endRecords(this.head.id, status));
  }

  answer(head: string, body: Buffer | string | null): void {
    if (this.#isOver) return;
    const bodyBytes = body === null ? 0 : Buffer.byteLength(body);
    if (!this.isAborted && head.length + bodyBytes <= COPY_BYTES_MAX) {
      this.#isOver = true;
      this.#connection.answered(this, head, body);
      return;
    }
    this.write(Buffer.from(head, 'latin1'));
    if (body !== null) this.write(typeof body === 'string' ? Buffer.from(body) : body);
    this.end();
  }

  breakOff(): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#connection.ended(this, null);
  }

  pauseBody(): void {
    this.#setPaused(true);
  }

  resumeBody(): void {
    this.#setPaused(false);
  }

  #setPaused(isPaused: boolean): void {
    if (this.#isOver || this.isPaused === isPaused) return;
    this.isPaused = isPaused;
    this.#connection.setPaused(isPaused);
  }

  /** false when the last one found no room: they go together. */
  #send(records: readonly Buffer[]): boolean {
    let hasRoom = true;
    for (const record of records) hasRoom = this.#connection.write(record);
    return hasRoom;
  }
}
