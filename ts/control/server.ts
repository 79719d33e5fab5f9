// SPDX-License-Identifier: Apache-2.0
// The manager's end of the control socket: HTTP with JSON bodies. Wired up in ts/manager, which
// implements the handlers and lets the server listen on the descriptor that the launcher handed over.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { z } from 'zod';
import {
  apiHeader,
  apiVersion,
  type BackendAsked,
  type ClassAsked,
  type ClassChanged,
  type ClassOutput,
  type ErrorBody,
  type Events,
  type EventsAsked,
  type ExplainAsked,
  type Explanation,
  type GiveBackAsked,
  type HistoryAsked,
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
  type UpgradeRequest,
  type Upgrading,
  versionHeader,
} from './messages.ts';
import {
  backendAsked,
  classAsked,
  eventsAsked,
  explainAsked,
  explainIssues,
  giveBackAsked,
  historyAsked,
  lendAsked,
  logsAsked,
  nothing,
  scaleAsked,
  stopRequest,
  upgradeRequest,
} from './requests.ts';

export const bodyBytesMax = 65_536;
/** Of those above, each is told to come again. */
export const connectionsMax = 64;
/** A body so much larger is not worth an answer. */
const DROPPED_BYTES_MAX = 16 * bodyBytesMax;
/** So long may a request take to arrive, and an answer to be read. */
const REQUEST_MS = 30_000;

/** What the manager does for a client. A handler that throws a ControlError chooses the answer. */
export interface ControlHandlers {
  ping(): Pong;
  status(): Status | Promise<Status>;
  /** Fails with "unknown", or "ambiguous". */
  explain(request: ExplainAsked): Explanation;
  /** Resolves when stopping has begun, not when it is done. */
  stop(request: StopRequest): Stopping | Promise<Stopping>;
  /** Replaces every instance, new ones first. Resolves when no old one is left; fails with
   * "restart-failed" when the new ones cannot start: the old ones go on serving. */
  restart(request: ClassAsked): Promise<ClassChanged>;
  /** Tries a failed class now. Resolves when an instance is ready; fails with "retry-failed". */
  retry(request: ClassAsked): Promise<ClassChanged>;
  /** Has so many instances from now on. Resolves when that is so; fails with "scale-failed". */
  scale(request: ScaleAsked): Promise<ClassChanged>;
  /** Reads usher.conf and the registrations now; fails with "config" when that is wrong: all stays. */
  reload(): Promise<Reloaded>;
  /** Changes who among a class's backends gets requests; fails with "no-such-backend". */
  backend(request: BackendAsked): BackendAsked;
  /** What programs of a class wrote last. */
  logs(request: LogsAsked): Promise<ClassOutput>;
  /** Lends an instance for a request of the client's own, and starts one where there is none; fails with
   * "busy" or "failed". */
  lend(request: LendAsked): Promise<Lent>;
  /** Fails with "no-such-loan". */
  giveBack(request: GiveBackAsked): GiveBackAsked;
  /** Begins the log anew, which somebody has moved away. */
  reopenLogs(): Promise<LogsReopened>;
  /** Begins to replace launcher and manager by what is installed now; instances stay. Fails with
   * "layout" when that could not read the channel. */
  upgrade(request: UpgradeRequest): Upgrading;
  /** Fails with "no-such-class". */
  history(request: HistoryAsked): LoadHistory;
  events(request: EventsAsked): Events;
  /** @param accept The client's header. */
  metrics(accept: string): Promise<TextAnswer>;
}

/** An answer that is not JSON. */
export class TextAnswer {
  readonly contentType: string;
  readonly text: string;

  constructor(contentType: string, text: string) {
    this.contentType = contentType;
    this.text = text;
  }
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
  /** @param accept The client's header. */
  answer(handlers: ControlHandlers, request: unknown, accept: string): unknown;
}

/** @param schema Of the body; with GET of what follows the question mark. */
function route<Schema extends z.ZodType>(
  method: Route['method'],
  path: string,
  schema: Schema,
  answer: (handlers: ControlHandlers, request: z.output<Schema>, accept: string) => unknown,
): Route {
  return {
    method,
    path,
    answer: (handlers, request, accept) => {
      const { success, data, error } = schema.safeParse(request);
      if (success) return answer(handlers, data, accept);
      throw new ControlError(400, 'bad-request', `${path}: ${explainIssues(schema, error)}`);
    },
  };
}

const routes: Route[] = [
  route('GET', '/v1/ping', nothing, (handlers) => handlers.ping()),
  route('GET', '/v1/status', nothing, (handlers) => handlers.status()),
  route('GET', '/v1/explain', explainAsked, (handlers, request) => handlers.explain(request)),
  route('GET', '/v1/history', historyAsked, (handlers, request) => handlers.history(request)),
  route('GET', '/v1/events', eventsAsked, (handlers, request) => handlers.events(request)),
  route('GET', '/metrics', nothing, (handlers, _, accept) => handlers.metrics(accept)),
  route('POST', '/v1/stop', stopRequest, (handlers, request) => handlers.stop(request)),
  route('POST', '/v1/restart', classAsked, (handlers, request) => handlers.restart(request)),
  route('POST', '/v1/retry', classAsked, (handlers, request) => handlers.retry(request)),
  route('POST', '/v1/scale', scaleAsked, (handlers, request) => handlers.scale(request)),
  route('POST', '/v1/reload', nothing, (handlers) => handlers.reload()),
  route('POST', '/v1/backend', backendAsked, (handlers, request) => handlers.backend(request)),
  route('GET', '/v1/logs', logsAsked, (handlers, request) => handlers.logs(request)),
  route('POST', '/v1/lend', lendAsked, (handlers, request) => handlers.lend(request)),
  route('POST', '/v1/give-back', giveBackAsked, (handlers, request) => handlers.giveBack(request)),
  route('POST', '/v1/reopen-logs', nothing, (handlers) => handlers.reopenLogs()),
  route('POST', '/v1/upgrade', upgradeRequest, (handlers, request) => handlers.upgrade(request)),
];

