// SPDX-License-Identifier: Apache-2.0
// From what a handler was given back to what the web server told about it.
import { IncomingMessage } from 'node:http';
import type { RequestMetadata } from '../metadata.ts';

/** Of an IncomingMessage of ours: own property, since frameworks change its prototype. */
export const METADATA: unique symbol = Symbol('usher.metadata');

const ofRequests = new WeakMap<Request, RequestMetadata>();

export function remember(request: Request, metadata: RequestMetadata): void {
  ofRequests.set(request, metadata);
}

/** @throws TypeError when it is not a request that serve() gave to a handler */
export function metadataOf(request: IncomingMessage | Request): RequestMetadata {
  const found =
    request instanceof IncomingMessage
      ? (request as IncomingMessage & { [METADATA]?: RequestMetadata })[METADATA]
      : ofRequests.get(request);
  if (found !== undefined) return found;
  throw new TypeError(
    'metadataOf: allowed are the http.IncomingMessage (of Express: req, of Fastify: request.raw) and the' +
      ' Request that a handler was given by serve(), not copies of them',
  );
}
