// SPDX-License-Identifier: Apache-2.0
// What an engine sends: head as text like that of CGI, then the body until the connection ends.
import { byteName, forbiddenCharacter, LINE, type TextKind, TOKEN } from '../ajp13/text.ts';
import { ProtocolError } from '../protocol-error.ts';
import type { Field } from './types.ts';

/** Answers a ping; web servers look only whether something comes. */
export const PONG = Buffer.from([0]);

export interface Ajp12Answer {
  status: number;
  /** '' = the status in digits. */
  reason: string;
  fields: readonly Field[];
  /** Why the engine failed, for the web server's log; its answer is an error page then. */
  servletError?: string;
}

/**
 * Fields with an empty value are left out, as mod_jk refuses the whole answer for one. Throws
 * ProtocolError with status 500 for what may not be sent.
 */
export function encodeHead(answer: Ajp12Answer): Buffer {
  const { status, reason, servletError = '' } = answer;
  if (!(Number.isInteger(status) && status >= 200 && status <= 999)) {
    throw new ProtocolError(`AJP 1.2: status ${status}, 200 to 999 are allowed`, 500);
  }
  check(reason, LINE, 'reason');
  check(servletError, LINE, 'servlet error');
  let head = `Status: ${status} ${reason === '' ? status : reason}\r\n`;
  for (const [name, value] of answer.fields) {
    if (value === '') continue;
    check(name, TOKEN, 'a header name');
    check(value, LINE, name);
    if (name === '' || /^(status|servlet-error)$/i.test(name)) {
      throw new ProtocolError(`AJP 1.2: a field cannot be named "${name}"`, 500);
    }
    head += `${name}: ${value}\r\n`;
  }
  if (servletError !== '') head += `Servlet-Error: ${servletError}\r\n`;
  return Buffer.from(`${head}\r\n`, 'latin1');
}

function check(text: string, kind: TextKind, what: string): void {
  const wrong = forbiddenCharacter(text, kind);
  if (wrong === -1) return;
  const name = byteName(text.charCodeAt(wrong));
  throw new ProtocolError(`AJP 1.2: ${what} holds ${name} at ${wrong}, which may not be sent`, 500);
}