/** All that can be asked: "POST /v1/stop". */
export const routeNames: readonly string[] = routes.map(({ method, path }) => `${method} ${path}`);

export interface ControlOptions {
  /** Told to clients with every answer. */
  version: string;
  /** Why who is at the other end may not use it; null = may. */
  refusal(peer: Socket): string | null;
}

/**
 * The server; the caller calls listen({ fd }) or listen(path). No client can hang it: bodies, times and
 * connections have limits.
 */
export function createControlServer(handlers: ControlHandlers, options: ControlOptions): Server {
  const refusals = new WeakMap<Socket, ControlError>();
  let connections = 0;
  const server = createServer((request, response) => {
    response.setHeader(apiHeader, apiVersion);
    response.setHeader(versionHeader, options.version);
    answer(handlers, request, refusals.get(request.socket)).then(
      (result) => send(response, 200, result),
      (error: unknown) => {
        const known = error instanceof ControlError ? error : internalError(error);
        send(response, known.httpStatus, errorBody(known));
      },
    );
  });
  server.on('connection', (socket) => {
    connections += 1;
    socket.once('close', () => {
      connections -= 1;
    });
    const refusal = refusalOf(socket, connections, options);
    if (refusal) refusals.set(socket, refusal);
  });
  server.headersTimeout = REQUEST_MS;
  server.requestTimeout = REQUEST_MS;
  server.maxConnections = 2 * connectionsMax;
  return server;
}

function refusalOf(
  socket: Socket,
  connections: number,
  { refusal }: ControlOptions,
): ControlError | null {
  const reason = refusal(socket);
  if (reason !== null) return new ControlError(403, 'forbidden', reason);
  if (connections <= connectionsMax) return null;
  const text = `${connectionsMax} clients are connected already: try again later`;
  return new ControlError(503, 'busy', text);
}

async function answer(
  handlers: ControlHandlers,
  request: IncomingMessage,
  refusal: ControlError | undefined,
): Promise<unknown> {
  const body = await readBody(request);
  if (refusal) throw refusal;
  const { method = '', url = '', headers } = request;
  return routed(handlers, method, url, body.toString('utf8'), headers.accept ?? '');
}

/** What a GET of `url` is answered to who has no connection to us, but somebody who asks for them. */
export async function answerGet(
  handlers: ControlHandlers,
  url: string,
): Promise<{ httpStatus: number; body: string }> {
  try {
    return { httpStatus: 200, body: json(await routed(handlers, 'GET', url, '', '')).text };
  } catch (error) {
    const known = error instanceof ControlError ? error : internalError(error);
    return { httpStatus: known.httpStatus, body: json(errorBody(known)).text };
  }
}

async function routed(
  handlers: ControlHandlers,
  method: string,
  url: string,
  body: string,
  accept: string,
): Promise<unknown> {
  const { path, query } = splitUrl(url);
  const known = routes.filter((route) => route.path === path);
  if (known.length === 0) throw new ControlError(404, 'not-found', `there is no route ${path}`);
  const route = known.find((one) => one.method === method);
  if (route === undefined) {
    const allowed = known.map(({ method }) => method).join(', ');
    throw new ControlError(405, 'method-not-allowed', `${path} takes ${allowed}`);
  }
  const asked =
    route.method === 'GET' ? Object.fromEntries(query) : parseJson(body.length === 0 ? '{}' : body);
  return route.answer(handlers, asked, accept);
}

function splitUrl(url: string): { path: string; query: URLSearchParams } {
  const [path = '', ...rest] = url.split('?');
  return { path, query: new URLSearchParams(rest.join('?')) };
}

/** What is beyond the limit is read and dropped, so that the client sees the answer; but not for ever. */
async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= bodyBytesMax) chunks.push(chunk);
    if (bytes > DROPPED_BYTES_MAX) request.destroy();
  }
  if (bytes <= bodyBytesMax) return Buffer.concat(chunks);
  throw new ControlError(413, 'too-large', `a request body holds at most ${bodyBytesMax} bytes`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new ControlError(400, 'bad-request', `the request body is not JSON: ${messageOf(error)}`);
  }
}

function internalError(error: unknown): ControlError {
  return new ControlError(500, 'internal', messageOf(error));
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function send(response: ServerResponse, httpStatus: number, body: unknown): void {
  const { contentType, text } = body instanceof TextAnswer ? body : json(body);
  const bytes = Buffer.from(text);
  response.socket?.setTimeout(REQUEST_MS); // without progress; then it is destroyed
  response.writeHead(httpStatus, {
    'content-type': contentType,
    'content-length': bytes.length,
    'cache-control': 'no-store',
  });
  response.end(bytes);
}

function errorBody({ code, message }: ControlError): ErrorBody {
  return { error: { code, message } };
}

function json(body: unknown): TextAnswer {
  return new TextAnswer('application/json; charset=utf-8', `${JSON.stringify(body)}\n`);
}
