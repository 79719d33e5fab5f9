// SPDX-License-Identifier: Apache-2.0
// Cuts a stream into packets. Data packets (parts of bodies) are handed on as views of what came in, as
// it comes; messages when they are whole: in place, or, when they came in pieces, from a copy.
import type { ProtocolError } from '../protocol-error.ts';
import { HEAD_BYTES } from './codes.ts';
import { PACKET_BYTES, PACKET_BYTES_MAX } from './types.ts';

/** magic: wrong first bytes; size: longer than is configured; data: lengths or NUL of a data packet. */
export type FaultKind = 'magic' | 'size' | 'data';

/** What a decoder does with packets. Called in the order of the stream; may throw ProtocolError. */
export interface PacketSink {
  /** The error for a packet that breaks the rules of all packets. */
  fault(message: string, kind: FaultKind): ProtocolError;
  /** A packet begins, or goes on: throws when nothing may come now. */
  checkExpected(): void;
  /** The packet's payload begins with this byte. How many bytes of it go before the data of a data
   * packet, the last two being the data's length; 0 = it is a message. */
  dataHeadBytes(first: number): number;
  /** Data of `length` bytes and then `tail` bytes more; throws when it may have no such tail. */
  onDataBegin(length: number, tail: number): void;
  /** A view of some of the data, never empty. */
  onData(bytes: Buffer): void;
  /** `isLast`, here and below: nothing has come after the packet so far. */
  onDataEnd(isLast: boolean): void;
  /** Bytes [at, end) of the buffer are the message. */
  onMessage(bytes: Buffer, at: number, end: number, isLast: boolean): void;
}

/** Throws a RangeError for a packet size that the protocol does not have. */
export function checkPacketBytes(packetBytes: number): number {
  if (
    !Number.isInteger(packetBytes) ||
    packetBytes < PACKET_BYTES ||
    packetBytes > PACKET_BYTES_MAX
  ) {
    throw new RangeError(
      `AJP packet size ${packetBytes}: ${PACKET_BYTES} to ${PACKET_BYTES_MAX} bytes are allowed`,
    );
  }
  return packetBytes;
}

export class PacketReader {
  readonly #sink: PacketSink;
  readonly #magic: number;
  readonly #packetBytes: number;
  /** The beginning of a packet that came in pieces. */
  #held: Buffer | null = null;
  #heldBytes = 0;
  /** Of the data packet that is under way. */
  #dataLeft = 0;
  #tailLeft = 0;
  #failure: { error: unknown } | null = null;

  constructor(sink: PacketSink, magic: number, packetBytes: number) {
    this.#sink = sink;
    this.#magic = magic;
    this.#packetBytes = checkPacketBytes(packetBytes);
  }

  /** Nothing of a packet has come whose rest has not. */
  get isBetween(): boolean {
    return this.#heldBytes === 0 && this.#dataLeft === 0 && this.#tailLeft === 0;
  }

  get hasFailed(): boolean {
    return this.#failure !== null;
  }

