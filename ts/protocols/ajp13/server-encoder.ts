// SPDX-License-Identifier: Apache-2.0
// What a container's side sends. Each answer is one head, chunks, one END; a container that answers in
// few writes is quick behind web servers that leave Nagle's algorithm on.
import { ProtocolError } from '../protocol-error.ts';
import {
  HEAD_BYTES,
  headerCodes,
  MAGIC_SERVER,
  RESPONSE_HEADERS,
  SEND_BODY_CHUNK,
  SEND_HEADERS,
} from './codes.ts';
import { checkPacketBytes } from './packets.ts';
import { LINE, TOKEN } from './text.ts';
import { type Field, PACKET_BYTES } from './types.ts';
import { MessageWriter } from './writer.ts';

export const CPONG = Buffer.from('4142000109', 'hex');
/** An empty chunk: what was sent so far shall go out. */
export const FLUSH = Buffer.from('4142000403000000', 'hex');

const END_REUSE = Buffer.from('414200020501', 'hex');
const END_CLOSE = Buffer.from('414200020500', 'hex');

/** Head, type and length before the data of a chunk, and the NUL behind it. */
const CHUNK_HEAD_BYTES = 7;
const CHUNK_BYTES = CHUNK_HEAD_BYTES + 1;

const codes = headerCodes(RESPONSE_HEADERS);
const status500 = { tooLong: 500, forbidden: 500 };

export interface Answer {
  status: number;
  /** '' = the status in digits, as there must be one. */
  reason: string;
  fields: readonly Field[];
}

/** What can go in one chunk. */
export function chunkBytesMax(packetBytes: number): number {
  return packetBytes - CHUNK_BYTES;
}

/**
 * SEND_HEADERS: once for each request, also without fields. Throws ProtocolError with status 500 when it
 * does not fit a packet or holds bytes that may not be sent.
 */
export function encodeHead(answer: Answer, packetBytes: number = PACKET_BYTES): Buffer {
  const { status, reason, fields } = answer;
  if (!(Number.isInteger(status) && status >= 200 && status <= 999)) {
    throw new ProtocolError(`AJP: status ${status}, 200 to 999 are allowed`, 500);
  }
  let most = 16 + reason.length;
  for (const [name, value] of fields) most += name.length + value.length + 6;
  const size = checkPacketBytes(packetBytes);
  const writer = new MessageWriter('the head of an answer', most, size, status500);
  writer.byte(SEND_HEADERS);
  writer.uint16(status);
  writer.string(reason === '' ? String(status) : reason, LINE, 'reason');
  writer.checkedUint16(fields.length, 'number of headers');
  for (const [name, value] of fields) {
    writer.name(name, codes, TOKEN);
    writer.string(value, LINE, name);
  }
  return writer.finish(MAGIC_SERVER);
}

/** Chunks for bytes of any length, to be written one after the other; none for no bytes. */
export function encodeChunk(bytes: Buffer, packetBytes: number = PACKET_BYTES): Buffer[] {
  const most = chunkBytesMax(checkPacketBytes(packetBytes));
  const pieces: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += most) {
    const count = Math.min(most, bytes.length - at);
    // The NUL of one chunk and the head of the next are one piece.
    const isFirst = at === 0;
    const between = Buffer.alloc(isFirst ? CHUNK_HEAD_BYTES : CHUNK_BYTES);
    writeChunkHead(between, isFirst ? 0 : 1, count);
    pieces.push(between, bytes.subarray(at, at + count));
  }
  if (pieces.length > 0) pieces.push(nul);
  return pieces;
}

const nul = Buffer.alloc(1);

function writeChunkHead(bytes: Buffer, at: number, count: number): void {
  bytes.writeUInt16BE(MAGIC_SERVER, at);
  bytes.writeUInt16BE(count + CHUNK_BYTES - HEAD_BYTES, at + 2);
  bytes[at + HEAD_BYTES] = SEND_BODY_CHUNK;
  bytes.writeUInt16BE(count, at + HEAD_BYTES + 1);
}

/** `wanted`: at most packetBytes - 6. */
export function encodeGetBody(wanted: number): Buffer {
  if (!(Number.isInteger(wanted) && wanted >= 1 && wanted <= 0xfffa)) {
    throw new RangeError(`AJP: ${wanted} bytes wanted, 1 to ${0xfffa} are allowed`);
  }
  const bytes = Buffer.from('41420003060000', 'hex');
  bytes.writeUInt16BE(wanted, 5);
  return bytes;
}

/** false says that the connection ends, and whoever says it closes it: not all clients do. */
export function encodeEnd(reuse: boolean): Buffer {
  return reuse ? END_REUSE : END_CLOSE;
}

/** A whole answer as one piece for one write; meant for small ones. */
export function encodeAnswer(
  answer: Answer,
  body: Buffer,
  reuse: boolean,
  packetBytes: number = PACKET_BYTES,
): Buffer {
  const head = encodeHead(answer, packetBytes);
  return Buffer.concat([head, ...encodeChunk(body, packetBytes), encodeEnd(reuse)]);
}

/** What answers a request that was turned down, before its head went out; the connection is closed then. */
export function encodeRefusal(status: number): Buffer {
  return encodeAnswer({ status, reason: '', fields: [['Content-Length', '0']] }, nothing, false);
}

const nothing = Buffer.alloc(0);
