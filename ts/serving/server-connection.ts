// SPDX-License-Identifier: Apache-2.0
// The accepting end of a connection whose peer is a web server: all that is written in one tick is one write,
// slow readers are waited for, a peer that has gone is noticed, and nothing that was written is lost when
// the connection ends. What the bytes mean is the protocol's, in the classes that extend this one.
import type { Socket } from 'node:net';
import { ProtocolError } from '../protocols/protocol-error.ts';
import { copiesAtOnce, readFrom, type Take } from './accepted-socket.ts';
import { leaveRoom, room } from './room.ts';

/** Waiting to be written: beyond this send() says false. */
const OUTPUT_BYTES_MAX = 256 << 10;
/** Below this one copy is cheaper than one more element of writev. */
export const COPY_BYTES_MAX = 16 << 10;

/** A connection that is not read says nothing of its end: it is asked by writing no bytes at all, which
 * fails once the peer has gone. */
const LOOK_MS = 1000;
const NOTHING = Buffer.alloc(0);

/** A connection that is to be closed is given this long to take what was written. */
const LINGER_MS = 30_000;
/** And one that has just been opened, for its first request. */
const FIRST_REQUEST_MS = 1000;

/** Its socket: allowHalfOpen. */
export abstract class ServerConnection {
  readonly #socket: Socket;
  #out: Buffer[] = [];
  #outBytes = 0;
  #isInRoom = false;
  #flushIsDue = false;
  #needsDrain = false;
  #isClosing = false;
  #isFinished = false;
  #look: NodeJS.Timeout | null = null;

