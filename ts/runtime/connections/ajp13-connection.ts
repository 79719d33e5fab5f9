// SPDX-License-Identifier: Apache-2.0
// Requests that come by AJP 1.3. Web servers leave Nagle's algorithm on and wait for acknowledgements, so
// what is written goes in as few pieces as possible.
import type { Socket } from 'node:net';
import { AjpServerDecoder, type AjpServerOptions } from '../../protocols/ajp13/server-decoder.ts';
import {
  CPONG,
  encodeChunk,
  encodeEnd,
  encodeGetBody,
  encodeHead,
  encodeRefusal,
  FLUSH,
} from '../../protocols/ajp13/server-encoder.ts';
import { type BodyMode, type ForwardRequest, PACKET_BYTES } from '../../protocols/ajp13/types.ts';
import type { ProtocolError } from '../../protocols/protocol-error.ts';
import { ServerConnection } from '../../serving/server-connection.ts';
import type { FieldList } from '../exchange.ts';
import { ajp13Head } from './ajp13-request.ts';
import { reasonOf, sentPairs } from './answer-fields.ts';
import type { ConnectionOwner } from './connection-owner.ts';
import { HeldBodyExchange } from './held-body.ts';

/** @param onClose the connection is gone, and all its exchanges are over */
export function ajp13Connection(
  socket: Socket,
  options: AjpServerOptions,
  owner: ConnectionOwner,
  onClose: () => void,
): ServerConnection {
  return new Ajp13Connection(socket, options, owner, onClose);
}

/** Type and length before the data of a data packet, and its head. */
const DATA_HEAD_BYTES = 6;

class Ajp13Connection extends ServerConnection {
  readonly #owner: ConnectionOwner;
  readonly #close: () => void;
  readonly #decoder: AjpServerDecoder;
  readonly packetBytes: number;
  #current: Ajp13Exchange | null = null;
  /** The answer is whole, and the packet that was owed has not come: then END goes out. */
  #isEndDue = false;
  #hasServed = false;

  constructor(
    socket: Socket,
    options: AjpServerOptions,
    owner: ConnectionOwner,
    onClose: () => void,
  ) {
    super(socket);
    this.#owner = owner;
    this.#close = onClose;
    this.packetBytes = options.packetBytes ?? PACKET_BYTES;
    this.#decoder = new AjpServerDecoder(
      {
        onRequest: (request, body) => this.#onRequest(request, body),
        onBody: (bytes) => this.#current?.onBody(bytes),
        onBodyEnd: () => this.#current?.onBodyEnd(),
        onPing: () => this.#onPing(),
        onDrained: () => this.#end(),
      },
      options,
    );
  }

  override get isIdle(): boolean {
    return this.#current === null && !this.#isEndDue;
  }

  protected override get hasServed(): boolean {
    return this.#hasServed;
  }

  protected override onData(chunk: Buffer): void {
    this.#decoder.push(chunk);
    this.ask();
  }

  /** A request that cannot be read is refused, as far as an answer has not begun. */
  protected override onBroken(error: ProtocolError): void {
    const current = this.#current;
    this.#owner.log(error.message);
    if (error.status !== 0 && current?.isOnItsWay !== true && !this.#isEndDue) {
      this.send(encodeRefusal(error.status));
    }
    this.#current = null;
    this.#isEndDue = false;
    this.finish();
    current?.abort(error);
  }

  protected override onDrain(): void {
    this.resume();
    this.#current?.onDrain();
  }

  protected override onClosed(): void {
    const current = this.#current;
    this.#current = null;
    current?.abort(new Error('the client has left'));
    this.#close();
  }

  /** From a peer that does not read the answers nothing more is read. */
  #onPing(): void {
    this.#hasServed = true;
    if (!this.send(CPONG)) this.pause();
  }

  #onRequest(request: ForwardRequest, body: BodyMode): void {
    this.#hasServed = true;
    const exchange = new Ajp13Exchange(this, request, body, this.#owner);
    this.#current = exchange;
    this.#owner.run(exchange);
  }

  // ---- for the exchange ----------------------------------------------------------------------

  write(bytes: Buffer): boolean {
    return this.send(bytes);
  }

  /** For the next packet of the body, when somebody wants it. */
  ask(): void {
    if (this.#current?.isAsking !== true || !this.#decoder.mayAsk) return;
    this.#decoder.ask();
    this.send(encodeGetBody(this.packetBytes - DATA_HEAD_BYTES));
  }

  /** @param last what is left of the answer, in pieces */
  ended(last: readonly Buffer[]): void {
    this.#current = null;
    for (const piece of last) this.queue(piece);
    if (this.#decoder.finish()) {
      this.#end();
      return;
    }
    this.#isEndDue = true;
    this.limitSilence(true);
    this.flush();
  }

  /** Without END: the peer knows that there is more that it did not get. */
  cut(): void {
    this.#current = null;
    this.finish();
  }

  #end(): void {
    if (this.#isEndDue) this.limitSilence(false);
    this.#isEndDue = false;
    this.queue(encodeEnd(!this.isClosing));
    this.ready();
  }
}

class Ajp13Exchange extends HeldBodyExchange {
  readonly #connection: Ajp13Connection;
  readonly #owner: ConnectionOwner;
  /** Given, and not sent yet: it goes with what comes next. */
  #heldHead: Buffer | null = null;
  #hasSentHead = false;

  constructor(
    connection: Ajp13Connection,
    request: ForwardRequest,
    body: BodyMode,
    owner: ConnectionOwner,
  ) {
    super(ajp13Head(request, body));
    this.#connection = connection;
    this.#owner = owner;
    if (this.head.bodyBytes === 0) this.takeBodyEnd();
  }

  /** Something of the answer was sent. */
  get isOnItsWay(): boolean {
    return this.#hasSentHead;
  }

  get isAsking(): boolean {
    return this.isWanted;
  }

  override report(line: string): void {
    this.#owner.log(line);
  }

  protected override startPeer(): void {
    this.#connection.ask();
  }

  protected override stopPeer(): void {
    // It sends nothing that was not asked for.
  }

  /** A head that is longer than a packet is an error. */
  protected override sendHead(status: number, reason: string, fields: FieldList): void {
    const pairs = sentPairs(status, reason, fields);
    const answer = { status, reason: reasonOf(status, reason), fields: pairs };
    this.#heldHead = encodeHead(answer, this.#connection.packetBytes);
  }

  protected override sendBody(bytes: Buffer): boolean {
    this.#sendHeld();
    let hasRoom = true;
    for (const piece of encodeChunk(bytes, this.#connection.packetBytes)) {
      hasRoom = this.#connection.write(piece);
    }
    return hasRoom;
  }

  protected override sendNow(): void {
    this.#sendHeld();
    this.#connection.write(FLUSH);
  }

  protected override sendEnd(last: Buffer | null): void {
    const pieces = last === null ? [] : encodeChunk(last, this.#connection.packetBytes);
    if (this.#heldHead !== null) pieces.unshift(this.#heldHead);
    this.#connection.ended(pieces);
  }

  /** mod_jk sends a request again, whatever its method, when a connection ends without an answer. */
  protected override sendBreak(): void {
    if (!this.#hasSentHead) this.#connection.write(encodeRefusal(500));
    this.#connection.cut();
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
