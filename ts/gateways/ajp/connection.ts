// SPDX-License-Identifier: Apache-2.0
// A connection to a backend: bytes in, events of the one answer that is due out. This one speaks AJP 1.3.
import { connect, type Socket } from 'node:net';
import { AjpClientDecoder } from '../../protocols/ajp13/client-decoder.ts';
import { CPING } from '../../protocols/ajp13/client-encoder.ts';
import type { AjpClientEvents, Field } from '../../protocols/ajp13/types.ts';
import { leaveRoom, room } from '../../serving/room.ts';
import type { BackendAddress } from './address.ts';
import type { PooledConnection } from './pool.ts';

/** The answer to a request. After onEnd only onPushed follows, after onBroken nothing. */
export interface AnswerEvents {
  onHead(status: number, reason: string, fields: Field[]): void;
  /** Bytes that are there until onPushed has returned. */
  onBody(bytes: Buffer): void;
  onGetBody(wanted: number): void;
  /** Why it failed, for the log. */
  onBackendError(text: string): void;
  /** reuse: as the backend says it. */
  onEnd(reuse: boolean): void;
  /** All that came at once has been told. */
  onPushed(): void;
  /**
   * The connection has ended, or what came is not AJP.
   *
   * @param isUnheard Not a byte of an answer had come.
   */
  onBroken(error: Error, isUnheard: boolean): void;
}

export interface BackendConnection extends PooledConnection {
  /** Sends a request, and with it the first part of its body. */
  begin(answer: AnswerEvents, request: Buffer, body: readonly Buffer[], method: string): void;
  /** Sends more of the body. */
  send(pieces: readonly Buffer[]): void;
  /** Nobody takes the answer just now. While it is stopped the end of the connection goes unnoticed. */
  pause(): void;
  resume(): void;
}

export interface ConnectionOptions {
  address: BackendAddress;
  packetBytes: number;
  /** It has ended while it was idle, or bytes came that nobody had asked for. */
  onLost: (connection: AjpConnection) => void;
  /** Nothing has come that was not read yet, not even the end. */
  isQuiet: (socket: Socket) => boolean;
}

/** What is read is decoded and copied before the next read, so all connections share it. */
export const readBuffer = Buffer.allocUnsafeSlow(65536);

/** In one write; nothing of them is needed when it returns. false: no more until 'drain', or memory grows. */
export function writePieces(socket: Socket, pieces: readonly Buffer[]): boolean {
  const bytes = bytesOf(pieces);
  const out = room();
  if (bytes > out.length) return socket.write(Buffer.concat(pieces, bytes));
  let at = 0;
  for (const piece of pieces) {
    out.set(piece, at);
    at += piece.length;
  }
  const hasRoom = socket.write(out.subarray(0, bytes));
  leaveRoom(socket);
  return hasRoom;
}

export function bytesOf(pieces: readonly Buffer[]): number {
  let bytes = 0;
  for (const piece of pieces) bytes += piece.length;
  return bytes;
}

type State = 'connecting' | 'idle' | 'pinging' | 'busy' | 'closed';

export class AjpConnection implements BackendConnection, AjpClientEvents {
  readonly #options: ConnectionOptions;
  readonly #decoder: AjpClientDecoder;
  #socket: Socket | null = null;
  #state: State = 'connecting';
  #answer: AnswerEvents | null = null;
  #isAnswered = false;
  /** Nothing has come since the request went. */
  #isUnheard = false;
  /** Of open() or ping(). */
  #done: ((error: Error | null) => void) | null = null;
  #timer: NodeJS.Timeout | undefined;

  constructor(options: ConnectionOptions) {
    this.#options = options;
    this.#decoder = new AjpClientDecoder(this, options.packetBytes);
  }

  get isFinished(): boolean {
    return this.#state === 'idle' && this.#decoder.isIdle && this.#socket?.writableLength === 0;
  }

  get isReusable(): boolean {
    return this.isFinished && this.#socket !== null && this.#options.isQuiet(this.#socket);
  }

  /** @param timeoutMs 0: what the system allows. */
  open(timeoutMs: number, done: (error: Error | null) => void): void {
    const { address } = this.#options;
    const socket = connect({
      ...address,
      noDelay: true,
      keepAlive: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          this.#onData(length === readBuffer.length ? readBuffer : readBuffer.subarray(0, length));
          return true;
        },
      },
    });
    this.#socket = socket;
    this.#await(done, timeoutMs, 'it does not accept connections');
    socket.once('connect', () => this.#settle());
    socket.on('error', (error) => this.#fail(error));
    socket.on('end', () => this.#fail(new Error('it closed the connection')));
    socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  ping(timeoutMs: number, done: (error: Error | null) => void): void {
    this.#state = 'pinging';
    this.#await(done, timeoutMs, 'no answer to CPING');
    this.#decoder.ping();
    this.#socket?.write(CPING);
  }

  close(): void {
    this.#state = 'closed';
    this.#answer = null;
    this.#done = null;
    clearTimeout(this.#timer);
    this.#socket?.destroy();
  }

  begin(answer: AnswerEvents, request: Buffer, body: readonly Buffer[]): void {
    this.#decoder.begin();
    this.#state = 'busy';
    this.#answer = answer;
    this.#isAnswered = false;
    this.#isUnheard = true;
    this.send([request, ...body]);
  }

  send(pieces: readonly Buffer[]): void {
    if (this.#socket !== null && this.#state !== 'closed') writePieces(this.#socket, pieces);
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  #onData(bytes: Buffer): void {
    if (this.#state === 'closed') return;
    this.#isUnheard = false;
    try {
      this.#decoder.push(bytes);
    } catch (error) {
      // What came after an answer is not part of it; the connection is not used again.
      if (!this.#isAnswered) {
        this.#fail(error as Error);
        return;
      }
    }
    if (this.#state === 'pinging' && this.#decoder.isIdle) this.#settle();
    else if (this.#state === 'busy') this.#pushed();
  }

  #pushed(): void {
    const answer = this.#answer;
    if (this.#isAnswered) {
      this.#isAnswered = false;
      this.#answer = null;
      this.#state = 'idle';
    }
    answer?.onPushed();
  }

  #await(done: (error: Error | null) => void, timeoutMs: number, what: string): void {
    this.#done = done;
    if (timeoutMs === 0) return;
    this.#timer = setTimeout(
      () => this.#fail(new Error(`${what} within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
  }

  /** open() or ping() has come to its end. */
  #settle(): void {
    clearTimeout(this.#timer);
    const done = this.#done;
    this.#done = null;
    if (this.#state === 'closed') return;
    this.#state = 'idle';
    done?.(null);
  }

  #fail(error: Error): void {
    if (this.#state === 'closed') return;
    const done = this.#done;
    const answer = this.#answer;
    this.close();
    if (done !== null) done(error);
    else if (answer !== null) answer.onBroken(error, this.#isUnheard);
    else this.#options.onLost(this);
  }

  // ---- the decoder's events ------------------------------------------------------------------

  /** @internal */
  onHead(status: number, reason: string, fields: Field[]): void {
    this.#answer?.onHead(status, reason, fields);
  }

  /** @internal */
  onBody(bytes: Buffer): void {
    this.#answer?.onBody(bytes);
  }

  /** @internal */
  onGetBody(wanted: number): void {
    this.#answer?.onGetBody(wanted);
  }

  /** @internal */
  onEnd(reuse: boolean): void {
    this.#isAnswered = true;
    this.#answer?.onEnd(reuse);
  }

  /** @internal */
  onPong(): void {
    // Seen when all that came with it is known.
  }
}