  /** @param read borrowFrom, where onData keeps nothing of what it gets. */
  protected constructor(socket: Socket, read: (socket: Socket, take: Take) => void = readFrom) {
    this.#socket = socket;
    read(socket, (chunk) => this.#onData(chunk));
    socket.on('drain', () => this.#onDrain());
    socket.on('error', () => undefined); // 'close' follows
    socket.on('end', () => this.onPeerEnd());
    socket.on('close', () => this.#onClose());
  }

  /** No request is being served. */
  abstract get isIdle(): boolean;

  /** Close now when idle, else after the request. What has arrived already counts as a request. */
  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (!this.isIdle) return;
    // One turn of the event loop reads what has arrived; the first of the two may have begun before.
    setImmediate(() => setImmediate(() => this.#finishIdle()));
  }

  /** Without regard to anything. */
  destroy(): void {
    this.#socket.destroy();
  }

  // ---- of the protocol -----------------------------------------------------------------------

  /** @throws ProtocolError, which goes to onBroken */
  protected abstract onData(chunk: Buffer): void;
  protected abstract onBroken(error: ProtocolError): void;
  /** send() said false; now there is room again. */
  protected abstract onDrain(): void;
  /** Nothing comes after it. */
  protected abstract onClosed(): void;
  /** A request has come on it at some time. */
  protected abstract get hasServed(): boolean;

  /** The peer sends no more: by default it waits for nothing then. */
  protected onPeerEnd(): void {
    this.#socket.destroy();
  }

  protected get isClosing(): boolean {
    return this.#isClosing;
  }

  /** The request that is being served is the last. */
  protected closeAfterThis(): void {
    this.#isClosing = true;
  }

  /** finish() was called. */
  protected get isFinished(): boolean {
    return this.#isFinished;
  }

  /** A peer that owes something and neither sends nor takes anything is waited for no longer than that. */
  protected limitSilence(isLimited: boolean): void {
    this.#socket.removeAllListeners('timeout');
    this.#socket.setTimeout(isLimited ? LINGER_MS : 0);
    if (isLimited) this.#socket.once('timeout', () => this.#socket.destroy());
  }

  /** The bytes are kept until they are written. false: no more until onDrain, or memory grows. */
  protected send(bytes: Buffer): boolean {
    if (this.#socket.destroyed || this.#isFinished) return true;
    this.queue(bytes);
    if (!this.#flushIsDue) {
      this.#flushIsDue = true;
      process.nextTick(flushDue, this);
    }
    return this.hasRoom;
  }

  /** As send() says it. */
  protected get hasRoom(): boolean {
    const isFull = this.#outBytes + this.#socket.writableLength >= OUTPUT_BYTES_MAX;
    if (isFull) this.#needsDrain = true;
    return !isFull;
  }

  /** For what is followed by flush(), ready() or finish() at once: it needs no tick to wait for. */
  protected queue(bytes: Buffer): void {
    if (this.#socket.destroyed || this.#isFinished) return;
    this.#out.push(bytes);
    this.#outBytes += bytes.length;
  }

  /** For what goes to queue() and out with flush(), ready() or finish(), all in one go. */
  protected get room(): Buffer | null {
    if (!copiesAtOnce(this.#socket)) return null;
    this.#isInRoom = true;
    return room();
  }

  /** What was sent goes out now. */
  protected flush(): void {
    if (this.#out.length === 0 || this.#socket.destroyed) return;
    this.#writeOut();
    if (!this.#isInRoom) return;
    this.#isInRoom = false;
    leaveRoom(this.#socket);
  }

  #writeOut(): void {
    const out = this.#out;
    const bytes = this.#outBytes;
    this.#out = [];
    this.#outBytes = 0;
    if (out.length === 1 || bytes <= COPY_BYTES_MAX) {
      this.#socket.write(out.length === 1 ? (out[0] as Buffer) : Buffer.concat(out, bytes));
      return;
    }
    this.#socket.cork();
    for (const piece of out) this.#socket.write(piece);
    this.#socket.uncork();
  }

  /** The request is over: the connection is ready for the next, or ends. */
  protected ready(): void {
    this.#needsDrain = false;
    if (this.#isClosing) {
      this.finish();
      return;
    }
    this.flush();
    this.resume();
  }

  /** Everything that was written reaches the peer, who may have more to say that nobody reads. */
  protected finish(): void {
    if (this.#isFinished) return;
    this.flush();
    this.#isClosing = true;
    this.#isFinished = true;
    this.resume();
    this.#socket.end();
    this.limitSilence(true);
  }

  /** What was written goes out as far as the peer takes it now, and then it finds a fault, not an end. */
  protected reset(): void {
    this.flush();
    this.#isClosing = true;
    this.#isFinished = true;
    // resetAndDestroy() shuts down first, which peers take for an end. Its mark does without; Unix sockets
    // have no reset.
    if (this.#socket.remoteAddress !== undefined) {
      (this.#socket as Socket & { resetAndClosing?: boolean }).resetAndClosing = true;
    }
    this.#socket.destroy();
  }

  /** Nothing more is read until resume(). */
  protected pause(): void {
    if (this.#socket.destroyed || this.#isFinished) return;
    this.#socket.pause();
    this.#look ??= setInterval(() => {
      if (this.#socket.writableLength === 0) this.#socket.write(NOTHING);
    }, LOOK_MS);
  }

  protected resume(): void {
    if (this.#socket.isPaused()) this.#socket.resume();
    if (this.#look !== null) clearInterval(this.#look);
    this.#look = null;
  }

  /** @internal */
  flushDue(): void {
    this.#flushIsDue = false;
    this.flush();
  }

  #finishIdle(): void {
    if (!this.isIdle || this.#isFinished) return;
    if (this.hasServed) {
      this.finish();
      return;
    }
    this.#socket.setTimeout(FIRST_REQUEST_MS, () => {
      if (this.isIdle) this.finish();
    });
  }

  #onData(chunk: Buffer): void {
    if (this.#isFinished) return;
    try {
      this.onData(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.onBroken(error);
    }
  }

  #onDrain(): void {
    if (!this.#needsDrain) return;
    this.#needsDrain = false;
    this.onDrain();
  }

  #onClose(): void {
    this.resume();
    this.#out = [];
    this.#outBytes = 0;
    this.onClosed();
  }
}

function flushDue(connection: ServerConnection): void {
  connection.flushDue();
}
