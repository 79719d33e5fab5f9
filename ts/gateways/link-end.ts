// SPDX-License-Identifier: Apache-2.0
// A gateway's end of its link to the manager: JSON, one object a line. The end of the link is no
// reason to stop: the gateway goes on with what it knows.
import { Socket } from 'node:net';
import type { Down, Up } from './link.ts';

export const LINK_FD = 3;

/** A manager that does not read: what is beyond this is dropped, states are told again anyway. */
const BACKLOG_BYTES_MAX = 1 << 20;
/** No line of the manager's is as long. */
const LINE_CHARACTERS_MAX = 16 << 20;

export interface LinkEvents {
  onMessage(message: Down): void;
  /** Manager and launcher are gone. Called once. */
  onEnd?(): void;
}

/** What is said of what the manager sends when it is not understood. */
function explain(line: string): string {
  const shown = line.length > 200 ? `${line.slice(0, 200)} …` : line;
  return `the manager sent a line that is not a message: ${shown}`;
}

function parseMessage(line: string): Down | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null; // the caller says so
  }
  if (typeof value !== 'object' || value === null || !('type' in value)) return null;
  return value.type === 'configure' || value.type === 'backends' ? (value as Down) : null;
}

export class LinkEnd {
  readonly #socket: Socket;
  readonly #events: LinkEvents;
  #partial = '';
  #isOpen = true;

  constructor(events: LinkEvents, link: number | Socket = LINK_FD) {
    this.#events = events;
    this.#socket = typeof link === 'number' ? new Socket({ fd: link }) : link;
    this.#socket.setEncoding('utf8'); // characters may be cut by packets
    this.#socket.on('data', (text: string) => this.#onText(text));
    this.#socket.on('error', () => undefined); // 'close' follows
    this.#socket.on('end', () => this.#socket.destroy());
    this.#socket.on('close', () => this.#onClose());
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Nothing is sent, and nobody told, when the link has ended or the manager does not read. */
  send(message: Up): void {
    if (!this.#isOpen || this.#socket.writableLength > BACKLOG_BYTES_MAX) return;
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  log(level: 'info' | 'warn' | 'error', event: string, text: string): void {
    this.send({ type: 'log', level, event, text });
  }

  /** Resolves when what was sent has been written, or cannot be within `timeoutMs`. */
  async close(timeoutMs = 1000): Promise<void> {
    if (!this.#isOpen) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#socket.destroy(), timeoutMs);
      this.#socket.once('close', () => {
        clearTimeout(timer);
        resolve();
      });
      this.#socket.end(() => this.#socket.destroy());
    });
  }

  #onText(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = lines.pop() ?? '';
    for (const line of lines) {
      if (line === '') continue; // a manager's first, in case a former one broke off in a line
      const message = parseMessage(line);
      if (message !== null) this.#events.onMessage(message);
      else this.log('error', 'link.broken', explain(line));
    }
    if (this.#partial.length > LINE_CHARACTERS_MAX) {
      this.log('error', 'link.broken', explain(this.#partial));
      this.#socket.destroy();
    }
  }

  #onClose(): void {
    this.#isOpen = false;
    this.#partial = '';
    this.#events.onEnd?.();
  }
}
