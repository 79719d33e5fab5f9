// SPDX-License-Identifier: Apache-2.0
// Messages of a link as bytes: one of type, four of id, four of the length of what follows, all big-endian.
// Bodies follow raw; a head is JSON; a text is UTF-8; a number has four bytes.
import { ProtocolError } from '../../protocols/protocol-error.ts';
import type { MasterMessage, WorkerMessage } from './messages.ts';
import { type PlainHead, plainHead, restoredHead } from './plain-metadata.ts';

export type Message = MasterMessage | WorkerMessage;
export type MessageType = Message['type'];

const HEADER_BYTES = 9;
/** Bodies are at most a window; a head has met the limits of its connection. */
export const PAYLOAD_BYTES_MAX = 16 << 20;
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

function textFrame(type: MessageType, id: number, text: string): Buffer {
  const length = Buffer.byteLength(text);
  if (length > PAYLOAD_BYTES_MAX) {
    throw new ProtocolError(
      `a message "${type}" of ${length} bytes; allowed are ${PAYLOAD_BYTES_MAX}`,
    );
  }
  const bytes = frame(type, id, length, length);
  bytes.write(text, HEADER_BYTES, length);
  return bytes;
}

function numberFrame(type: MessageType, id: number, value: number): Buffer {
  const bytes = frame(type, id, 4, 4);
  bytes.writeUInt32BE(Math.min(NUMBER_MAX, Math.max(0, Math.round(value))), HEADER_BYTES);
  return bytes;
}

/**
 * One buffer, or a header and the bytes that were given, not copied.
 * @throws ProtocolError for what is longer than PAYLOAD_BYTES_MAX
 */
export function encode(message: Message): Buffer[] {
  switch (message.type) {
    case 'request':
      return [textFrame('request', message.id, JSON.stringify(plainHead(message.head)))];
    case 'head': {
      const { id, status, reason, fields } = message;
      return [textFrame('head', id, JSON.stringify([status, reason, fields]))];
    }
    case 'body':
      return [frame('body', message.id, message.bytes.length, 0), message.bytes];
    case 'end': {
      const { id, last } = message;
      return last === null ? [frame('end', id, 0, 0)] : [frame('end', id, last.length, 0), last];
    }
    case 'abort':
      return [textFrame('abort', message.id, message.reason)];
    case 'report':
      return [textFrame('report', message.id, message.line)];
    case 'grant':
      return [numberFrame('grant', message.id, message.bytes)];
    case 'stop':
      return [numberFrame('stop', 0, message.stopMs)];
    case 'failed':
    case 'retire':
      return [textFrame(message.type, 0, message.reason)];
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

function readNumber(type: MessageType, payload: Buffer): number {
  if (payload.length !== 4) {
    throw new ProtocolError(`a message "${type}" of ${payload.length} bytes; allowed are 4`);
  }
  return payload.readUInt32BE(0);
}

function readJson(type: MessageType, payload: Buffer): unknown {
  try {
    return JSON.parse(payload.toString());
  } catch (error) {
    throw new ProtocolError(`a message "${type}" that is not JSON: ${(error as Error).message}`);
  }
}

function decode(type: MessageType, id: number, payload: Buffer): Message {
  switch (type) {
    case 'request':
      return { type, id, head: restoredHead(readJson(type, payload) as PlainHead) };
    case 'head': {
      const [status, reason, fields] = readJson(type, payload) as [number, string, string[]];
      return { type, id, status, reason, fields };
    }
    case 'body':
      return { type, id, bytes: payload };
    case 'end':
      return { type, id, last: payload.length === 0 ? null : payload };
    case 'abort':
      return { type, id, reason: payload.toString() };
    case 'report':
      return { type, id, line: payload.toString() };
    case 'grant':
      return { type, id, bytes: readNumber(type, payload) };
    case 'stop':
      return { type, stopMs: readNumber(type, payload) };
    case 'failed':
    case 'retire':
      return { type, reason: payload.toString() };
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
  #chunks: Buffer[] = [];
  #available = 0;
  /** Of the frame under way; null = its header has not come. */
  #type: MessageType | null = null;
  #id = 0;
  #needed = HEADER_BYTES;

  constructor(allowed: ReadonlySet<MessageType>, onMessage: (message: Message) => void) {
    this.#allowed = allowed;
    this.#onMessage = onMessage;
  }

  /** @throws ProtocolError when it is not understood; nothing may be pushed after that */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#available += chunk.length;
    while (this.#available >= this.#needed) {
      const bytes = this.#take(this.#needed);
      if (this.#type === null) {
        this.#readHeader(bytes);
        continue;
      }
      const message = decode(this.#type, this.#id, bytes);
      this.#type = null;
      this.#needed = HEADER_BYTES;
      this.#onMessage(message);
    }
  }

  /** Bytes of a message have come, but not all. */
  get isInside(): boolean {
    return this.#type !== null || this.#available > 0;
  }

  #readHeader(header: Buffer): void {
    const code = header.readUInt8(0);
    const type = types.get(code);
    const length = header.readUInt32BE(5);
    if (type === undefined || !this.#allowed.has(type)) {
      throw new ProtocolError(`a message of type ${code}; allowed are ${this.#allowedCodes()}`);
    }
    if (length > PAYLOAD_BYTES_MAX) {
      throw new ProtocolError(
        `a message "${type}" of ${length} bytes; allowed are ${PAYLOAD_BYTES_MAX}`,
      );
    }
    this.#type = type;
    this.#id = header.readUInt32BE(1);
    this.#needed = length;
  }

  #take(count: number): Buffer {
    if (count === 0) return none;
    this.#available -= count;
    const first = this.#chunks[0] as Buffer;
    if (first.length > count) {
      this.#chunks[0] = first.subarray(count);
      return first.subarray(0, count);
    }
    if (first.length === count) {
      this.#chunks.shift();
      return first;
    }
    const all = Buffer.concat(this.#chunks);
    this.#chunks = all.length > count ? [all.subarray(count)] : [];
    return all.subarray(0, count);
  }

  #allowedCodes(): string {
    return [...this.#allowed].map((type) => codes[type]).join(', ');
  }
}
