// SPDX-License-Identifier: Apache-2.0
// The FastCGI side of a gateway: connections of web servers at a listening socket, descriptor 0.

import { createServer, type Server } from 'node:net';
import type { ProtocolError } from '../protocols/protocol-error.ts';
import { accepted } from '../serving/accepted-socket.ts';
import {
  type ServedRequest as Exchange,
  FastcgiConnection,
  type RequestHandler,
} from '../serving/fastcgi-connection.ts';

export type { RequestHandler, ServedRequest as Exchange } from '../serving/fastcgi-connection.ts';

export const ENDPOINT_FD = 0;

export interface ConnectionsEvents {
  /** All parameters are there; the body follows. */
  onRequest(exchange: Exchange): RequestHandler;
  onBroken(error: ProtocolError): void;
  /** Accepting failed, or connections had to be refused. */
  onError(error: Error): void;
}

export class Connections {
  readonly #server: Server;
  readonly #events: ConnectionsEvents;
  readonly #connections = new Set<FastcgiConnection>();
  /** Requests that have begun and not ended. */
  #running = 0;
  #isDraining = false;
  #whenDrained: (() => void) | null = null;

  constructor(events: ConnectionsEvents) {
    this.#events = events;
    this.#server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => {
      this.#connections.add(
        new FastcgiConnection(accepted(socket), {
          onRequest: (exchange) => {
            this.#running++;
            return events.onRequest(exchange);
          },
          onEnded: () => {
            this.#running--;
            this.#settle();
          },
          onClose: (connection) => {
            this.#connections.delete(connection);
            this.#settle();
          },
          onBroken: (error) => events.onBroken(error),
        }),
      );
    });
  }

  get running(): number {
    return this.#running;
  }

  /** Resolves when connections are accepted. */
  async listen(options: { fd: number } | { path: string } = { fd: ENDPOINT_FD }): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(options, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) => this.#events.onError(error));
        resolve();
      });
    });
  }

  /** Accept nothing more, close idle connections; resolves when the last request has ended and its
   * answer is written. */
  async drain(): Promise<void> {
    this.#isDraining = true;
    this.#server.close();
    await new Promise<void>((resolve) => {
      this.#whenDrained = resolve;
      for (const connection of [...this.#connections]) connection.close();
      this.#settle();
    });
  }

  #settle(): void {
    if (this.#isDraining && this.#running === 0 && this.#connections.size === 0) {
      this.#whenDrained?.();
    }
  }
}
