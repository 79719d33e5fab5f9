// SPDX-License-Identifier: Apache-2.0
// The CGI gateway: FastCGI requests in, one program for each.
import { Connections } from '../connections.ts';
import type { CgiOptions } from '../link.ts';
import type { Arguments } from './arguments.ts';
import { Forker } from './forker.ts';
import { Places } from './places.ts';
import { CgiRequest, type RequestWorld } from './request.ts';

export interface GatewayOptions {
  arguments: Arguments;
  /** NAME=VALUE, Latin-1. */
  environment: readonly string[];
  cgi: CgiOptions;
  log(level: 'info' | 'warn' | 'error', event: string, text: string): void;
  /** Lines of programs that belong to no request any more. */
  logLine(line: string): void;
  forkerPath?: string;
}

export class CgiGateway {
  readonly #forker: Forker;
  readonly #connections: Connections;
  readonly #places = new Places();
  readonly #world: RequestWorld;
  #whenIdle: (() => void) | null = null;

  /** @throws Error when there is no usher-forker */
  constructor(options: GatewayOptions) {
    this.#forker = new Forker({
      args: options.arguments.forkerArgs,
      ...(options.forkerPath === undefined ? {} : { path: options.forkerPath }),
      onDeath: (text, programs) => {
        const lost = `${programs} programs were lost with it`;
        options.log('error', 'forker.died', `usher-forker: ${text}; ${lost}`);
      },
    });
    this.#world = {
      options: options.cgi,
      command: options.arguments.command,
      environment: options.environment,
      start: (spec, events) => this.#forker.start(spec, events),
      takePlace: (begin) => this.#places.take(begin),
      releasePlace: () => {
        this.#places.release();
        if (this.#places.taken === 0) this.#whenIdle?.();
      },
      logLine: options.logLine,
    };
    this.configure(options.cgi);
    this.#connections = new Connections({
      onRequest: (exchange) => new CgiRequest(exchange, this.#world),
      onBroken: (error) => options.log('warn', 'connection.broken', error.message),
      onError: (error) => options.log('error', 'accept.failed', error.message),
    });
  }

  /** For requests that begin from now on. */
  configure(options: CgiOptions): void {
    this.#world.options = options;
    this.#places.limit = options.concurrency;
  }

  /** Programs that run, those included whose request is answered. */
  get running(): number {
    return this.#places.taken;
  }

  get forkerPid(): number | undefined {
    return this.#forker.pid;
  }

  async listen(at?: { fd: number } | { path: string }): Promise<void> {
    await this.#connections.listen(at);
  }

  /** Resolves when all requests are answered and all programs have ended. */
  async drain(): Promise<void> {
    await this.#connections.drain();
    if (this.#places.taken > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    this.#forker.close();
  }
}
