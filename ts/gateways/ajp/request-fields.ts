// SPDX-License-Identifier: Apache-2.0
// Header fields of a request, from FastCGI parameters.
import type { Field } from '../../protocols/ajp13/types.ts';
import { Params, type ParamsOrder } from '../../protocols/fastcgi/index.ts';
import { Failure } from './failure.ts';
import { shown } from './request-path.ts';

/**
 * For the connection between client and web server only, or made anew by us; Proxy, because programs
 * take it for the environment variable HTTP_PROXY.
 */
const DROPPED = new Set([
  'HTTP_CONNECTION',
  'HTTP_KEEP_ALIVE',
  'HTTP_PROXY_CONNECTION',
  'HTTP_TE',
  'HTTP_TRAILER',
  'HTTP_TRANSFER_ENCODING',
  'HTTP_UPGRADE',
  'HTTP_HTTP2_SETTINGS',
  'HTTP_EXPECT',
  'HTTP_PROXY',
  'HTTP_CONTENT_LENGTH',
  'HTTP_CONTENT_TYPE',
]);
/** Clients that offer these expect a plain answer as well. */
const IGNORED_UPGRADES = /^\s*(h2c|TLS\/[\d.]+)\s*$/i;
const NAMES_MAX = 1000;

/** HTTP_ACCEPT_LANGUAGE → Accept-Language; null: dropped. Names repeat from request to request. */
const names = new Map<string, string | null>();

function fieldName(param: string): string | null {
  const known = names.get(param);
  if (known !== undefined) return known;
  const name = DROPPED.has(param) ? null : unmangled(param.slice('HTTP_'.length));
  if (names.size < NAMES_MAX) names.set(param, name);
  return name;
}

function unmangled(name: string): string {
  return name
    .toLowerCase()
    .split('_')
    .map((word) => word.charAt(0).toUpperCase() + word.slice(1))
    .join('-');
}

/** Which parameters are fields, and of which names. */
type FieldNames = readonly (readonly [param: string, name: string])[];

/** By the order of the parameters, which many requests have in common. */
const ordered = new WeakMap<ParamsOrder, FieldNames>();

function fieldNames(params: ReadonlyMap<string, string>): FieldNames {
  if (!(params instanceof Params)) return fieldsAmong(params.keys());
  let known = ordered.get(params.order);
  if (known === undefined) {
    known = fieldsAmong(params.keys());
    ordered.set(params.order, known);
  }
  return known;
}

function fieldsAmong(params: Iterable<string>): FieldNames {
  const fields: [string, string][] = [];
  for (const param of params) {
    const name = param.startsWith('HTTP_') ? fieldName(param) : null;
    if (name !== null) fields.push([param, name]);
  }
  return fields;
}

/** Content-Length is not among them: it follows from the body's mode. */
export function requestFields(params: ReadonlyMap<string, string>): Field[] {
  const upgrade = params.get('HTTP_UPGRADE');
  if (upgrade && !upgrade.split(',').every((one) => IGNORED_UPGRADES.test(one))) {
    throw new Failure(501, `Upgrade: ${shown(upgrade)}: AJP cannot carry another protocol`);
  }
  const named = namedByConnection(params.get('HTTP_CONNECTION'));
  const fields: Field[] = [];
  for (const [param, name] of fieldNames(params)) {
    if (!named?.has(param)) fields.push([name, params.get(param) as string]);
  }
  const type = params.get('CONTENT_TYPE');
  if (type) fields.push(['Content-Type', type]);
  return fields;
}

/** Fields that the client declares to be for this connection only, as parameters; not all may be. */
function namedByConnection(connection: string | undefined): Set<string> | undefined {
  if (!connection || /^(close|keep-alive)$/i.test(connection)) return undefined;
  const params = connection
    .split(',')
    .map((name) => `HTTP_${name.trim().toUpperCase().replaceAll('-', '_')}`);
  return new Set(params.filter((param) => param !== 'HTTP_HOST' && param !== 'HTTP_COOKIE'));
}