  /** Any piece of the stream. After an error, also one of the sink's owner, it throws the same again:
   * where the next packet begins is not known then. */
  push(chunk: Buffer): void {
    if (this.#failure) throw this.#failure.error;
    try {
      let at = 0;
      while (at < chunk.length) at = this.#step(chunk, at);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** Takes at least one byte of chunk and returns where the next one is. */
  #step(chunk: Buffer, at: number): number {
    if (this.#dataLeft > 0) return this.#data(chunk, at);
    if (this.#tailLeft > 0) return this.#tail(chunk, at);
    this.#sink.checkExpected();
    if (this.#heldBytes > 0) return this.#hold(chunk, at);
    const taken = this.#packet(chunk, at, chunk.length - at, false);
    return taken > 0 ? at + taken : this.#hold(chunk, at);
  }

  #data(chunk: Buffer, at: number): number {
    const end = Math.min(chunk.length, at + this.#dataLeft);
    this.#dataLeft -= end - at;
    this.#sink.onData(at === 0 && end === chunk.length ? chunk : chunk.subarray(at, end));
    if (this.#dataLeft === 0 && this.#tailLeft === 0) this.#sink.onDataEnd(end === chunk.length);
    return end;
  }

  #tail(chunk: Buffer, at: number): number {
    if (chunk[at] !== 0) throw this.#sink.fault('a body chunk is not ended by NUL', 'data');
    this.#tailLeft--;
    if (this.#tailLeft === 0) this.#sink.onDataEnd(at + 1 === chunk.length);
    return at + 1;
  }

  /** Copies as much as is needed to know more of the packet, and looks again. */
  #hold(chunk: Buffer, at: number): number {
    this.#held ??= Buffer.allocUnsafe(this.#packetBytes);
    let next = at;
    while (next < chunk.length) {
      const count = Math.min(this.#needed(this.#heldBytes) - this.#heldBytes, chunk.length - next);
      chunk.copy(this.#held, this.#heldBytes, next, next + count);
      this.#heldBytes += count;
      next += count;
      const held = this.#heldBytes;
      if (held < this.#needed(held)) continue;
      this.#heldBytes = 0;
      this.#packet(this.#held, 0, held, next < chunk.length);
      return next;
    }
    return next;
  }

  /** How many bytes of the held packet must be there before #packet can take it, as far as is known. */
  #needed(held: number): number {
    const bytes = this.#held as Buffer;
    if (held < HEAD_BYTES) return HEAD_BYTES;
    const payload = this.#payloadBytes(bytes, 0);
    if (payload === 0) return HEAD_BYTES;
    if (held === HEAD_BYTES) return HEAD_BYTES + 1;
    const head = this.#sink.dataHeadBytes(bytes[HEAD_BYTES] as number);
    return HEAD_BYTES + (head === 0 ? payload : Math.min(head, payload));
  }

  /** Takes the packet whose first `available` bytes stand at `at`, of a data packet the head. `hasMore`:
   * others have come that are not in `bytes`. Returns how many it took, 0 when more are needed. */
  #packet(bytes: Buffer, at: number, available: number, hasMore: boolean): number {
    if (available < HEAD_BYTES) return 0;
    const payload = this.#payloadBytes(bytes, at);
    const start = at + HEAD_BYTES;
    if (payload > 0) {
      if (available === HEAD_BYTES) return 0;
      const head = this.#sink.dataHeadBytes(bytes[start] as number);
      if (head > payload) {
        throw this.#sink.fault(`a data packet of ${payload} bytes without a length`, 'data');
      }
      if (head > 0) {
        if (available < HEAD_BYTES + head) return 0;
        const isLast = !hasMore && available === HEAD_BYTES + head;
        this.#beginData(bytes.readUInt16BE(start + head - 2), payload - head, isLast);
        return HEAD_BYTES + head;
      }
      if (available < HEAD_BYTES + payload) return 0;
    }
    const isLast = !hasMore && available === HEAD_BYTES + payload;
    this.#sink.onMessage(bytes, start, start + payload, isLast);
    return HEAD_BYTES + payload;
  }

  #beginData(length: number, room: number, isLast: boolean): void {
    if (length > room) {
      const message = `a body chunk of ${length} bytes in a packet with room for ${room}`;
      throw this.#sink.fault(message, 'data');
    }
    this.#sink.onDataBegin(length, room - length);
    this.#dataLeft = length;
    this.#tailLeft = room - length;
    if (room === 0) this.#sink.onDataEnd(isLast);
  }

  #payloadBytes(bytes: Buffer, at: number): number {
    const magic = bytes.readUInt16BE(at);
    if (magic !== this.#magic) {
      const [got, wanted] = [magic, this.#magic].map((value) =>
        value.toString(16).padStart(4, '0'),
      );
      throw this.#sink.fault(`a packet begins with ${got} in place of ${wanted}`, 'magic');
    }
    const payload = bytes.readUInt16BE(at + 2);
    if (payload + HEAD_BYTES > this.#packetBytes) {
      const message = `a packet of ${payload + HEAD_BYTES} bytes, at most ${this.#packetBytes} are configured here`;
      throw this.#sink.fault(
        `${message} (the packet size, packetSize of Tomcat, must be the same at both ends)`,
        'size',
      );
    }
    return payload;
  }
}
