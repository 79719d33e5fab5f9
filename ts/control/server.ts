// SPDX-License-Identifier: Apache-2.0
// The manager's end of the control socket: HTTP with JSON bodies. Wired up in ts/manager, which
// implements the handlers and lets the server listen on the descriptor that the launcher handed over.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type {
  Activation,
  BackendAsked,
  ClassAsked,
  ClassChanged,
  ErrorBody,
  Pong,
  Status,
  Stopping,
  StopRequest,
  UpgradeRequest,
  Upgrading,
} from './messages.ts';

export const bodyBytesMax = 65_536;

/** What the manager does for a client. A handler that throws a ControlError chooses the answer. */
export interface ControlHandlers {
  ping(): Pong;
  status(): Status | Promise<Status>;
  /** Resolves when stopping has begun, not when it is done. */
  stop(request: StopRequest): Stopping | Promise<Stopping>;
  /** Replaces every instance, new ones first. Resolves when no old one is left; fails with
   * "restart-failed" when the new ones cannot start: the old ones go on serving. */
  restart(request: ClassAsked): Promise<ClassChanged>;
  /** Tries a failed class now. Resolves when an instance is ready; fails with "retry-failed". */
  retry(request: ClassAsked): Promise<ClassChanged>;
  /** Changes who among a class's backends gets requests; fails with "no-such-backend". */
  backend(request: BackendAsked): BackendAsked;
  /** Begins to replace launcher and manager by what is installed now; instances stay. Fails with
   * "layout" when that could not read the channel. */
  upgrade(request: UpgradeRequest): Upgrading;
}

/** An answer other than 2xx. */
export class ControlError extends Error {
  override name = 'ControlError';
  readonly httpStatus: number;
  /** Machine-readable: "not-found", "bad-request" … */
  readonly code: string;

  constructor(httpStatus: number, code: string, message: string) {
    super(message);
    this.httpStatus = httpStatus;
    this.code = code;
  }
}

interface Route {
  method: 'GET' | 'POST';
  path: string;
  answer(handlers: ControlHandlers, body: Record<string, unknown>): unknown;
}

const routes: Route[] = [
  { method: 'GET', path: '/v1/ping', answer: (handlers) => handlers.ping() },
  { method: 'GET', path: '/v1/status', answer: (handlers) => handlers.status() },
  {
    method: 'POST',
    path: '/v1/stop',
    answer: (handlers, body) => handlers.stop({ force: optionalBoolean(body, 'force') }),
  },
  {
    method: 'POST',
    path: '/v1/restart',
    answer: (handlers, body) => handlers.restart(classAsked(body)),
  },
  {
    method: 'POST',
    path: '/v1/retry',
    answer: (handlers, body) => handlers.retry(classAsked(body)),
  },
  {
    method: 'POST',
    path: '/v1/backend',
    answer: (handlers, body) =>
      handlers.backend({
        class: requiredText(body, 'class'),
        backend: requiredText(body, 'backend'),
        activation: requiredActivation(body),
      }),
  },
  {
    method: 'POST',
    path: '/v1/upgrade',
    answer: (handlers, body) =>
      handlers.upgrade({ layoutVersion: requiredNumber(body, 'layoutVersion') }),
  },
];

/** The server; the caller calls listen({ fd }) or listen(path). */
export function createControlServer(handlers: ControlHandlers): Server {
  return createServer((request, response) => {
    answer(handlers, request).then(
      (result) => send(response, 200, result),
      (error: unknown) => {
        const known = error instanceof ControlError ? error : internalError(error);
        const body: ErrorBody = { error: { code: known.code, message: known.message } };
        send(response, known.httpStatus, body);
      },
    );
  });
}

async function answer(handlers: ControlHandlers, request: IncomingMessage): Promise<unknown> {
  const path = (request.url ?? '').replace(/\?.*$/s, '');
  const known = routes.filter((route) => route.path === path);
  if (known.length === 0) throw new ControlError(404, 'not-found', `there is no route ${path}`);
  const route = known.find(({ method }) => method === request.method);
  if (route === undefined) {
    const allowed = known.map(({ method }) => method).join(', ');
    throw new ControlError(405, 'method-not-allowed', `${path} takes ${allowed}`);
  }
  return route.answer(handlers, await readBody(request));
}

async function readBody(request: IncomingMessage): Promise<Record<string, unknown>> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    // What is beyond the limit is read and dropped, so that the client sees the answer.
    if (bytes <= bodyBytesMax) chunks.push(chunk);
  }
  if (bytes > bodyBytesMax) {
    throw new ControlError(413, 'too-large', `a request body holds at most ${bodyBytesMax} bytes`);
  }
  if (bytes === 0) return {};
  const body = parseJson(Buffer.concat(chunks).toString('utf8'));
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw new ControlError(400, 'bad-request', 'the request body is not a JSON object');
  }
  return body as Record<string, unknown>;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ControlError(400, 'bad-request', `the request body is not JSON: ${messageOf(error)}`);
  }
}

function optionalBoolean(body: Record<string, unknown>, name: string, otherwise = false): boolean {
  const value = body[name] ?? otherwise;
  if (typeof value === 'boolean') return value;
  throw new ControlError(400, 'bad-request', `"${name}" must be true or false`);
}

function classAsked(body: Record<string, unknown>): ClassAsked {
  return { class: requiredText(body, 'class'), wait: optionalBoolean(body, 'wait', true) };
}

function requiredText(body: Record<string, unknown>, name: string): string {
  const value = body[name];
  if (typeof value === 'string' && value !== '') return value;
  throw new ControlError(400, 'bad-request', `"${name}" must be a text that is not empty`);
}

function requiredActivation({ activation }: Record<string, unknown>): Activation {
  switch (activation) {
    case 'active':
    case 'disabled':
    case 'stopped':
      return activation;
    default: {
      const text = '"activation" must be active, disabled or stopped';
      throw new ControlError(400, 'bad-request', text);
    }
  }
}

function requiredNumber(body: Record<string, unknown>, name: string): number {
  const value = body[name];
  if (typeof value === 'number' && Number.isSafeInteger(value)) return value;
  throw new ControlError(400, 'bad-request', `"${name}" must be a whole number`);
}

function internalError(error: unknown): ControlError {
  return new ControlError(500, 'internal', messageOf(error));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function send(response: ServerResponse, httpStatus: number, body: unknown): void {
  const bytes = Buffer.from(`${JSON.stringify(body)}\n`);
  response.writeHead(httpStatus, {
    'content-type': 'application/json; charset=utf-8',
    'content-length': bytes.length,
    'cache-control': 'no-store',
  });
  response.end(bytes);
}
