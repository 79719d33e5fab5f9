// SPDX-License-Identifier: Apache-2.0
// A link over a MessagePort: messages as packets of plain values, those of one turn of the event loop in one
// list, what is urgent at once. Texts are the cheapest to hand over: heads are one, and small bodies as well.
import type { MessagePort, TransferListItem } from 'node:worker_threads';
import type { Message } from './frames.ts';
import { answerText, readAnswer, readRequest, requestText } from './head-texts.ts';
import { isUrgent, type Link, type MasterLink, type WorkerLink } from './messages.ts';
import { TextReader } from './texts.ts';

/** What waits for the end of the turn, at most. */
const BATCH_BYTES_MAX = 128 << 10;
/** Bodies up to this go as texts: as bytes they would cost a buffer more, which is handed over. */
const TEXT_BYTES_MAX = 16 << 10;

type Bytes = string | Uint8Array<ArrayBuffer>;

/** Of messages that are not plain values by themselves. */
type Packet =
  | Exclude<Message, { type: 'request' | 'answer' | 'body' | 'end' }>
  | { type: 'request'; id: number; head: string }
  | { type: 'answer'; id: number; head: string; last: Bytes | null }
  | { type: 'body'; id: number; bytes: Bytes }
  | { type: 'end'; id: number; last: Bytes | null };

/**
 * A copy that is nobody else's, and can be handed over. Cloning would copy as well, and more: all of the
 * buffer that the bytes are a part of, be it Buffer's pool; and handing over that one would take it from
 * whoever has another part.
 */
function packBytes(bytes: Buffer, handedOver: TransferListItem[]): Bytes {
  if (bytes.length <= TEXT_BYTES_MAX) return bytes.toString('latin1');
  const own = new Uint8Array(bytes);
  handedOver.push(own.buffer);
  return own;
}

function unpackBytes(bytes: Bytes): Buffer {
  if (typeof bytes === 'string') return Buffer.from(bytes, 'latin1');
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function packLast(last: Buffer | null, handedOver: TransferListItem[]): Bytes | null {
  return last === null ? null : packBytes(last, handedOver);
}

function unpackLast(last: Bytes | null): Buffer | null {
  return last === null ? null : unpackBytes(last);
}

function pack(message: Message, handedOver: TransferListItem[]): Packet {
  switch (message.type) {
    case 'request':
      return { type: 'request', id: message.id, head: requestText(message.head) };
    case 'answer': {
      const { id, last } = message;
      return { type: 'answer', id, head: answerText(message), last: packLast(last, handedOver) };
    }
    case 'body':
      return { type: 'body', id: message.id, bytes: packBytes(message.bytes, handedOver) };
    case 'end': {
      const { id, last } = message;
      return { type: 'end', id, last: packLast(last, handedOver) };
    }
    default:
      return message;
  }
}

function unpack(packet: Packet): Message {
  switch (packet.type) {
    case 'request':
      return { type: 'request', id: packet.id, head: readRequest(new TextReader(packet.head)) };
    case 'answer': {
      const { id, head, last } = packet;
      const { status, reason, fields } = readAnswer(new TextReader(head));
      return { type: 'answer', id, status, reason, fields, last: unpackLast(last) };
    }
    case 'body':
      return { type: 'body', id: packet.id, bytes: unpackBytes(packet.bytes) };
    case 'end': {
      const { id, last } = packet;
      return { type: 'end', id, last: unpackLast(last) };
    }
    default:
      return packet;
  }
}

class PortLink implements Link<Message, Message> {
  onMessage: (message: Message) => void = () => undefined;
  onClose: (error: Error | null) => void = () => undefined;
  readonly #port: MessagePort;
  #batch: Packet[] = [];
  #handedOver: TransferListItem[] = [];
  #batchBytes = 0;
  #isOpen = true;
  #isEnding = false;
  readonly #flush = () => this.#post();

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (packets: Packet | Packet[]) => {
      if (!Array.isArray(packets)) this.#receive(packets);
      else for (const packet of packets) this.#receive(packet);
    });
    port.on('close', () => this.#closed());
  }

  send(message: Message): void {
    if (!this.#isOpen || this.#isEnding) return;
    const wasEmpty = this.#batch.length === 0;
    this.#batch.push(pack(message, this.#handedOver));
    if (message.type === 'body') this.#batchBytes += message.bytes.length;
    if (isUrgent(message) || this.#batchBytes > BATCH_BYTES_MAX) this.#post();
    else if (wasEmpty) process.nextTick(this.#flush);
  }

  close(): void {
    if (this.#isEnding) return;
    this.#post();
    this.#isEnding = true;
    this.#port.close();
  }

  #post(): void {
    if (this.#batch.length === 0) return;
    const batch = this.#batch;
    const handedOver = this.#handedOver;
    this.#batch = [];
    this.#batchBytes = 0;
    const packets = batch.length === 1 ? batch[0] : batch;
    if (handedOver.length === 0) {
      this.#port.postMessage(packets);
      return;
    }
    this.#handedOver = [];
    this.#port.postMessage(packets, handedOver);
  }

  #receive(packet: Packet): void {
    if (this.#isOpen) this.onMessage(unpack(packet));
  }

  #closed(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#isEnding = true;
    this.#batch = [];
    this.onClose(null);
  }
}

export function threadMasterLink(port: MessagePort): MasterLink {
  return new PortLink(port) as unknown as MasterLink;
}

export function threadWorkerLink(port: MessagePort): WorkerLink {
  return new PortLink(port) as unknown as WorkerLink;
}
