// SPDX-License-Identifier: Apache-2.0
// What an application sends: output, the end of a request, answers to management records. Content is
// never copied into longer buffers, and needs no padding.
import { encodePairs } from './pairs.ts';
import {
  CONTENT_BYTES_MAX,
  END_REQUEST_BYTES,
  HEADER_BYTES,
  MANAGEMENT_ID,
  type ProtocolStatus,
  protocolStatus,
  recordType,
  UNKNOWN_TYPE_BYTES,
  VERSION,
} from './records.ts';

/** The 8 bytes that go before `length` bytes of output. @param length 1 to 65535; 0 ends the output. */
export function stdoutHeader(id: number, length: number): Buffer {
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  writeHeader(header, 0, recordType.stdout, id, length);
  return header;
}

/** Any number of bytes, as headers and views, to be written one after the other. */
export function stdoutRecords(id: number, bytes: Buffer): Buffer[] {
  return streamRecords(recordType.stdout, id, bytes);
}

/** For the web server's error log. @param text A string goes as UTF-8. */
export function stderrRecords(id: number, text: string | Buffer): Buffer[] {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text;
  return streamRecords(recordType.stderr, id, bytes);
}

/** Ends the output, then the request. @param status The program's exit status, 0 to 4294967295. */
export function endRecords(
  id: number,
  status = 0,
  protocol: ProtocolStatus = protocolStatus.requestComplete,
): Buffer {
  const bytes = Buffer.allocUnsafe(2 * HEADER_BYTES + END_REQUEST_BYTES);
  writeHeader(bytes, 0, recordType.stdout, id, 0);
  writeEnd(bytes, HEADER_BYTES, id, status, protocol);
  return bytes;
}

/** A whole answer in one piece: output, its end, the end of the request. Copies, so for small ones. */
export function answerRecords(id: number, output: Buffer): Buffer {
  const records = stdoutRecords(id, output);
  records.push(endRecords(id));
  return Buffer.concat(records);
}

/** What answerInOne() adds to head and body. */
export const ANSWER_RECORDS_BYTES = 3 * HEADER_BYTES + END_REQUEST_BYTES;

/**
 * The same, its head as Latin-1 characters, its body as bytes or as a text that goes as UTF-8. Head and
 * body are 65535 bytes at most.
 * @param room Where to write it, when there is enough.
 */
export function answerInOne(
  id: number,
  head: string,
  body: Buffer | string | null,
  room?: Buffer | null,
): Buffer {
  const bodyBytes = body === null ? 0 : Buffer.byteLength(body);
  const length = head.length + bodyBytes;
  const total = length + ANSWER_RECORDS_BYTES;
  const bytes = room && total <= room.length ? room.subarray(0, total) : Buffer.allocUnsafe(total);
  const end = HEADER_BYTES + length;
  const bodyAt = HEADER_BYTES + head.length;
  writeHeader(bytes, 0, recordType.stdout, id, length);
  bytes.write(head, HEADER_BYTES, 'latin1');
  if (typeof body === 'string') {
    // As many bytes as characters: they are ASCII, and latin1 is the faster way to write that.
    bytes.write(body, bodyAt, bodyBytes === body.length ? 'latin1' : 'utf8');
  } else {
    body?.copy(bytes, bodyAt);
  }
  writeHeader(bytes, end, recordType.stdout, id, 0);
  writeEnd(bytes, end + HEADER_BYTES, id, 0, protocolStatus.requestComplete);
  return bytes;
}

/** What outputInto() adds to head and pieces at most. */
export const OUTPUT_RECORDS_BYTES = 4 * HEADER_BYTES + END_REQUEST_BYTES;

/**
 * Output, gathered from pieces; in a record of its own where it does not fit one together with the head.
 * @param head Latin-1 characters, 65535 at most.
 * @param pieceBytes Of all pieces, 65535 at most.
 * @param isLast The request ends as well.
 * @returns How many bytes of `room` it took.
 */
export function outputInto(
  room: Buffer,
  id: number,
  head: string,
  pieces: readonly Buffer[],
  pieceBytes: number,
  isLast: boolean,
): number {
  let at = 0;
  let left = head.length + pieceBytes;
  if (head !== '') {
    const length = left <= CONTENT_BYTES_MAX ? left : head.length;
    writeHeader(room, 0, recordType.stdout, id, length);
    at = HEADER_BYTES + room.write(head, HEADER_BYTES, 'latin1');
    left -= length;
  }
  if (left > 0) {
    writeHeader(room, at, recordType.stdout, id, left);
    at += HEADER_BYTES;
  }
  for (const piece of pieces) {
    room.set(piece, at);
    at += piece.length;
  }
  if (!isLast) return at;
  writeHeader(room, at, recordType.stdout, id, 0);
  writeEnd(room, at + HEADER_BYTES, id, 0, protocolStatus.requestComplete);
  return at + 2 * HEADER_BYTES + END_REQUEST_BYTES;
}

/** Ends a request that gave no output: overloaded, another role, a second one on a connection. */
export function endWithoutOutput(id: number, protocol: ProtocolStatus): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + END_REQUEST_BYTES);
  writeEnd(bytes, 0, id, 0, protocol);
  return bytes;
}

export function getValuesResult(values: Iterable<readonly [name: string, value: string]>): Buffer {
  const content = encodePairs(values);
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  writeHeader(header, 0, recordType.getValuesResult, MANAGEMENT_ID, content.length);
  return Buffer.concat([header, content]);
}

/** The answer to a management record of a type that nobody knows. */
export function unknownType(type: number): Buffer {
  const bytes = Buffer.alloc(HEADER_BYTES + UNKNOWN_TYPE_BYTES);
  writeHeader(bytes, 0, recordType.unknownType, MANAGEMENT_ID, UNKNOWN_TYPE_BYTES);
  bytes.writeUInt8(type, HEADER_BYTES);
  return bytes;
}

function streamRecords(type: number, id: number, bytes: Buffer): Buffer[] {
  const records: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += CONTENT_BYTES_MAX) {
    const content =
      bytes.length <= CONTENT_BYTES_MAX ? bytes : bytes.subarray(at, at + CONTENT_BYTES_MAX);
    const header = Buffer.allocUnsafe(HEADER_BYTES);
    writeHeader(header, 0, type, id, content.length);
    records.push(header, content);
  }
  return records;
}

function writeEnd(
  bytes: Buffer,
  at: number,
  id: number,
  status: number,
  protocol: ProtocolStatus,
): void {
  writeHeader(bytes, at, recordType.endRequest, id, END_REQUEST_BYTES);
  bytes.writeUInt32BE(status, at + HEADER_BYTES);
  bytes.writeUInt32BE((protocol << 24) >>> 0, at + HEADER_BYTES + 4);
}

function writeHeader(bytes: Buffer, at: number, type: number, id: number, length: number): void {
  bytes[at] = VERSION;
  bytes[at + 1] = type;
  bytes[at + 2] = id >>> 8;
  bytes[at + 3] = id;
  bytes[at + 4] = length >>> 8;
  bytes[at + 5] = length;
  bytes[at + 6] = 0;
  bytes[at + 7] = 0;
}
