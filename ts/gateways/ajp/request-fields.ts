// SPDX-License-Identifier: Apache-2.0
// Header fields of a request, from FastCGI parameters.
import type { Field } from '../../protocols/ajp13/types.ts';
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

/** Content-Length is not among them: it follows from the body's mode. */
export function requestFields(params: ReadonlyMap<string, string>): Field[] {
  const upgrade = params.get('HTTP_UPGRADE');
  if (upgrade && !upgrade.split(',').every((one) => IGNORED_UPGRADES.test(one))) {
    throw new Failure(501, `Upgrade: ${shown(upgrade)}: AJP cannot carry another protocol`);
  }
  const named = namedByConnection(params.get('HTTP_CONNECTION'));
  const fields: Field[] = [];
  for (const [param, value] of params) {
    if (!param.startsWith('HTTP_')) continue;
    const name = fieldName(param);
    if (name === null || named?.has(param)) continue;
    fields.push([name, value]);
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
