// SPDX-License-Identifier: Apache-2.0
// A link over a MessagePort: the same messages, those of one turn of the event loop in one list, an
// answer's end at once.
import type { MessagePort, TransferListItem } from 'node:worker_threads';
import type { Message } from './frames.ts';
import type { Link, MasterLink, WorkerLink } from './messages.ts';
import { type PlainHead, plainHead, restoredHead } from './plain-metadata.ts';

/** What waits for the end of the turn, at most. */
const BATCH_BYTES_MAX = 128 << 10;

/** What a message becomes under way: bytes of its own, metadata as data. */
type Plain = Record<string, unknown> & { type: Message['type'] };

/**
 * A copy that is nobody else's, and can be handed over. Cloning would copy as well, and more: all of the
 * buffer that the bytes are a part of, be it Buffer's pool; and handing over that one would take it from
 * whoever has another part.
 */
function ownBytes(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes);
}

function asBuffer(bytes: Uint8Array<ArrayBuffer>): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
}

function flatten(message: Message, handedOver: TransferListItem[]): Plain {
  if (message.type === 'request') return { ...message, head: plainHead(message.head) };
  if (message.type === 'body') {
    const bytes = ownBytes(message.bytes);
    handedOver.push(bytes.buffer);
    return { ...message, bytes };
  }
  if (message.type === 'end' && message.last !== null) {
    const last = ownBytes(message.last);
    handedOver.push(last.buffer);
    return { ...message, last };
  }
  return message;
}

function restore(plain: Plain): Message {
  const { type, bytes, last, head } = plain;
  if (type === 'request') return { ...plain, head: restoredHead(head as PlainHead) } as Message;
  if (type === 'body')
    return { ...plain, bytes: asBuffer(bytes as Uint8Array<ArrayBuffer>) } as Message;
  if (type === 'end' && last !== null) {
    return { ...plain, last: asBuffer(last as Uint8Array<ArrayBuffer>) } as Message;
  }
  return plain as unknown as Message;
}

class PortLink implements Link<Message, Message> {
  onMessage: (message: Message) => void = () => undefined;
  onClose: (error: Error | null) => void = () => undefined;
  readonly #port: MessagePort;
  #batch: Plain[] = [];
  #handedOver: TransferListItem[] = [];
  #batchBytes = 0;
  #isOpen = true;
  #isEnding = false;
  readonly #flush = () => this.#post();

  constructor(port: MessagePort) {
    this.#port = port;
    port.on('message', (batch: Plain[]) => {
      for (const plain of batch) if (this.#isOpen) this.onMessage(restore(plain));
    });
    port.on('close', () => this.#closed());
  }

  send(message: Message): void {
    if (!this.#isOpen || this.#isEnding) return;
    if (this.#batch.length === 0) process.nextTick(this.#flush);
    this.#batch.push(flatten(message, this.#handedOver));
    if (message.type === 'body') this.#batchBytes += message.bytes.length;
    const isUrgent = message.type === 'end' || message.type === 'flush';
    if (isUrgent || this.#batchBytes > BATCH_BYTES_MAX) this.#post();
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
    this.#handedOver = [];
    this.#batchBytes = 0;
    this.#port.postMessage(batch, handedOver);
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
