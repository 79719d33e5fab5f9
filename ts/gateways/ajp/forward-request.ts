// SPDX-License-Identifier: Apache-2.0
// A request as the backend gets it, from the FastCGI parameters of the web server.
import type { Field, ForwardRequest, RequestAttributes } from '../../protocols/ajp13/types.ts';
import type { AjpOptions } from '../link.ts';
import type { Backend } from './backend.ts';
import { Failure } from './failure.ts';
import { isSsl, requestAttributes } from './request-attributes.ts';
import { requestFields } from './request-fields.ts';
import { escapePath, type PathMapping, serverPath } from './request-path.ts';
import { sessionRoutes } from './session-routes.ts';

export interface PreparedRequest {
  request: ForwardRequest;
  /** To be completed: Content-Length. */
  fields: Field[];
  attributes: RequestAttributes;
  /** As the backend sees it, decoded. */
  path: string;
  /** Of its session. */
  routes: readonly string[];
  /** The web server's name and version. */
  serverSoftware: string;
}

const NO_ROUTES: readonly string[] = [];

export type RequestOptions = Pick<
  AjpOptions,
  'attributes' | 'stickySession' | 'sessionCookie' | 'sessionPath'
>;

/** Throws Failure or ProtocolError for a request that no backend may get. */
export function prepareRequest(
  params: ReadonlyMap<string, string>,
  options: RequestOptions,
  mapping: PathMapping,
): PreparedRequest {
  const method = params.get('REQUEST_METHOD');
  if (!method) throw new Failure(400, 'the web server gave no REQUEST_METHOD');
  const path = mapping.toBackend(serverPath(params));
  const ssl = isSsl(params);
  const fields = requestFields(params);
  const attributes = requestAttributes(params, options.attributes);
  const request: ForwardRequest = {
    method,
    protocol: params.get('SERVER_PROTOCOL') || 'HTTP/1.0',
    uri: escapePath(path),
    remoteAddr: params.get('REMOTE_ADDR') ?? '',
    remoteHost: params.get('REMOTE_HOST') || null,
    // Both as the web server says them: its name, and the port that the client has reached. What the
    // client has asked for is in the field Host.
    serverName: params.get('SERVER_NAME') ?? '',
    serverPort: portOf(params.get('SERVER_PORT'), ssl),
    isSsl: ssl,
    fields,
    attributes,
  };
  const routes = options.stickySession
    ? sessionRoutes(path, params.get('HTTP_COOKIE'), options.sessionPath, options.sessionCookie)
    : NO_ROUTES;
  const serverSoftware = params.get('SERVER_SOFTWARE') ?? '';
  return { request, fields, attributes, path, routes, serverSoftware };
}

function portOf(text: string | undefined, ssl: boolean): number {
  const port = Number(text || Number.NaN);
  return Number.isInteger(port) && port > 0 && port <= 65535 ? port : ssl ? 443 : 80;
}

const ACTIVATIONS = { active: 'ACT', disabled: 'DIS', stopped: 'STP' } as const;
const ACTIVATION = 'JK_LB_ACTIVATION';

/** What a backend is told of itself; again, when another one is tried. */
export function addressTo(backend: Backend, attributes: RequestAttributes): void {
  if (backend.route === null) delete attributes.route;
  else attributes.route = backend.route;
  const others = (attributes.others ?? []).filter(([name]) => name !== ACTIVATION);
  others.push([ACTIVATION, ACTIVATIONS[backend.activation]]);
  attributes.others = others;
}
