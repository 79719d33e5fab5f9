// SPDX-License-Identifier: Apache-2.0
// Handlers in the manner of fetch: a Request in, a Response out.
import { AsyncResource } from 'node:async_hooks';
import type { Exchange, ExchangeListener, Servlet } from '../exchange.ts';
import { refuseFailed } from './exchange-failure.ts';
import { FetchAnswer } from './fetch-answer.ts';
import { BadRequest, makeRequest, RequestBody } from './fetch-request.ts';

export type FetchHandler = (request: Request) => Response | Promise<Response>;

/** The body of a request ends with the answer to it: who still reads it gets an error then. */
export function fetchServlet(handler: FetchHandler): Servlet {
  return (exchange) => {
    const run = new FetchRun(exchange);
    exchange.open(run);
    if (exchange.state === 'open') run.run(handler);
  };
}

class FetchRun implements ExchangeListener {
  readonly #exchange: Exchange;
  readonly #scope = new AsyncResource('UsherRequest');
  readonly #abort = new AbortController();
  readonly #body: RequestBody | null;
  #stream: ReadableStream | null = null;
  #answer: FetchAnswer | null = null;

  constructor(exchange: Exchange) {
    this.#exchange = exchange;
    const body = new RequestBody(exchange);
    this.#stream = body.stream();
    this.#body = this.#stream === null ? null : body;
  }

  run(handler: FetchHandler): void {
    try {
      const request = makeRequest(this.#exchange.head, this.#stream, this.#abort.signal);
      this.#stream = null;
      const result = this.#scope.runInAsyncScope(this.#call, this, handler, request);
      void this.#send(result);
    } catch (error) {
      this.#fail(error);
    }
  }

  #call(handler: FetchHandler, request: Request): ReturnType<FetchHandler> | undefined {
    const { alarm } = this.#exchange;
    return alarm === null ? handler(request) : alarm(() => handler(request));
  }

  async #send(result: ReturnType<FetchHandler> | undefined): Promise<void> {
    try {
      const response = await result;
      if (this.#exchange.state === 'over') {
        await response?.body?.cancel();
        return;
      }
      if (response?.status === 0) {
        const { method, url } = this.#exchange.head;
        this.#exchange.refuse({
          status: 502,
          reason: 'The application has no answer.',
          log: `the handler returned Response.error(): ${method} ${url}`,
        });
      } else {
        this.#answer = new FetchAnswer(this.#exchange, response);
        await this.#answer.send();
      }
      this.#endBody();
    } catch (error) {
      this.#fail(error);
    }
  }

  #fail(error: unknown): void {
    if (error instanceof BadRequest) {
      const { method, url } = this.#exchange.head;
      const { status, message } = error;
      this.#exchange.refuse({ status, reason: message, log: `${method} ${url}: ${message}` });
    } else if (!this.#isAboutAbort(error)) {
      refuseFailed(this.#exchange, error);
    }
    this.#endBody();
  }

  /** A handler that stops since nobody wants its answer has not failed. */
  #isAboutAbort(error: unknown): boolean {
    const { signal } = this.#abort;
    return signal.aborted && (error as Error | null)?.name === 'AbortError';
  }

  #endBody(): void {
    this.#body?.break(new Error('the body of a request ends with the answer to it'));
  }

  onBody(bytes: Buffer): void {
    this.#body?.add(bytes);
  }

  onBodyEnd(): void {
    this.#body?.end();
  }

  onDrain(): void {
    this.#answer?.onDrain();
  }

  onAbort(reason: Error): void {
    const error = new DOMException(reason.message, { name: 'AbortError', cause: reason });
    this.#body?.break(error);
    this.#answer?.cancel(error);
    try {
      this.#scope.runInAsyncScope(() => this.#abort.abort(error));
    } catch (thrown) {
      refuseFailed(this.#exchange, thrown);
    }
  }
}
