// SPDX-License-Identifier: Apache-2.0
// What a web server sends, as the container's side reads it. Data packets are taken only while one is
// owed: the one that a known length promises, or the one that was asked for. The owner answers an error
// that has a status and came before its head went out (encodeRefusal), and closes the connection.
import { ProtocolError } from '../protocol-error.ts';
import { statedBodyMode } from './body-mode.ts';
import { CPING_REQUEST, FORWARD_REQUEST, MAGIC_CLIENT } from './codes.ts';
import { Cursor } from './cursor.ts';
import { type FaultKind, PacketReader, type PacketSink } from './packets.ts';
import { allowedAttributes, type RequestLimits, readForwardRequest } from './request-reader.ts';
import { secretCheck } from './secret.ts';
import { type AjpServerEvents, type BodyMode, PACKET_BYTES } from './types.ts';

export interface AjpServerOptions {
  /** Every request must bring it; null = whoever can connect is trusted. */
  secret: string | null;
  /** Of the longest packet, as configured at the web server as well. */
  packetBytes?: number;
  /** Names of request attributes that are taken beside web servers' own; others are refused. */
  attributes?: readonly string[];
  /** Header fields of a request; default 100. */
  headersMax?: number;
}

/**
 * idle: a request or a ping may come; body: more of a body is to come; answering: the body was read to
 * its end; draining: the answer is complete, but a packet is owed that must not be taken for a request.
 */
type State = 'idle' | 'body' | 'answering' | 'draining';

export class AjpServerDecoder implements PacketSink {
  readonly #events: AjpServerEvents;
  readonly #packets: PacketReader;
  readonly #cursor = new Cursor(400);
  readonly #isSecret: ((given: string | undefined) => boolean) | null;
  readonly #limits: RequestLimits;
  #state: State = 'idle';
  #isOwed = false;
  /** Bytes of the body that are still to come; null = nobody knows. */
  #left: number | null = 0;
  #isLastPacket = false;

  constructor(events: AjpServerEvents, options: AjpServerOptions) {
    this.#events = events;
    const packetBytes = options.packetBytes ?? PACKET_BYTES;
    this.#packets = new PacketReader(this, MAGIC_CLIENT, packetBytes);
    this.#isSecret = options.secret === null ? null : secretCheck(options.secret);
    this.#limits = {
      attributes: allowedAttributes(options.attributes ?? []),
      headersMax: options.headersMax ?? 100,
    };
  }

  /** No request is under way. */
  get isIdle(): boolean {
    return this.#state === 'idle' && this.#packets.isBetween && !this.#packets.hasFailed;
  }

  /** More of the body can be asked for. */
  get mayAsk(): boolean {
    return this.#state === 'body' && !this.#isOwed && !this.#packets.hasFailed;
  }

  /** Before GET_BODY_CHUNK is written. */
  ask(): void {
    if (!this.mayAsk) throw new Error('AJP: there is no more of the body, or it was asked for');
    this.#isOwed = true;
  }

  /** The answer is complete but for END. true: it may go out now; false: after onDrained. */
  finish(): boolean {
    if (this.#state !== 'body' && this.#state !== 'answering') {
      throw new Error(`AJP: no answer to finish in state "${this.#state}"`);
    }
    this.#state = this.#isOwed ? 'draining' : 'idle';
    return this.#state === 'idle';
  }

  /** Any piece of the stream. Throws ProtocolError for what may not come here, and the same error for
   * ever after one. */
  push(chunk: Buffer): void {
    this.#packets.push(chunk);
  }

  /** @internal */
  fault(message: string, kind: FaultKind): ProtocolError {
    const isIdle = this.#state === 'idle';
    const size = isIdle ? 431 : 413;
    // Who does not even begin like AJP gets no answer in it.
    const status = kind === 'size' ? size : kind === 'magic' && isIdle ? 0 : 400;
    return new ProtocolError(`AJP: ${message}`, status);
  }

  /** @internal */
  checkExpected(): void {
    if (this.#state !== 'idle' && !this.#isOwed) throw unasked();
  }

  /** @internal */
  dataHeadBytes(): number {
    return this.#isOwed ? 2 : 0;
  }

  /** @internal */
  onDataBegin(length: number, tail: number): void {
    if (tail > 0) throw this.fault(`${tail} bytes after the data of a data packet`, 'data');
    if (this.#state === 'draining') return;
    if (this.#left !== null) {
      // Containers that take this for the body's end have answered for uploads that were cut off.
      if (length === 0) throw this.fault(`the body ends ${this.#left} bytes too early`, 'data');
      if (length > this.#left) {
        throw this.fault(`${length} bytes where the body has ${this.#left} more`, 'data');
      }
      this.#left -= length;
    }
    this.#isLastPacket = length === 0 || this.#left === 0;
  }

  /** @internal */
  onData(bytes: Buffer): void {
    if (this.#state !== 'draining') this.#events.onBody(bytes);
  }

  /** @internal */
  onDataEnd(isLast: boolean): void {
    this.#isOwed = false;
    if (!isLast) throw unasked();
    if (this.#state === 'draining') {
      this.#state = 'idle';
      this.#events.onDrained();
    } else if (this.#isLastPacket) {
      this.#state = 'answering';
      this.#events.onBodyEnd();
    }
  }

  /** @internal */
  onMessage(bytes: Buffer, at: number, end: number, isLast: boolean): void {
    if (this.#isOwed) {
      this.onDataBegin(0, 0);
      this.onDataEnd(isLast);
      return;
    }
    const cursor = this.#cursor;
    cursor.begin(bytes, at, end);
    const type = at < end ? cursor.byte('packet type') : -1;
    if (type === FORWARD_REQUEST) {
      this.#request(cursor, isLast);
    } else if (type === CPING_REQUEST) {
      cursor.finish('CPING');
      this.#events.onPing();
    } else {
      const what = type === -1 ? 'an empty packet' : `packet type ${type}`;
      throw new ProtocolError(`AJP: ${what} between requests, allowed are 2 and 10`);
    }
  }

  #request(cursor: Cursor, isLast: boolean): void {
    const request = readForwardRequest(cursor, this.#limits);
    const { secret, ...attributes } = request.attributes;
    if (this.#isSecret && !this.#isSecret(secret)) {
      const what = secret === undefined ? 'no secret' : 'a wrong secret';
      throw new ProtocolError(
        `AJP: ${what} came with a request; web server and container must be configured with the same one`,
        403,
      );
    }
    const body: BodyMode = statedBodyMode(request.fields) ?? { kind: 'chunked' };
    this.#left = body.kind === 'length' ? body.bytes : body.kind === 'none' ? 0 : null;
    this.#state = body.kind === 'none' ? 'answering' : 'body';
    this.#isOwed = body.kind === 'length';
    this.#isLastPacket = false;
    // A request that is answered inside onRequest must not have the bytes behind it taken for the next.
    if (!isLast && !this.#isOwed) throw unasked();
    this.#events.onRequest({ ...request, attributes }, body);
  }
}

function unasked(): ProtocolError {
  return new ProtocolError('AJP: bytes that nobody asked for, during a request', 400);
}
