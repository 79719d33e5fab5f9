// SPDX-License-Identifier: Apache-2.0
// GET /metrics at loopback addresses, where UsherMetrics says so: for scrapers that cannot speak to a
// UNIX socket.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { asksForLoopback, readListen } from '../control/loopback.ts';
import type { Log } from './log.ts';
import type { MetricsText } from './metrics.ts';

/** Somebody else has the address: perhaps a former manager that is just ending. */
const TRY_AGAIN_MS = 5_000;
const CONNECTIONS_MAX = 32;
const REQUEST_MS = 10_000;

interface Listener {
  server: Server;
  /** When to try again; Infinity while it listens. */
  tryAtMs: number;
  hasFailed: boolean;
}

export class MetricsListeners {
  #log: Log;
  #metrics: (accept: string) => Promise<MetricsText>;
  #listeners = new Map<string, Listener>();

  /** @param metrics Writes what a client with this Accept header is to get. */
  constructor(log: Log, metrics: (accept: string) => Promise<MetricsText>) {
    this.#log = log;
    this.#metrics = metrics;
  }

  /** @param addresses Where to listen from now on. */
  configure(addresses: ReadonlySet<string>): void {
    for (const [address, { server }] of this.#listeners) {
      if (addresses.has(address)) continue;
      this.#listeners.delete(address);
      server.close();
      server.closeAllConnections();
    }
    for (const address of addresses) {
      if (!this.#listeners.has(address)) this.#listeners.set(address, this.#open(address));
    }
  }

  pass(nowMs: number): void {
    for (const [address, listener] of this.#listeners) {
      if (nowMs < listener.tryAtMs) continue;
      listener.tryAtMs = Number.POSITIVE_INFINITY;
      listener.server.once('error', (error) => this.#failed(address, listener, nowMs, error));
      listener.server.listen({ ...readListen(address) });
    }
  }

  #open(address: string): Listener {
    const server = createServer((request, response) => void this.#answer(request, response));
    server.requestTimeout = REQUEST_MS;
    server.headersTimeout = REQUEST_MS;
    server.maxConnections = CONNECTIONS_MAX;
    server.on('listening', () => {
      server.removeAllListeners('error');
      server.on('error', (error) => this.#log('error', 'metrics.failed', { text: error.message }));
      this.#log('info', 'metrics.listening', { text: `at ${address}` });
    });
    return { server, tryAtMs: 0, hasFailed: false };
  }

  #failed(address: string, listener: Listener, nowMs: number, { message }: Error): void {
    listener.tryAtMs = nowMs + TRY_AGAIN_MS;
    if (listener.hasFailed) return;
    listener.hasFailed = true;
    const text = `cannot listen at ${address}: ${message}; it is tried again every ${TRY_AGAIN_MS / 1000} s`;
    this.#log('error', 'metrics.not-listening', { text });
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    request.resume();
    const { method, url, headers } = request;
    if (!asksForLoopback(headers.host)) return send(response, 403, 'ask by a loopback address');
    if (url !== '/metrics') return send(response, 404, 'there is /metrics');
    if (method !== 'GET' && method !== 'HEAD') return send(response, 405, '/metrics takes GET');
    try {
      const { contentType, text } = await this.#metrics(headers.accept ?? '');
      send(response, 200, text, contentType);
    } catch (error) {
      send(response, 500, error instanceof Error ? error.message : String(error));
    }
  }
}

function send(
  response: ServerResponse,
  status: number,
  text: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  const bytes = Buffer.from(status === 200 ? text : `${text}\n`);
  response.socket?.setTimeout(REQUEST_MS); // without progress; then it is destroyed
  response.writeHead(status, {
    'content-type': contentType,
    'content-length': bytes.length,
    'cache-control': 'no-store',
    'x-content-type-options': 'nosniff',
  });
  response.end(bytes);
}
