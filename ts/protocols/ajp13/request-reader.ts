// SPDX-License-Identifier: Apache-2.0
// FORWARD_REQUEST at a container's side. Who may connect here can be anybody, so what is not understood,
// or not allowed by name, is refused: nothing is skipped.

import { ProtocolError } from '../protocol-error.ts';
import { ATTRIBUTE, METHOD_STORED, METHODS, REQUEST_HEADERS } from './codes.ts';
import type { Cursor } from './cursor.ts';
import { LINE, LINES, type TextKind, TOKEN, URI } from './text.ts';
import type { Field, ForwardRequest, RequestAttributes } from './types.ts';

/** A code of two bytes and a null. */
const FIELD_BYTES_MIN = 4;

/** What web servers send of themselves. */
const OWN_ATTRIBUTES = [
  'AJP_REMOTE_PORT',
  'AJP_LOCAL_ADDR',
  'AJP_SSL_PROTOCOL',
  'JK_LB_ACTIVATION',
];

/** With these, Ghostcat (CVE-2020-1938) had containers read and run their own files. */
const INCLUDE = /^(javax|jakarta)\.servlet\.include\./i;

/** Names of request attributes that are taken: web servers' own, and `others`. Throws a RangeError for
 * one that never is. */
export function allowedAttributes(others: readonly string[]): ReadonlySet<string> {
  const wrong = others.find((name) => INCLUDE.test(name));
  if (wrong !== undefined) throw new RangeError(`AJP: attribute ${wrong} cannot be allowed`);
  return new Set([...OWN_ATTRIBUTES, ...others]);
}

export interface RequestLimits {
  attributes: ReadonlySet<string>;
  headersMax: number;
}

/** The rest of the message after its type. Throws ProtocolError: 400, 403 for attributes that are not
 * allowed, 431 for too many headers. */
export function readForwardRequest(cursor: Cursor, limits: RequestLimits): ForwardRequest {
  const code = cursor.byte('method');
  if (code !== METHOD_STORED && !METHODS[code]) {
    throw cursor.error(`method code ${code}, known are 1 to ${METHODS.length - 1} and 255`);
  }
  const protocol = cursor.text('protocol', LINE);
  const uri = readUri(cursor);
  const remoteAddr = cursor.string('remote address', LINE) ?? '';
  const remoteHost = cursor.string('remote host', LINE);
  const serverName = cursor.string('server name', LINE) ?? '';
  const serverPort = cursor.uint16('server port');
  const ssl = cursor.byte('is_ssl');
  if (ssl > 1) throw cursor.error(`is_ssl is ${ssl}, 0 and 1 are allowed`);
  const fields = readFields(cursor, limits.headersMax);
  const { attributes, storedMethod } = readAttributes(cursor, limits.attributes);
  cursor.finish('the end of the attributes');
  if ((code === METHOD_STORED) !== (storedMethod !== null)) {
    throw cursor.error(`method code ${code} ${storedMethod === null ? 'without' : 'and'} a name`);
  }
  const method = storedMethod ?? (METHODS[code] as string);
  const isSsl = ssl === 1;
  return {
    ...{ method, protocol, uri, remoteAddr, remoteHost, serverName, serverPort, isSsl },
    ...{ fields, attributes },
  };
}

/** A path, or `*`: an absolute URI would say of another host than the server's name does. */
function readUri(cursor: Cursor): string {
  const uri = cursor.text('uri', URI);
  if (!uri.startsWith('/') && uri !== '*') throw cursor.error('the uri is no path');
  if (uri.includes('?')) throw cursor.error('the uri holds a query');
  return uri;
}

function readFields(cursor: Cursor, countMax: number): Field[] {
  const count = cursor.uint16('number of headers');
  cursor.fits(count, FIELD_BYTES_MIN, 'headers');
  if (count > countMax) {
    throw new ProtocolError(`AJP: ${count} headers, at most ${countMax} are allowed`, 431);
  }
  const fields: Field[] = [];
  for (let i = 0; i < count; i++) {
    const name = cursor.name('header name', REQUEST_HEADERS);
    fields.push([name, cursor.string(name, LINE) ?? '']);
  }
  return fields;
}

type TextAttribute = Exclude<keyof RequestAttributes, 'others' | 'sslKeySize'>;

/** By code: attributes of one string. */
const texts: ReadonlyMap<number, readonly [TextAttribute, TextKind]> = new Map([
  [ATTRIBUTE.context, ['context', LINE]],
  [ATTRIBUTE.servletPath, ['servletPath', LINE]],
  [ATTRIBUTE.remoteUser, ['remoteUser', LINE]],
  [ATTRIBUTE.authType, ['authType', LINE]],
  [ATTRIBUTE.queryString, ['queryString', URI]],
  [ATTRIBUTE.route, ['route', LINE]],
  [ATTRIBUTE.sslCert, ['sslCert', LINES]],
  [ATTRIBUTE.sslCipher, ['sslCipher', LINE]],
  [ATTRIBUTE.sslSession, ['sslSession', LINE]],
  [ATTRIBUTE.secret, ['secret', LINE]],
]);

function readAttributes(
  cursor: Cursor,
  allowed: ReadonlySet<string>,
): { attributes: RequestAttributes; storedMethod: string | null } {
  const attributes: RequestAttributes = {};
  const others: Field[] = [];
  let storedMethod: string | null = null;
  for (;;) {
    const code = cursor.byte('attribute');
    const text = texts.get(code);
    if (text) {
      const [name, kind] = text;
      if (attributes[name] !== undefined) throw cursor.error(`attribute ${name} comes twice`);
      attributes[name] = cursor.string(name, kind) ?? '';
    } else if (code === ATTRIBUTE.other) {
      others.push(readOther(cursor, allowed));
    } else if (code === ATTRIBUTE.sslKeySize) {
      if (attributes.sslKeySize !== undefined) throw cursor.error('the key size comes twice');
      attributes.sslKeySize = cursor.uint16('key size');
    } else if (code === ATTRIBUTE.storedMethod) {
      if (storedMethod !== null) throw cursor.error('the stored method comes twice');
      storedMethod = cursor.text('stored method', TOKEN);
      if (storedMethod === '') throw cursor.error('the stored method is empty');
    } else if (code === ATTRIBUTE.end) {
      break;
    } else {
      throw cursor.error(`attribute code ${code}, known are 1 to 13 and 255`);
    }
  }
  if (others.length > 0) attributes.others = others;
  return { attributes, storedMethod };
}

function readOther(cursor: Cursor, allowed: ReadonlySet<string>): Field {
  const name = cursor.text('attribute name', LINE);
  if (!allowed.has(name)) {
    throw new ProtocolError(`AJP: request attribute ${name} is not allowed`, 403);
  }
  return [name, cursor.string(name, LINES) ?? ''];
}
