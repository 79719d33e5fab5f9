// SPDX-License-Identifier: Apache-2.0
// Messages of a link as bytes: one of type, four of id, four of the length of what follows, all big-endian.
// Bodies follow raw; heads are lists of texts (head-texts.ts); other texts are UTF-8; a number has four bytes.
import { ProtocolError } from '../../protocols/protocol-error.ts';
import { answerText, readAnswer, readRequest, requestText } from './head-texts.ts';
import type { MasterMessage, WorkerMessage } from './messages.ts';
import { TextReader } from './texts.ts';

export type Message = MasterMessage | WorkerMessage;
export type MessageType = Message['type'];

const HEADER_BYTES = 9;
/** Bodies are at most a window; a head has met the limits of its connection. */
export const PAYLOAD_BYTES_MAX = 16 << 20;
/** Bodies of answers up to this are copied to their heads. */
const COPIED_BYTES_MAX = 16 << 10;
const NUMBER_MAX = 0xffff_ffff;
const none = Buffer.alloc(0);

const codes: Record<MessageType, number> = {
  request: 1,
  body: 2,
  'body-end': 3,
  abort: 4,
  grant: 5,
  ping: 6,
  stop: 7,
  ready: 16,
  failed: 17,
  head: 18,
  flush: 19,
  end: 20,
  break: 21,
  over: 22,
  report: 23,
  pong: 24,
  retire: 25,
  answer: 26,
};

const types = new Map<number, MessageType>();
for (const [type, code] of Object.entries(codes)) types.set(code, type as MessageType);

/** What each side may get. */
export const fromMaster: ReadonlySet<MessageType> = new Set<MasterMessage['type']>([
  'request',
  'body',
  'body-end',
  'abort',
  'grant',
  'ping',
  'stop',
]);
export const fromWorker: ReadonlySet<MessageType> = new Set<WorkerMessage['type']>([
  'ready',
  'failed',
  'head',
  'answer',
  'body',
  'flush',
  'end',
  'break',
  'over',
  'grant',
  'report',
  'pong',
  'retire',
]);

// ---- out

function frame(type: MessageType, id: number, length: number, room: number): Buffer {
  const bytes = Buffer.allocUnsafe(HEADER_BYTES + room);
  bytes[0] = codes[type];
  bytes.writeUInt32BE(id, 1);
  bytes.writeUInt32BE(length, 5);
  return bytes;
}

function checkLength(type: MessageType, length: number): void {
  if (length <= PAYLOAD_BYTES_MAX) return;
  throw new ProtocolError(
    `a message "${type}" of ${length} bytes; allowed are ${PAYLOAD_BYTES_MAX}`,
  );
}

function textFrame(type: MessageType, id: number, text: string, encoding: BufferEncoding): Buffer {
  const length = encoding === 'latin1' ? text.length : Buffer.byteLength(text);
  checkLength(type, length);
  const bytes = frame(type, id, length, length);
  bytes.write(text, HEADER_BYTES, length, encoding);
  return bytes;
}

function numberFrame(type: MessageType, id: number, value: number): Buffer {
  const bytes = frame(type, id, 4, 4);
  bytes.writeUInt32BE(Math.min(NUMBER_MAX, Math.max(0, Math.round(value))), HEADER_BYTES);
  return bytes;
}

/** The length of the head, the head, the body: small ones in one piece. */
function answerFrames(id: number, head: string, last: Buffer | null): Buffer[] {
  const bodyAt = HEADER_BYTES + 4 + head.length;
  const bodyBytes = last?.length ?? 0;
  const length = 4 + head.length + bodyBytes;
  checkLength('answer', length);
  const isCopied = bodyBytes <= COPIED_BYTES_MAX;
  const bytes = frame('answer', id, length, isCopied ? length : length - bodyBytes);
  bytes.writeUInt32BE(head.length, HEADER_BYTES);
  bytes.write(head, HEADER_BYTES + 4, head.length, 'latin1');
  if (last === null) return [bytes];
  if (!isCopied) return [bytes, last];
  bytes.set(last, bodyAt);
  return [bytes];
}

/**
 * One buffer, or one and the bytes that were given, not copied.
 * @throws ProtocolError for what is longer than PAYLOAD_BYTES_MAX
 */
export function encode(message: Message): Buffer[] {
  switch (message.type) {
    case 'request':
      return [textFrame('request', message.id, requestText(message.head), 'latin1')];
    case 'head':
      return [textFrame('head', message.id, answerText(message), 'latin1')];
    case 'answer':
      return answerFrames(message.id, answerText(message), message.last);
    case 'body':
      return [frame('body', message.id, message.bytes.length, 0), message.bytes];
    case 'end': {
      const { id, last } = message;
      return last === null ? [frame('end', id, 0, 0)] : [frame('end', id, last.length, 0), last];
    }
    case 'abort':
      return [textFrame('abort', message.id, message.reason, 'utf8')];
    case 'report':
      return [textFrame('report', message.id, message.line, 'utf8')];
    case 'grant':
      return [numberFrame('grant', message.id, message.bytes)];
    case 'stop':
      return [numberFrame('stop', 0, message.stopMs)];
    case 'failed':
    case 'retire':
      return [textFrame(message.type, 0, message.reason, 'utf8')];
    case 'body-end':
    case 'flush':
    case 'break':
    case 'over':
      return [frame(message.type, message.id, 0, 0)];
    case 'ping':
    case 'pong':
    case 'ready':
      return [frame(message.type, 0, 0, 0)];
  }
}

