// SPDX-License-Identifier: Apache-2.0
// A request, or a signal, that comes by AJP 1.2: one a connection.
import { randomBytes } from 'node:crypto';
import type { Socket } from 'node:net';
import { encodeChallenge } from '../../protocols/ajp12/challenge.ts';
import { Ajp12ServerDecoder } from '../../protocols/ajp12/server-decoder.ts';
import { encodeHead, PONG } from '../../protocols/ajp12/server-encoder.ts';
import type { Ajp12Request, Signal } from '../../protocols/ajp12/types.ts';
import type { ProtocolError } from '../../protocols/protocol-error.ts';
import { ServerConnection } from '../../serving/server-connection.ts';
import type { FieldList } from '../exchange.ts';
import { ajp12Head } from './ajp12-request.ts';
import { reasonOf, sentPairs } from './answer-fields.ts';
import type { ConnectionOwner } from './connection-owner.ts';
import { HeldBodyExchange } from './held-body.ts';
import { isLoopback } from './listen-address.ts';

export interface Ajp12Options {
  /** All bytes of the secret file; null = whoever can connect is trusted. */
  key: Buffer | null;
  /** Default: 16. */
  challengeBytes?: number | undefined;
}

export interface Ajp12Owner extends ConnectionOwner {
  onSignal?(signal: Exclude<Signal, 'ping'>): void;
}

const CHALLENGE_BYTES = 16;

/** @param onClose the connection is gone, and all its exchanges are over */
export function ajp12Connection(
  socket: Socket,
  options: Ajp12Options,
  owner: Ajp12Owner,
  onClose: () => void,
): ServerConnection {
  return new Ajp12Connection(socket, options, owner, onClose);
}

class Ajp12Connection extends ServerConnection {
  readonly #owner: Ajp12Owner;
  readonly #close: () => void;
  readonly #decoder: Ajp12ServerDecoder;
  readonly #isLocal: boolean;
  #current: Ajp12Exchange | null = null;

  constructor(socket: Socket, options: Ajp12Options, owner: Ajp12Owner, onClose: () => void) {
    super(socket);
    this.#owner = owner;
    this.#close = onClose;
    const { remoteAddress, localAddress } = socket;
    this.#isLocal =
      remoteAddress === undefined || // a Unix socket's
      remoteAddress === localAddress ||
      isLoopback(remoteAddress);
    const { key, challengeBytes = CHALLENGE_BYTES } = options;
    const authentication = key === null ? null : { challenge: randomBytes(challengeBytes), key };
    this.#decoder = new Ajp12ServerDecoder(
      {
        onRequest: (request, bodyBytes) => this.#onRequest(request, bodyBytes),
        onBody: (bytes) => this.#current?.onBody(bytes),
        onBodyEnd: () => this.#current?.onBodyEnd(),
        onSignal: (signal, isAuthenticated) => this.#onSignal(signal, isAuthenticated),
      },
      { authentication },
    );
    if (authentication !== null) this.send(encodeChallenge(authentication.challenge));
  }

  override get isIdle(): boolean {
    return this.#current === null;
  }

  /** One that has served ends by itself. */
  protected override get hasServed(): boolean {
    return false;
  }

  protected override onData(chunk: Buffer): void {
    this.#decoder.push(chunk);
  }

  protected override onBroken(error: ProtocolError): void {
    const current = this.#current;
    this.#owner.log(error.message);
    if (error.status !== 0 && current?.isOnItsWay !== true) {
      this.send(refusalHead(error.status));
    }
    this.#current = null;
    this.finish();
    current?.abort(error);
  }

  /** A client that has said all it had to say may still read. */
  protected override onPeerEnd(): void {
    if (!this.isFinished && !this.#decoder.isDone) this.destroy();
  }

  protected override onDrain(): void {
    this.#current?.onDrain();
  }

  protected override onClosed(): void {
    const current = this.#current;
    this.#current = null;
    current?.abort(new Error('the client has left'));
    this.#close();
  }

  #onRequest(request: Ajp12Request, bodyBytes: number): void {
    this.closeAfterThis();
    const exchange = new Ajp12Exchange(this, request, bodyBytes, this.#owner);
    this.#current = exchange;
    this.#owner.run(exchange);
  }

  /** Only who knows the secret can stop us, and only from this host. */
  #onSignal(signal: Signal, isAuthenticated: boolean): void {
    if (signal === 'ping') {
      this.send(PONG);
    } else if (isAuthenticated && this.#isLocal) {
      this.#owner.onSignal?.(signal);
    } else {
      const why = isAuthenticated ? 'it came from another host' : 'there is no secretFile';
      this.#owner.log(`AJP 1.2: ${signal} is not obeyed: ${why}`);
    }
    this.finish();
  }

  // ---- for the exchange ----------------------------------------------------------------------

  write(bytes: Buffer): boolean {
    return this.send(bytes);
  }

  /** The end of the connection is that of the answer; one that is not whole is shorter than promised. */
  ended(): void {
    this.#current = null;
    this.finish();
  }

  setPaused(isPaused: boolean): void {
    if (isPaused) this.pause();
    else this.resume();
  }

  /** The peer finds no end of the connection, but a fault. */
  cut(): void {
    this.#current = null;
    this.reset();
  }
}

