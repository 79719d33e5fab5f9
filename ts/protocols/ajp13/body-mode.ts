// SPDX-License-Identifier: Apache-2.0
// How a request's body goes is decided here, once, before a byte of the request is sent; both sides use
// it. Two parties that read these headers differently are how requests are smuggled.
import { ProtocolError } from '../protocol-error.ts';
import type { BodyMode, Field } from './types.ts';

/**
 * From header fields, names in any case. Throws ProtocolError: 400 for a length that is no number or two
 * that differ, for both a length and a transfer coding; 501 for any coding but `chunked`; 413 for a
 * length beyond 2^53.
 */
export function bodyModeOf(fields: Iterable<Field>): BodyMode {
  return statedBodyMode(fields) ?? { kind: 'none' };
}

/** The same; null where the fields say nothing of a body. */
export function statedBodyMode(fields: Iterable<Field>): BodyMode | null {
  let length: string | undefined;
  let coding: string | undefined;
  for (const [name, value] of fields) {
    // Both names are longer than nearly all others.
    if (name.length === 14 && name.toLowerCase() === 'content-length') {
      if (length !== undefined && length !== value) {
        throw new ProtocolError('two different values of Content-Length', 400);
      }
      length = value;
    } else if (name.length === 17 && name.toLowerCase() === 'transfer-encoding') {
      if (coding !== undefined) throw new ProtocolError('Transfer-Encoding comes twice', 400);
      coding = value;
    }
  }
  return decide(length, coding);
}

/**
 * From FastCGI or CGI parameters, where an empty one is one that is not there. CONTENT_LENGTH is the
 * web server's word, not the client's: nginx tells with it how long a chunked body was that it has
 * read, and so it counts then. `none` says that nobody told of a body: a server that speaks HTTP/2 and
 * does not buffer may yet send one, and who sees its first byte goes on as `chunked`.
 */
export function bodyModeOfParams(params: ReadonlyMap<string, string>): BodyMode {
  const coding = params.get('HTTP_TRANSFER_ENCODING') || undefined;
  const header = params.get('HTTP_CONTENT_LENGTH') || undefined;
  const length = params.get('CONTENT_LENGTH') || header;
  if (header !== undefined && header !== length) {
    throw new ProtocolError('two different values of Content-Length', 400);
  }
  const isClientsLength = header !== undefined;
  if (coding !== undefined) decide(isClientsLength ? length : undefined, coding);
  const mode = decide(length, length === undefined ? coding : undefined);
  return mode ?? { kind: 'none' };
}

function decide(length: string | undefined, coding: string | undefined): BodyMode | null {
  if (coding !== undefined) {
    if (length !== undefined) {
      throw new ProtocolError('both Content-Length and Transfer-Encoding', 400);
    }
    if (coding.toLowerCase() !== 'chunked') {
      throw new ProtocolError('a Transfer-Encoding other than "chunked"', 501);
    }
    return { kind: 'chunked' };
  }
  if (length === undefined) return null;
  if (!/^[0-9]+$/.test(length)) {
    throw new ProtocolError('a Content-Length that is not a number', 400);
  }
  const bytes = Number(length);
  if (!Number.isSafeInteger(bytes)) {
    throw new ProtocolError('a Content-Length beyond 9007199254740991', 413);
  }
  return bytes === 0 ? { kind: 'none' } : { kind: 'length', bytes };
}
