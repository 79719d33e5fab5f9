// SPDX-License-Identifier: Apache-2.0
// The clients' end of the control socket. Used by the command line and the dashboard.
import { statSync } from 'node:fs';
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  apiHeader,
  apiVersion,
  type BackendAsked,
  type ClassAsked,
  type ClassChanged,
  type ClassOutput,
  type ErrorBody,
  type Events,
  type Explanation,
  type GiveBackAsked,
  type LendAsked,
  type Lent,
  type LoadHistory,
  type LogsAsked,
  type LogsReopened,
  type Pong,
  type Reloaded,
  type ScaleAsked,
  type Status,
  type Stopping,
  type StopRequest,
  statusSchema,
  type UpgradeRequest,
  type Upgrading,
  versionHeader,
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
  /** The manager's own code, else "timeout", "forbidden", "version" or "broken". */
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

const advice = {
  older: 'replace it by what is installed: usher upgrade',
  newer: 'use the usher that was installed with it',
};

interface Answer {
  httpStatus: number;
  headers: IncomingHttpHeaders;
  text: string;
}

export class ControlClient {
  readonly runtimeDir: string;
  readonly socketPath: string;
  readonly #timeoutMs: number;

  /** @param timeoutMs How long an answer may take, where nothing is waited for. */
  constructor(runtimeDir: string, { timeoutMs = 10_000 } = {}) {
    this.runtimeDir = runtimeDir;
    this.socketPath = join(runtimeDir, controlSocketName);
    this.#timeoutMs = timeoutMs;
  }

  ping(timeoutMs = this.#timeoutMs): Promise<Pong> {
    return this.#ask<Pong>('GET', '/v1/ping', undefined, timeoutMs);
  }

  async status(): Promise<Status> {
    const status = await this.#ask<Status>('GET', '/v1/status');
    if (status.schema === statusSchema) return status;
    const age = Number(status.schema) > statusSchema ? 'newer' : 'older';
    const text = `its status has schema ${status.schema}, this usher reads ${statusSchema}`;
    throw new RequestFailedError('version', `${this.#aged(age)} (${text}); ${advice[age]}`);
  }

  /** Resolves when so many instances are ready. @param timeoutMs How long that may take. */
  scale(request: ScaleAsked, timeoutMs: number): Promise<ClassChanged> {
    return this.#askAndWait<ClassChanged>('/v1/scale', request, timeoutMs);
  }

  reload(): Promise<Reloaded> {
    return this.#ask<Reloaded>('POST', '/v1/reload');
  }

  /** What programs of a class wrote last. */
  logs(request: LogsAsked): Promise<ClassOutput> {
    const query = new URLSearchParams();
    for (const [name, value] of Object.entries(request)) query.set(name, String(value));
    const timeoutMs = this.#timeoutMs + request.waitMs;
    return this.#ask<ClassOutput>('GET', `/v1/logs?${query}`, undefined, timeoutMs);
  }

  /** An instance for a request of our own; to be given back. */
  lend(request: LendAsked): Promise<Lent> {
    return this.#askAndWait<Lent>('/v1/lend', request, this.#timeoutMs + request.waitMs);
  }

  giveBack(request: GiveBackAsked): Promise<GiveBackAsked> {
    return this.#ask<GiveBackAsked>('POST', '/v1/give-back', request);
  }

  reopenLogs(): Promise<LogsReopened> {
    return this.#ask<LogsReopened>('POST', '/v1/reopen-logs');
  }

  /** @param of A class, or the id of a start. */
  explain(of: string): Promise<Explanation> {
    return this.#ask<Explanation>('GET', `/v1/explain?${new URLSearchParams({ of })}`);
  }

  /** Whatever a GET is answered; for who passes it on. */
  async read(url: string): Promise<{ httpStatus: number; body: string }> {
    const { httpStatus, text } = await this.#exchange('GET', url, undefined, this.#timeoutMs);
    return { httpStatus, body: text };
  }

  /** Of one class, or of all together. */
  history(name?: string): Promise<LoadHistory> {
    const query = name === undefined ? '' : `?class=${encodeURIComponent(name)}`;
    return this.#ask<LoadHistory>('GET', `/v1/history${query}`);
  }