class Ajp12Exchange extends HeldBodyExchange {
  readonly #connection: Ajp12Connection;
  readonly #owner: Ajp12Owner;
  #heldHead: Buffer | null = null;
  #hasSentHead = false;

  constructor(
    connection: Ajp12Connection,
    request: Ajp12Request,
    bodyBytes: number,
    owner: Ajp12Owner,
  ) {
    super(ajp12Head(request, bodyBytes));
    this.#connection = connection;
    this.#owner = owner;
  }

  /** Something of the answer was sent. */
  get isOnItsWay(): boolean {
    return this.#hasSentHead;
  }

  override report(line: string): void {
    this.#owner.log(line);
  }

  protected override startPeer(): void {
    this.#connection.setPaused(false);
  }

  protected override stopPeer(): void {
    this.#connection.setPaused(true);
  }

  protected override sendHead(status: number, reason: string, fields: FieldList): void {
    const servletError =
      status === 500 && this.refusal !== null ? servletErrorOf(this.refusal) : '';
    const pairs = sentPairs(status, reason, fields);
    this.#heldHead = encodeHead({
      status,
      reason: reasonOf(status, reason),
      fields: pairs,
      servletError,
    });
  }

  protected override sendBody(bytes: Buffer): boolean {
    this.#sendHeld();
    return this.#connection.write(bytes);
  }

  protected override sendNow(): void {
    this.#sendHeld();
  }

  protected override sendEnd(last: Buffer | null): void {
    this.#sendHeld();
    if (last !== null) this.#connection.write(last);
    this.#connection.ended();
  }

  protected override sendBreak(): void {
    if (this.#hasSentHead) {
      this.#connection.cut();
      return;
    }
    this.#connection.write(refusalHead(500));
    this.#connection.ended();
  }

  #sendHeld(): void {
    if (this.#heldHead === null) return;
    this.#connection.write(this.#heldHead);
    this.#heldHead = null;
    this.#hasSentHead = true;
  }

  // ---- of the connection

  onBody(bytes: Buffer): void {
    this.takeBody(bytes);
  }

  onBodyEnd(): void {
    this.takeBodyEnd();
  }

  onDrain(): void {
    this.listener?.onDrain();
  }
}

function refusalHead(status: number): Buffer {
  return encodeHead({ status, reason: reasonOf(status, ''), fields: [['Content-Length', '0']] });
}

/** For the web server's log: one line of bytes. */
function servletErrorOf({ log, reason }: { log?: string; reason: string }): string {
  return Buffer.from((log ?? reason).replace(/\s+/g, ' '))
    .toString('latin1')
    .replace(/[^\t\x20-\x7e\x80-\xff]/g, '?')
    .slice(0, 1000);
}
