// SPDX-License-Identifier: Apache-2.0
// A link over a stream: the socketpair between master and worker process. What is sent in one turn of the
// event loop goes out in one write, what is urgent at once.
import type { Duplex } from 'node:stream';
import { readFrom } from '../../serving/accepted-socket.ts';
import { encode, FrameDecoder, fromMaster, fromWorker, type Message } from './frames.ts';
import { isUrgent, type Link, type MasterLink, type WorkerLink } from './messages.ts';

/** Pieces that together are no more than this are copied into one. */
const COPIED_BYTES_MAX = 16 << 10;
/** What waits for the end of the turn, at most. */
const BATCH_BYTES_MAX = 128 << 10;

class StreamLink implements Link<Message, Message> {
  onMessage: (message: Message) => void = () => undefined;
  onClose: (error: Error | null) => void = () => undefined;
  readonly #stream: Duplex;
  readonly #decoder: FrameDecoder;
  #batch: Buffer[] = [];
  #batchBytes = 0;
  #isOpen = true;
  #isEnding = false;
  #error: Error | null = null;
  readonly #flush = () => this.#write();

  constructor(stream: Duplex, allowed: ReadonlySet<Message['type']>) {
    this.#stream = stream;
    this.#decoder = new FrameDecoder(allowed, (message) => {
      if (this.#isOpen) this.onMessage(message);
    });
    readFrom(stream, (chunk) => this.#onData(chunk));
    stream.on('end', () => {
      if (this.#decoder.isInside) this.#error ??= new Error('the link ended within a message');
      this.close();
    });
    stream.on('error', (error) => {
      this.#error ??= error;
    });
    stream.on('close', () => this.#closed());
  }

  send(message: Message): void {
    if (!this.#isOpen || this.#isEnding) return;
    const wasEmpty = this.#batch.length === 0;
    for (const bytes of encode(message)) {
      this.#batch.push(bytes);
      this.#batchBytes += bytes.length;
    }
    if (isUrgent(message) || this.#batchBytes > BATCH_BYTES_MAX) this.#write();
    else if (wasEmpty) process.nextTick(this.#flush);
  }

  close(): void {
    if (this.#isEnding) return;
    this.#write();
    this.#isEnding = true;
    this.#stream.end();
  }

  #write(): void {
    const batch = this.#batch;
    if (batch.length === 0) return;
    const isSmall = this.#batchBytes <= COPIED_BYTES_MAX;
    this.#batch = [];
    this.#batchBytes = 0;
    if (!this.#stream.writable) return;
    if (batch.length === 1 || isSmall) {
      this.#stream.write(batch.length === 1 ? batch[0] : Buffer.concat(batch));
      return;
    }
    this.#stream.cork();
    for (const bytes of batch) this.#stream.write(bytes);
    this.#stream.uncork();
  }

  #onData(chunk: Buffer): void {
    if (!this.#isOpen) return;
    try {
      this.#decoder.push(chunk);
    } catch (error) {
      this.#error = error as Error;
      this.#stream.destroy();
      this.#closed();
    }
  }

  #closed(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#isEnding = true;
    this.#batch = [];
    this.onClose(this.#error);
  }
}

/** @param stream Nobody else reads or writes it. */
export function processMasterLink(stream: Duplex): MasterLink {
  return new StreamLink(stream, fromWorker) as unknown as MasterLink;
}

/** @param stream Nobody else reads or writes it. */
export function processWorkerLink(stream: Duplex): WorkerLink {
  return new StreamLink(stream, fromMaster) as unknown as WorkerLink;
}
