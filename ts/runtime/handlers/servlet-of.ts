// SPDX-License-Identifier: Apache-2.0
// Which kind of handler an application is.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Servlet } from '../exchange.ts';
import { errorLine } from './error-line.ts';
import { type FetchHandler, fetchServlet } from './fetch-servlet.ts';
import { type NodeListener, nodeServlet } from './node-servlet.ts';
import type { RequestSocket } from './request-socket.ts';

export type HandlerStyle = 'node' | 'fetch';

/** As of connect: next() says that there is nothing, next(error) that it failed. */
export type NodeMiddleware = (
  request: IncomingMessage,
  response: ServerResponse,
  next: (error?: unknown) => void,
) => unknown;

/** Hono, itty-router, and what else has `export default { fetch }`. */
export interface FetchApplication {
  fetch(request: Request): Response | Promise<Response>;
}

/** Fastify. */
export interface RoutingApplication {
  routing(request: IncomingMessage, response: ServerResponse): unknown;
  ready?(): PromiseLike<unknown>;
}

export type Handler =
  | NodeListener
  | NodeMiddleware
  | FetchHandler
  | FetchApplication
  | RoutingApplication;

const ALLOWED =
  'function (req, res), function (request) that returns a Response, { fetch(request) },' +
  ' an application of Express, Koa (app.callback()) or Fastify';

/** @param style null: functions with two or more parameters are of node:http
 *  @throws TypeError naming what is allowed */
export function servletOf(
  handler: Handler,
  style: HandlerStyle | null,
  name = 'the handler',
): Servlet {
  if (typeof handler === 'function') {
    const found = style ?? (handler.length >= 2 ? 'node' : 'fetch');
    if (found === 'fetch') return fetchServlet(handler as FetchHandler);
    return nodeServlet(
      isMiddleware(handler) ? ending(handler) : (handler as unknown as NodeListener),
    );
  }
  if (hasMethod(handler, 'routing')) {
    mustFit(style, 'node', `${name} with routing(req, res)`);
    return routingServlet(handler as RoutingApplication);
  }
  if (hasMethod(handler, 'fetch')) {
    mustFit(style, 'fetch', `${name} with fetch(request)`);
    return fetchServlet((request) => (handler as FetchApplication).fetch(request));
  }
  throw new TypeError(`${name} is ${kindOf(handler)}; allowed are ${ALLOWED}`);
}

/** Resolves when the application can take requests, with nothing to wait for at once. Rejects when it cannot. */
export async function readinessOf(handler: Handler): Promise<void> {
  if (typeof handler === 'object' && hasMethod(handler, 'routing') && hasMethod(handler, 'ready')) {
    await (handler as Required<RoutingApplication>).ready();
  }
}

function mustFit(style: HandlerStyle | null, fits: HandlerStyle, what: string): void {
  if (style === null || style === fits) return;
  throw new TypeError(`style "${style}": ${what} is of style "${fits}"`);
}

function hasMethod(value: unknown, name: string): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return typeof (value as Record<string, unknown>)[name] === 'function';
}

/** Applications of Express and connect take next() as well, and know better what to answer without it. */
function isMiddleware(handler: { length: number }): handler is NodeMiddleware {
  return handler.length === 3 && typeof (handler as { handle?: unknown }).handle !== 'function';
}

function ending(middleware: NodeMiddleware): NodeListener {
  return (request, response) => {
    const socket = request.socket as unknown as RequestSocket;
    return middleware(request, response, (error) => {
      if (error != null) {
        socket.fail(error);
      } else if (!response.headersSent) {
        response.statusCode = 404;
        response.setHeader('Content-Type', 'text/plain; charset=utf-8');
        response.end('404 Nothing is here.\n');
      }
    });
  };
}

/** Plugins of Fastify load before its first request. */
function routingServlet(application: RoutingApplication): Servlet {
  const servlet = nodeServlet((request, response) => application.routing(request, response));
  if (application.ready === undefined) return servlet;
  let isReady = false;
  const ready = Promise.resolve(application.ready()).then(() => {
    isReady = true;
  });
  ready.catch(() => undefined);
  return (exchange) => {
    if (isReady) {
      servlet(exchange);
      return;
    }
    ready.then(
      () => servlet(exchange),
      (error) => {
        const log = `the application is not ready: ${errorLine(error)}`;
        exchange.refuse({ status: 500, reason: 'The application failed.', log });
      },
    );
  };
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return `${value}`;
  if (typeof value !== 'object') return `a ${typeof value}`;
  const keys = Object.keys(value).slice(0, 5).join(', ');
  return keys === '' ? 'an object with nothing of these' : `an object with ${keys}`;
}
