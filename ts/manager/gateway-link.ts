// SPDX-License-Identifier: Apache-2.0
// The manager's end of the socket pair with one gateway. A former manager may have read half a line of
// it: what makes no sense is passed over until the next line.
import type { Socket } from 'node:net';
import type { Down, Up } from '../gateways/link.ts';

/** A gateway that says so much without an end of line is broken, or not ours any more. */
const LINE_BYTES_MAX = 1 << 20;

export class GatewayLink {
  #socket: Socket;
  #rest = '';

  /** @param onLost The link is gone, the gateway may live. */
  constructor(socket: Socket, onUp: (up: Up) => void, onLost: () => void) {
    this.#socket = socket;
    this.#socket.setEncoding('utf8');
    this.#socket.on('data', (text: string) => this.#read(text, onUp));
    this.#socket.on('error', () => undefined); // 'close' follows
    this.#socket.on('close', onLost);
    this.#socket.unref();
    this.#socket.write('\n'); // ends what a former manager may have begun to say
  }

  send(down: Down): void {
    if (this.#socket.destroyed) return;
    this.#socket.write(`${JSON.stringify(down)}\n`);
  }

  close(): void {
    this.#socket.destroy();
  }

  #read(text: string, onUp: (up: Up) => void): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    if (this.#rest.length > LINE_BYTES_MAX) this.close();
    for (const line of lines) {
      const up = parse(line);
      if (up) onUp(up);
    }
  }
}

/** What a gateway says is input: it talks to the world, and may be somebody else's by now. */
function parse(line: string): Up | null {
  try {
    const value: unknown = JSON.parse(line);
    return isUp(value) ? value : null;
  } catch {
    return null; // not a whole line
  }
}

function isUp(value: unknown): value is Up {
  if (typeof value !== 'object' || value === null) return false;
  const up = value as Record<string, unknown>;
  switch (up.type) {
    case 'ready':
      return true;
    case 'log':
      return (
        ['info', 'warn', 'error'].includes(String(up.level)) &&
        typeof up.event === 'string' &&
        typeof up.text === 'string'
      );
    case 'backends':
      return Array.isArray(up.backends) && up.backends.every(isBackendState);
    default:
      return false;
  }
}

function isBackendState(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false;
  const state = value as Record<string, unknown>;
  return (
    typeof state.name === 'string' &&
    ['active', 'disabled', 'stopped'].includes(String(state.activation)) &&
    ['ok', 'failed', 'probing'].includes(String(state.state)) &&
    typeof state.lastError === 'string' &&
    [state.busy, state.requests, state.failures, state.failedUntilMs].every(Number.isFinite)
  );
}