  /** @param after The number of the last one that is known already. */
  events(after = 0): Promise<Events> {
    return this.#ask<Events>('GET', `/v1/events?after=${after}`);
  }

  stop(request: StopRequest): Promise<Stopping> {
    return this.#ask<Stopping>('POST', '/v1/stop', request);
  }

  /** Resolves when every instance has been replaced. @param timeoutMs How long that may take. */
  restart(request: ClassAsked, timeoutMs: number): Promise<ClassChanged> {
    return this.#askAndWait<ClassChanged>('/v1/restart', request, timeoutMs);
  }

  /** Resolves when the class serves again. @param timeoutMs How long that may take. */
  retry(request: ClassAsked, timeoutMs: number): Promise<ClassChanged> {
    return this.#askAndWait<ClassChanged>('/v1/retry', request, timeoutMs);
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

  /** For what takes its time: a manager that says nothing at all is not waited for so long. */
  async #askAndWait<Result>(path: string, body: object, timeoutMs: number): Promise<Result> {
    await this.ping();
    return this.#ask<Result>('POST', path, body, timeoutMs);
  }

  async #ask<Result>(
    method: string,
    path: string,
    body?: object,
    timeoutMs = this.#timeoutMs,
  ): Promise<Result> {
    const { httpStatus, headers, text } = await this.#exchange(method, path, body, timeoutMs);
    const parsed = this.#parse(text);
    if (httpStatus === 200) return parsed as Result;
    const error = (parsed as Partial<ErrorBody> | null)?.error;
    if (error === undefined) throw this.#broken(`status ${httpStatus}`);
    const isMisunderstood = error.code === 'not-found' || error.code === 'bad-request';
    const difference = isMisunderstood ? this.#difference(headers) : null;
    if (difference !== null) throw new RequestFailedError('version', difference);
    throw new RequestFailedError(error.code, error.message);
  }

  /** What to do about a manager that speaks another version than we do; null = it does not. */
  #difference(headers: IncomingHttpHeaders): string | null {
    const api = Number(headers[apiHeader] ?? 1); // the first one did not say
    if (api === apiVersion) return null;
    const version = String(headers[versionHeader] ?? '0.1.0 or older');
    const versions = `version ${version}, control API ${api}; this usher speaks ${apiVersion}`;
    const age = api < apiVersion ? 'older' : 'newer';
    return `${this.#aged(age)} (${versions}) and does not understand this; ${advice[age]}`;
  }

  #aged(age: 'older' | 'newer'): string {
    return `the manager at ${this.socketPath} is ${age}`;
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
        createConnection: () => connect(this.socketPath),
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
          resolve({ httpStatus: response.statusCode ?? 0, headers: response.headers, text });
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
      const owner = this.#owner();
      const whose = owner === null ? '' : `, which belongs to user ${owner}`;
      const message = `no permission to use ${this.socketPath}${whose}: be that user or root`;
      return new RequestFailedError('forbidden', message, { cause: error });
    }
    if (error.name === 'AbortError' || error.name === 'TimeoutError') {
      return this.#silent(`gave no answer within ${timeoutMs / 1000} s`, error);
    }
    if (code === 'EAGAIN') return this.#silent('takes no more connections', error);
    if (code === 'ECONNRESET' || code === 'EPIPE') {
      const message = `the manager at ${this.socketPath} ended before it had answered: look at usher status, and try again`;
      return new RequestFailedError('broken', message, { cause: error });
    }
    return this.#broken(error.message, error);
  }

  #silent(what: string, cause: Error): RequestFailedError {
    const advice =
      'requests are served all the same; one that hangs is replaced after 15 s; --answer-timeout SECONDS waits longer';
    const message = `${this.socketPath} ${what}: the manager is busy or stopped; ${advice}`;
    return new RequestFailedError('timeout', message, { cause });
  }

  /** null = that cannot be seen either. */
  #owner(): number | null {
    try {
      return statSync(dirname(this.socketPath)).uid;
    } catch {
      return null;
    }
  }

  #broken(what: string, cause?: unknown): RequestFailedError {
    const message = `${this.socketPath} did not answer as a manager does: ${what}; usher doctor tells what is there`;
    return new RequestFailedError('broken', message, { cause });
  }
}
