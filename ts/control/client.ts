// SPDX-License-Identifier: Apache-2.0
// The clients' end of the control socket. Used by the command line and the dashboard.
import { request as httpRequest } from 'node:http';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type {
  BackendAsked,
  ClassAsked,
  ClassChanged,
  ErrorBody,
  Explanation,
  Pong,
  Status,
  Stopping,
  StopRequest,
  UpgradeRequest,
  Upgrading,
} from './messages.ts';

export const controlSocketName = 'control.sock';

/** Nothing listens on the control socket. */
export class NoManagerError extends Error {
  override name = 'NoManagerError';
  readonly socketPath: string;

  constructor(socketPath: string, options?: ErrorOptions) {
    super(`no manager: nothing listens on ${socketPath}`, options);
    this.socketPath = socketPath;
  }
}

/** The manager answered with an error, not in time, or not as a manager does. */
export class RequestFailedError extends Error {
  override name = 'RequestFailedError';
  /** The manager's own code, else "timeout", "forbidden" or "broken". */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

interface Answer {
  httpStatus: number;
  text: string;
}

export class ControlClient {
  readonly socketPath: string;
  readonly #timeoutMs: number;

  /** @param timeoutMs How long an answer may take. */
  constructor(runtimeDir: string, { timeoutMs = 10_000 } = {}) {
    this.socketPath = join(runtimeDir, controlSocketName);
    this.#timeoutMs = timeoutMs;
  }

  ping(timeoutMs = this.#timeoutMs): Promise<Pong> {
    return this.#ask<Pong>('GET', '/v1/ping', undefined, timeoutMs);
  }

  status(): Promise<Status> {
    return this.#ask<Status>('GET', '/v1/status');
  }

  /** @param of A class, or the id of a start. */
  explain(of: string): Promise<Explanation> {
    return this.#ask<Explanation>('GET', `/v1/explain?${new URLSearchParams({ of })}`);
  }

  stop(request: StopRequest): Promise<Stopping> {
    return this.#ask<Stopping>('POST', '/v1/stop', request);
  }

  /** Resolves when every instance has been replaced. @param timeoutMs How long that may take. */
  restart(request: ClassAsked, timeoutMs: number): Promise<ClassChanged> {
    return this.#ask<ClassChanged>('POST', '/v1/restart', request, timeoutMs);
  }

  /** Resolves when the class serves again. @param timeoutMs How long that may take. */
  retry(request: ClassAsked, timeoutMs: number): Promise<ClassChanged> {
    return this.#ask<ClassChanged>('POST', '/v1/retry', request, timeoutMs);
  }

  /** Changes who among a class's backends gets requests. */
  backend(request: BackendAsked): Promise<BackendAsked> {
    return this.#ask<BackendAsked>('POST', '/v1/backend', request);
  }

  /** Replaces launcher and manager by what is installed now. Resolves with the new manager. */
  async upgrade(
    request: UpgradeRequest,
    timeoutMs: number,
  ): Promise<{ before: Upgrading; after: Pong }> {
    const before = await this.#ask<Upgrading>('POST', '/v1/upgrade', request);
    return { before, after: await this.#successor(before.pid, timeoutMs) };
  }

  /** @throws RequestFailedError "timeout" when no other manager answers within `timeoutMs`. */
  async #successor(pid: number, timeoutMs: number, intervalMs = 20): Promise<Pong> {
    const deadline = Date.now() + timeoutMs;
    for (;;) {
      const pong = await this.ping(Math.max(deadline - Date.now(), intervalMs)).catch(() => null);
      if (pong && pong.pid !== pid) return pong;
      if (Date.now() >= deadline) {
        const message = `no new manager answered on ${this.socketPath} within ${timeoutMs / 1000} s`;
        throw new RequestFailedError('timeout', message);
      }
      await sleep(intervalMs);
    }
  }

  /**
   * Resolves when nobody listens on the control socket any more. The launcher owns it and ends
   * last, so everything has ended then.
   * @throws RequestFailedError "timeout" after `timeoutMs`.
   */
  async gone(timeoutMs: number, intervalMs = 50): Promise<void> {
    const deadline = Date.now() + timeoutMs;
    while (await this.#isThere(Math.max(deadline - Date.now(), intervalMs))) {
      if (Date.now() >= deadline) {
        const message = `${this.socketPath} is still there after ${timeoutMs / 1000} s`;
        throw new RequestFailedError('timeout', message);
      }
      await sleep(intervalMs);
    }
  }

  async #isThere(timeoutMs: number): Promise<boolean> {
    try {
      await this.ping(timeoutMs);
    } catch (error) {
      return !(error instanceof NoManagerError);
    }
    return true;
  }

  async #ask<Result>(
    method: string,
    path: string,
    body?: object,
    timeoutMs = this.#timeoutMs,
  ): Promise<Result> {
    const { httpStatus, text } = await this.#exchange(method, path, body, timeoutMs);
    const parsed = this.#parse(text);
    if (httpStatus === 200) return parsed as Result;
    const error = (parsed as Partial<ErrorBody> | null)?.error;
    if (error === undefined) throw this.#broken(`status ${httpStatus}`);
    throw new RequestFailedError(error.code, error.message);
  }

  #parse(text: string): unknown {
    try {
      return JSON.parse(text);
    } catch (error) {
      throw this.#broken('an answer that is not JSON', error);
    }
  }

  #exchange(
    method: string,
    path: string,
    body: object | undefined,
    timeoutMs: number,
  ): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const request = httpRequest({
        socketPath: this.socketPath,
        method,
        path,
        agent: false,
        headers: { host: 'usher', 'content-type': 'application/json' },
        signal: AbortSignal.timeout(timeoutMs),
      });
      const fail = (error: Error): void => reject(this.#explain(error, timeoutMs));
      request.on('error', fail);
      request.on('response', (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('error', fail);
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString('utf8');
          resolve({ httpStatus: response.statusCode ?? 0, text });
        });
      });
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }

  #explain(error: Error, timeoutMs: number): Error {
    const code = (error as NodeJS.ErrnoException).code ?? '';
    if (['ENOENT', 'ENOTDIR', 'ECONNREFUSED'].includes(code)) {
      return new NoManagerError(this.socketPath, { cause: error });
    }
    if (code === 'EACCES') {
      const message = `no permission to use ${this.socketPath}: be its owner or root`;
      return new RequestFailedError('forbidden', message, { cause: error });
    }
    if (error.name === 'AbortError' || error.name === 'TimeoutError') {
      const message = `${this.socketPath} gave no answer within ${timeoutMs / 1000} s`;
      return new RequestFailedError('timeout', message, { cause: error });
    }
    return this.#broken(error.message, error);
  }

  #broken(what: string, cause?: unknown): RequestFailedError {
    const message = `${this.socketPath} did not answer as a manager does: ${what}`;
    return new RequestFailedError('broken', message, { cause });
  }
}
