// SPDX-License-Identifier: Apache-2.0
// The head of a backend's answer, as a program under FastCGI writes it. A backend's framing ends here:
// what it says of connection and transfer is between it and us.
import { STATUS_CODES } from 'node:http';
import type { Field } from '../../protocols/ajp13/types.ts';
import { Failure } from './failure.ts';
import { type PathMapping, shown } from './request-path.ts';

export interface ResponseHead {
  text: string;
  /** What Content-Length promises; -1: nothing. */
  bodyBytes: number;
  /** Bytes of a body are dropped: the answer has none. */
  hasNoBody: boolean;
}

/** Status is the FastCGI server's word for the status, and has been said. */
const DROPPED = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'status',
  'x-usher-backend',
  'x-usher-route',
]);
/** Every shorter or longer name needs no look. */
const CONTENT_LENGTH = 'content-length';

/** @param extra Fields of ours, each with its line end. */
export function responseHead(
  status: number,
  reason: string,
  fields: readonly Field[],
  method: string,
  extra: string,
  mapping: PathMapping,
  authority: string,
): ResponseHead | Failure {
  const isBodyless = status === 204 || status === 205 || status === 304;
  let text = `Status: ${status} ${reasonOf(status, reason)}\r\n`;
  let length = '';
  for (const [name, value] of fields) {
    const key = name.toLowerCase();
    if (DROPPED.has(key)) continue;
    if (key === CONTENT_LENGTH) {
      if (length !== '' && length !== value) {
        return new Failure(502, `two Content-Length: ${shown(length)} and ${shown(value)}`);
      }
      if (length === '' && status !== 204 && status !== 205) text += `Content-Length: ${value}\r\n`;
      length = value;
      continue;
    }
    text += `${name}: ${mapping.isIdentity ? value : mapped(key, value, mapping, authority)}\r\n`;
  }
  const hasNoBody = isBodyless || method === 'HEAD';
  if (length !== '' && !isLength(length)) {
    return new Failure(502, `Content-Length: ${shown(length)}: expected a number`);
  }
  return {
    text: `${text + extra}\r\n`,
    bodyBytes: hasNoBody || length === '' ? -1 : Number(length),
    hasNoBody,
  };
}

/** Tomcat gives the status's digits as the reason. */
function reasonOf(status: number, reason: string): string {
  if (reason !== '' && reason !== String(status)) return reason;
  return STATUS_CODES[status] ?? 'Unknown';
}

function isLength(text: string): boolean {
  return /^\d+$/.test(text) && Number.isSafeInteger(Number(text));
}

/** -context back to -mount, where a value says a path of the application. */
function mapped(key: string, value: string, mapping: PathMapping, authority: string): string {
  if (key === 'location' || key === 'content-location') {
    return mappedReference(value, mapping, authority);
  }
  if (key === 'set-cookie') {
    return value.replace(
      /(;\s*path\s*=\s*)([^;]*)/i,
      (_, before: string, path: string) => before + mapping.toServer(path.trim()),
    );
  }
  return value;
}

/** @param authority host[:port] that the client has asked. */
function mappedReference(value: string, mapping: PathMapping, authority: string): string {
  if (value.startsWith('/') && !value.startsWith('//')) return mapping.toServer(value);
  const absolute = /^(?:https?:)?\/\/([^/?#]*)/i.exec(value);
  if (absolute?.[1]?.toLowerCase() !== authority.toLowerCase()) return value;
  const prefix = absolute[0];
  const path = value.slice(prefix.length);
  return prefix + mapping.toServer(path.startsWith('/') ? path : `/${path}`);
}
