// SPDX-License-Identifier: Apache-2.0
// What a container sends, as the web server's side reads it. One request at a time: begin(), then
// onHead, onBody…, onEnd; between requests ping() and onPong.
import { ProtocolError } from '../protocol-error.ts';
import {
  CPONG_REPLY,
  END_RESPONSE,
  GET_BODY_CHUNK,
  MAGIC_SERVER,
  RESPONSE_HEADERS,
  SEND_BODY_CHUNK,
  SEND_HEADERS,
} from './codes.ts';
import { Cursor } from './cursor.ts';
import { PacketReader, type PacketSink } from './packets.ts';
import { LINE } from './text.ts';
import { type AjpClientEvents, type Field, PACKET_BYTES } from './types.ts';

const names = new Map([
  [SEND_BODY_CHUNK, 'SEND_BODY_CHUNK'],
  [SEND_HEADERS, 'SEND_HEADERS'],
  [END_RESPONSE, 'END_RESPONSE'],
  [GET_BODY_CHUNK, 'GET_BODY_CHUNK'],
  [CPONG_REPLY, 'CPONG'],
]);

const nothing = Buffer.alloc(0);

/** A code of two bytes and a null. */
const FIELD_BYTES_MIN = 4;

/**
 * idle: only begin() or ping() may come; ping: CPONG is due; head: SEND_HEADERS is due; body: it has
 * come; closed: END said that the connection ends.
 */
type State = 'idle' | 'ping' | 'head' | 'body' | 'closed';

export class AjpClientDecoder implements PacketSink {
  readonly #events: AjpClientEvents;
  readonly #packets: PacketReader;
  readonly #cursor = new Cursor(0);
  #state: State = 'idle';
  #chunkBytes = 0;

  /** `packetBytes`: of the longest packet, as configured at the container as well. */
  constructor(events: AjpClientEvents, packetBytes: number = PACKET_BYTES) {
    this.#events = events;
    this.#packets = new PacketReader(this, MAGIC_SERVER, packetBytes);
  }

  /** A request may begin, or a ping: the last answer was read to its end and nothing came after it. */
  get isIdle(): boolean {
    return this.#state === 'idle' && this.#packets.isBetween && !this.#packets.hasFailed;
  }

  /** Before FORWARD_REQUEST is written. */
  begin(): void {
    this.#leaveIdle('a request', 'head');
  }

  /** Before CPING is written: one CPONG may come. */
  ping(): void {
    this.#leaveIdle('a CPING', 'ping');
  }

  /** Any piece of the stream. Throws ProtocolError for what may not come here, and the same error for
   * ever after one. */
  push(chunk: Buffer): void {
    this.#packets.push(chunk);
  }

  #leaveIdle(what: string, state: State): void {
    if (!this.isIdle) {
      const now = this.#packets.hasFailed ? 'failed' : this.#state;
      throw new Error(`AJP: ${what} cannot begin on a connection in state "${now}"`);
    }
    this.#state = state;
  }

  /** @internal */
  fault(message: string): ProtocolError {
    return new ProtocolError(`AJP: ${message}`);
  }

  /** @internal */
  checkExpected(): void {
    if (this.#state === 'idle' || this.#state === 'closed') {
      throw this.fault('bytes came although no answer is due');
    }
  }

  /** @internal */
  dataHeadBytes(first: number): number {
    return first === SEND_BODY_CHUNK ? 3 : 0;
  }

  /** @internal */
  onDataBegin(length: number, tail: number): void {
    if (this.#state === 'ping') throw this.#unexpected('SEND_BODY_CHUNK');
    if (this.#state === 'head' && length > 0) {
      throw this.fault(`SEND_BODY_CHUNK of ${length} bytes before SEND_HEADERS`);
    }
    // The protocol's description knows no NUL after the data, but all implementations send it.
    if (tail > 1) throw this.fault(`${tail} bytes after the data of SEND_BODY_CHUNK`);
    this.#chunkBytes = length;
  }

  /** @internal */
  onData(bytes: Buffer): void {
    this.#events.onBody(bytes);
  }

  /** @internal */
  onDataEnd(): void {
    if (this.#chunkBytes === 0 && this.#state === 'body') this.#events.onBody(nothing);
  }

  /** @internal */
  onMessage(bytes: Buffer, at: number, end: number, isLast: boolean): void {
    const cursor = this.#cursor;
    cursor.begin(bytes, at, end);
    const type = cursor.byte('packet type');
    if ((type === CPONG_REPLY) !== (this.#state === 'ping')) {
      throw this.#unexpected(names.get(type) ?? `packet type ${type}`);
    }
    if (type === SEND_HEADERS) this.#head(cursor);
    else if (type === GET_BODY_CHUNK) this.#getBody(cursor);
    else if (type === END_RESPONSE) this.#end(cursor, isLast);
    else if (type === CPONG_REPLY) this.#pong(cursor, isLast);
    else throw this.fault(`packet type ${type} from a container, known are 3, 4, 5, 6 and 9`);
  }

  #head(cursor: Cursor): void {
    if (this.#state !== 'head') throw this.fault('a second SEND_HEADERS');
    const status = cursor.uint16('status');
    if (status < 200 || status > 999) {
      throw this.fault(`SEND_HEADERS with status ${status}, 200 to 999 are allowed`);
    }
    const reason = cursor.string('reason', LINE) ?? '';
    const count = cursor.uint16('number of headers');
    cursor.fits(count, FIELD_BYTES_MIN, 'headers');
    const fields: Field[] = [];
    for (let i = 0; i < count; i++) {
      const name = cursor.name('header name', RESPONSE_HEADERS);
      fields.push([name, cursor.string(name, LINE) ?? '']);
    }
    cursor.finish('the last header of SEND_HEADERS');
    this.#state = 'body';
    this.#events.onHead(status, reason, fields);
  }

  #getBody(cursor: Cursor): void {
    const wanted = cursor.uint16('wanted bytes');
    cursor.finish('GET_BODY_CHUNK');
    // What could be answered, an empty packet, would end the body.
    if (wanted === 0) throw this.fault('GET_BODY_CHUNK for 0 bytes');
    this.#events.onGetBody(wanted);
  }

  #end(cursor: Cursor, isLast: boolean): void {
    if (this.#state !== 'body') throw this.fault('END_RESPONSE without SEND_HEADERS');
    const reuse = cursor.byte('reuse') === 1;
    cursor.finish('END_RESPONSE');
    // Who begins a request inside onEnd must not get what follows here as its answer.
    this.#state = reuse && isLast ? 'idle' : 'closed';
    this.#events.onEnd(this.#state === 'idle');
  }

  #pong(cursor: Cursor, isLast: boolean): void {
    cursor.finish('CPONG');
    if (!isLast) throw this.fault('bytes came after CPONG');
    this.#state = 'idle';
    this.#events.onPong();
  }

  #unexpected(what: string): ProtocolError {
    return this.fault(
      this.#state === 'ping' ? `${what} in place of CPONG` : `${what} although no CPING was sent`,
    );
  }
}
