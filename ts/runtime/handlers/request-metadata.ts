// SPDX-License-Identifier: Apache-2.0
// From what a handler was given back to what the web server told about it.
import { IncomingMessage } from 'node:http';
import type { RequestMetadata } from '../metadata.ts';

/** An own property of each request of ours, since frameworks change prototypes; the same in every copy of
 * this library, since servlets may have another one than the engine that runs them. */
export const METADATA: unique symbol = Symbol.for('usher.metadata');

interface Told {
  [METADATA]?: RequestMetadata;
}

export function remember(request: Request, metadata: RequestMetadata): void {
  Object.defineProperty(request, METADATA, { value: metadata });
}

/** @throws TypeError when it is not a request that serve() gave to a handler */
export function metadataOf(request: IncomingMessage | Request): RequestMetadata {
  const isRequest = request instanceof IncomingMessage || request instanceof Request;
  const found = isRequest ? (request as Told)[METADATA] : undefined;
  if (found !== undefined) return found;
  throw new TypeError(
    'metadataOf: allowed are the http.IncomingMessage (of Express: req, of Fastify: request.raw) and the' +
      ' Request that a handler was given by serve(), not copies of them',
  );
}
