// SPDX-License-Identifier: Apache-2.0
// A connection to an AJP 1.2 backend, which is for one request: its end is the end of the answer.
import { connect, type Socket } from 'node:net';
import { Ajp12ClientDecoder } from '../../../protocols/ajp12/client-decoder.ts';
import type { Ajp12ClientEvents, Field } from '../../../protocols/ajp12/types.ts';
import type { BackendAddress } from '../address.ts';
import {
  type AnswerEvents,
  type BackendConnection,
  readBuffer,
  writePieces,
} from '../connection.ts';
import { closedBefore, NO_CHALLENGE, pingEngine } from './ping.ts';

export interface Ajp12ConnectionOptions {
  address: BackendAddress;
  /** All bytes of the secret file; null = the engine sends no challenge. */
  key: Buffer | null;
  /** Before it connects the engine is asked by a ping and has so long; 0: it is not asked. */
  pingMs: () => number;
  /** The engine is there and works. */
  onHeard: () => void;
  /** Of a part of a request's body. */
  bodyBytesMax: number;
}

type State = 'opening' | 'idle' | 'busy' | 'closed';

export class Ajp12Connection implements BackendConnection, Ajp12ClientEvents {
  /** Not even one that was not used: an engine that serves one connection after the other would wait
   * for its request. */
  readonly isFinished = false;
  readonly isReusable = false;
  readonly #options: Ajp12ConnectionOptions;
  readonly #decoder: Ajp12ClientDecoder;
  #socket: Socket | null = null;
  #state: State = 'opening';
  #answer: AnswerEvents | null = null;
  /** Something of an answer has come. */
  #hasHeard = false;
  #done: ((error: Error | null) => void) | null = null;
  #timer: NodeJS.Timeout | undefined;
  #cancelPing: () => void = () => undefined;
  /** Answers the challenge; goes out with the request. */
  #proof: Buffer | null = null;

  constructor(options: Ajp12ConnectionOptions) {
    this.#options = options;
    this.#decoder = new Ajp12ClientDecoder(this, options.key);
  }

  /** @param timeoutMs For each of its steps; 0: what the system allows. */
  open(timeoutMs: number, done: (error: Error | null) => void): void {
    const { address, key, pingMs, onHeard } = this.#options;
    this.#done = done;
    const answerTimeoutMs = pingMs();
    if (answerTimeoutMs === 0) {
      this.#connect(timeoutMs);
      return;
    }
    const options = { address, key, connectTimeoutMs: timeoutMs, answerTimeoutMs };
    this.#cancelPing = pingEngine(options, (error) => {
      if (error !== null) {
        this.#fail(error);
        return;
      }
      onHeard();
      this.#connect(timeoutMs);
    });
  }

  /** It was asked before it was opened. */
  ping(_timeoutMs: number, done: (error: Error | null) => void): void {
    done(null);
  }

  close(): void {
    this.#state = 'closed';
    this.#answer = null;
    this.#done = null;
    clearTimeout(this.#timer);
    this.#cancelPing();
    this.#socket?.destroy();
  }

  begin(answer: AnswerEvents, request: Buffer, body: readonly Buffer[], method: string): void {
    this.#decoder.begin(method);
    this.#state = 'busy';
    this.#answer = answer;
    const head = this.#proof === null ? [request] : [this.#proof, request];
    this.#write([...head, ...body], body.length > 0);
  }

  send(pieces: readonly Buffer[]): void {
    this.#write(pieces, true);
  }

  pause(): void {
    this.#socket?.pause();
  }

  resume(): void {
    this.#socket?.resume();
  }

  #connect(timeoutMs: number): void {
    const { address, key } = this.#options;
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
    this.#within(timeoutMs, 'it does not accept connections');
    socket.once('connect', () => {
      if (key === null) this.#settle();
      else this.#within(timeoutMs, NO_CHALLENGE);
    });
    socket.on('error', (error) => this.#onError(error));
    socket.on('end', () => this.#onEnd());
    socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  /** @param hasBody More of it may go when there is room: there is no word of the engine's for it. */
  #write(pieces: readonly Buffer[], hasBody: boolean): void {
    const socket = this.#socket;
    if (socket === null || this.#state === 'closed') return;
    const hasRoom = writePieces(socket, pieces);
    if (!hasBody) return;
    const ask = (): void => this.#answer?.onGetBody(this.#options.bodyBytesMax);
    if (hasRoom) ask();
    else socket.once('drain', ask);
  }

  #onData(bytes: Buffer): void {
    if (this.#state === 'closed') return;
    this.#hasHeard = this.#state === 'busy';
    try {
      this.#decoder.push(bytes);
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    if (this.#state === 'busy') this.#answer?.onPushed();
  }

  #onEnd(): void {
    if (this.#state === 'closed') return;
    if (!this.#hasHeard) {
      const isSent = this.#state === 'busy';
      this.#fail(new Error(closedBefore(isSent, this.#options.key, 'an answer')));
      return;
    }
    try {
      this.#decoder.end();
    } catch (error) {
      this.#fail(error as Error);
      return;
    }
    const answer = this.#answer;
    this.#answer = null;
    answer?.onPushed();
  }

  /** An engine that answers without reading the request's body resets the connection. */
  #onError(error: Error): void {
    if (this.#decoder.isWhole) this.#onEnd();
    else this.#fail(error);
  }

  #within(timeoutMs: number, what: string): void {
    clearTimeout(this.#timer);
    if (timeoutMs === 0) return;
    this.#timer = setTimeout(
      () => this.#fail(new Error(`${what} within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
  }

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
    else answer?.onBroken(error, !this.#hasHeard);
  }

  // ---- the decoder's events ------------------------------------------------------------------

  /** @internal */
  onChallenge(answer: Buffer): void {
    this.#proof = answer;
    this.#settle();
  }

  /** @internal */
  onHead(status: number, reason: string, fields: Field[], servletError: string): void {
    this.#options.onHeard();
    if (servletError !== '') this.#answer?.onBackendError(servletError);
    this.#answer?.onHead(status, reason, fields);
  }

  /** @internal */
  onBody(bytes: Buffer): void {
    this.#answer?.onBody(bytes);
  }

  /** @internal */
  onEnd(): void {
    this.#answer?.onEnd(false);
  }

  /** @internal */
  onPong(): void {
    // Pings have connections of their own.
  }
}
