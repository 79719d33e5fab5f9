// SPDX-License-Identifier: Apache-2.0
// Listeners of node:http, and all that is made of them: Express, Fastify, Koa.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Servlet } from '../exchange.ts';
import { makeRequest, makeResponse, type NodeRequest, type NodeResponse } from './node-messages.ts';
import { RequestSocket } from './request-socket.ts';

export type NodeListener = (request: IncomingMessage, response: ServerResponse) => unknown;

/** Differs from node:http in this: the body of a request ends with the answer to it (who still reads it gets
 * an error then); trailers are dropped; 1xx answers are not sent; a listener that throws or rejects is
 * answered for by 500. */
export function nodeServlet(listener: NodeListener): Servlet {
  const call = listener as unknown as (request: NodeRequest, response: NodeResponse) => unknown;
  return (exchange) => {
    const socket = new RequestSocket(exchange);
    exchange.open(socket);
    if (exchange.state !== 'open') return;
    const request = makeRequest(exchange.head, socket);
    socket.request = request;
    socket.response = makeResponse(request, socket);
    socket.run(call);
  };
}