// ---- in

/** The bytes of a message, within those of a chunk. */
interface Payload {
  chunk: Buffer;
  start: number;
  end: number;
}

function bytesOf({ chunk, start, end }: Payload): Buffer {
  return start === end ? none : chunk.subarray(start, end);
}

function textOf({ chunk, start, end }: Payload): string {
  return chunk.toString('utf8', start, end);
}

function readerOf({ chunk, start, end }: Payload): TextReader {
  return new TextReader(chunk.toString('latin1', start, end));
}

function readNumber(type: MessageType, { chunk, start, end }: Payload): number {
  if (end - start !== 4) {
    throw new ProtocolError(`a message "${type}" of ${end - start} bytes; allowed are 4`);
  }
  return chunk.readUInt32BE(start);
}

function readWholeAnswer(id: number, { chunk, start, end }: Payload): Message {
  const headBytes = end - start < 4 ? Number.NaN : chunk.readUInt32BE(start);
  const headAt = start + 4;
  const bodyAt = headAt + headBytes;
  if (!(bodyAt <= end)) throw new ProtocolError('a message "answer" that ends within its head');
  const { status, reason, fields } = readAnswer(readerOf({ chunk, start: headAt, end: bodyAt }));
  const last = bodyAt === end ? null : chunk.subarray(bodyAt, end);
  return { type: 'answer', id, status, reason, fields, last };
}

function decode(type: MessageType, id: number, payload: Payload): Message {
  switch (type) {
    case 'request':
      return { type, id, head: readRequest(readerOf(payload)) };
    case 'head': {
      const { status, reason, fields } = readAnswer(readerOf(payload));
      return { type, id, status, reason, fields };
    }
    case 'answer':
      return readWholeAnswer(id, payload);
    case 'body':
      return { type, id, bytes: bytesOf(payload) };
    case 'end':
      return { type, id, last: payload.start === payload.end ? null : bytesOf(payload) };
    case 'abort':
      return { type, id, reason: textOf(payload) };
    case 'report':
      return { type, id, line: textOf(payload) };
    case 'grant':
      return { type, id, bytes: readNumber(type, payload) };
    case 'stop':
      return { type, stopMs: readNumber(type, payload) };
    case 'failed':
    case 'retire':
      return { type, reason: textOf(payload) };
    case 'body-end':
    case 'flush':
    case 'break':
    case 'over':
      return { type, id };
    case 'ping':
    case 'pong':
    case 'ready':
      return { type };
  }
}

/** The stream, cut anywhere, back into messages. */
export class FrameDecoder {
  readonly #allowed: ReadonlySet<MessageType>;
  readonly #onMessage: (message: Message) => void;
  /** Of a frame that is not whole yet. */
  #parts: Buffer[] = [];
  #available = 0;
  #needed = HEADER_BYTES;

  constructor(allowed: ReadonlySet<MessageType>, onMessage: (message: Message) => void) {
    this.#allowed = allowed;
    this.#onMessage = onMessage;
  }

  /** @throws ProtocolError when it is not understood; nothing may be pushed after that */
  push(chunk: Buffer): void {
    if (this.#available === 0) {
      this.#read(chunk);
      return;
    }
    this.#parts.push(chunk);
    this.#available += chunk.length;
    if (this.#available >= this.#needed) this.#read(Buffer.concat(this.#parts, this.#available));
  }

  /** Bytes of a message have come, but not all. */
  get isInside(): boolean {
    return this.#available > 0;
  }

  #read(chunk: Buffer): void {
    let at = 0;
    this.#needed = HEADER_BYTES;
    while (chunk.length - at >= HEADER_BYTES) {
      const type = this.#typeOf(chunk.readUInt8(at));
      const length = chunk.readUInt32BE(at + 5);
      checkLength(type, length);
      const start = at + HEADER_BYTES;
      const end = start + length;
      if (end > chunk.length) {
        this.#needed = HEADER_BYTES + length;
        break;
      }
      this.#onMessage(decode(type, chunk.readUInt32BE(at + 1), { chunk, start, end }));
      at = end;
    }
    this.#available = chunk.length - at;
    this.#parts = this.#available === 0 ? [] : [chunk.subarray(at)];
  }

  #typeOf(code: number): MessageType {
    const type = types.get(code);
    if (type !== undefined && this.#allowed.has(type)) return type;
    const allowed = [...this.#allowed].map((name) => codes[name]).join(', ');
    throw new ProtocolError(`a message of type ${code}; allowed are ${allowed}`);
  }
}
