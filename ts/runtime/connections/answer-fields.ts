// SPDX-License-Identifier: Apache-2.0
// The fields of an answer on their way to a web server. What speaks of a connection is left out: that
// connection is not the one that the handler can know of.
import { STATUS_CODES } from 'node:http';
import { ProtocolError } from '../../protocols/protocol-error.ts';
import type { FieldList } from '../exchange.ts';

/** Status is what CGI, FastCGI and AJP 1.2 call the status line. */
const DROPPED = new Set([
  ...['connection', 'keep-alive', 'proxy-connection', 'te', 'trailer', 'transfer-encoding'],
  ...['upgrade', 'status', 'servlet-error'],
]);

type Use = 'sent' | 'dropped' | 'length';

/** Of names that were looked at: they repeat from answer to answer. */
const uses = new Map<string, Use>();
const USES_MAX = 1000;

const TOKEN = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+$/;
const FORBIDDEN = /[^\t\x20-\x7e\x80-\xff]/;

/**
 * Calls `take` with each field that goes out. What the handler says of the body's length goes as well,
 * right or wrong: all of these protocols have their own end of a body, and web servers go by that one, drop
 * the field or cut the client off, as they do with any program.
 * @throws ProtocolError with status 500 for a status, a name or a value that may not be sent
 */
export function takeFields(
  status: number,
  reason: string,
  fields: FieldList,
  take: (name: string, value: string) => void,
): void {
  if (!(Number.isInteger(status) && status >= 200 && status <= 999)) {
    throw new ProtocolError(`status ${status}: 200 to 999 are allowed`, 500);
  }
  if (FORBIDDEN.test(reason)) throw forbidden('the reason', reason);
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    const use = uses.get(name) ?? useOf(name);
    if (FORBIDDEN.test(value)) throw forbidden(`the value of ${name}`, value);
    // An answer 204 has no length, not even 0.
    if (use === 'sent' || (use === 'length' && status !== 204)) take(name, value);
  }
}

/** As a program under CGI and FastCGI writes it. @throws ProtocolError as takeFields */
export function cgiHead(status: number, reason: string, fields: FieldList): string {
  let head = '';
  takeFields(status, reason, fields, (name, value) => {
    head += `${name}: ${value}\r\n`;
  });
  return `Status: ${status} ${reasonOf(status, reason)}\r\n${head}\r\n`;
}

/** Names and values in pairs. @throws ProtocolError as takeFields */
export function sentPairs(status: number, reason: string, fields: FieldList): [string, string][] {
  const pairs: [string, string][] = [];
  takeFields(status, reason, fields, (name, value) => pairs.push([name, value]));
  return pairs;
}

/** And a flat list. @throws ProtocolError as takeFields */
export function sentList(status: number, reason: string, fields: FieldList): string[] {
  const list: string[] = [];
  takeFields(status, reason, fields, (name, value) => list.push(name, value));
  return list;
}

export function reasonOf(status: number, reason: string): string {
  return reason || STATUS_CODES[status] || 'Unknown';
}

function useOf(name: string): Use {
  if (!TOKEN.test(name)) throw forbidden('the name of a field', name);
  const key = name.toLowerCase();
  const use = DROPPED.has(key) ? 'dropped' : key === 'content-length' ? 'length' : 'sent';
  if (uses.size < USES_MAX) uses.set(name, use);
  return use;
}

function forbidden(what: string, text: string): ProtocolError {
  const shown = JSON.stringify(text.slice(0, 100));
  return new ProtocolError(`${what} holds characters that may not be sent: ${shown}`, 500);
}
