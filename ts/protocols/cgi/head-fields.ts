// SPDX-License-Identifier: Apache-2.0
// The lines of a head, and what they say together. Source: RFC 3875 §6.
import { CgiHeadError } from './cgi-head-error.ts';
import type { CgiHead, Field } from './types.ts';

/** They speak of a connection, and the program's is not the client's. */
const hopByHop = new Set([
  'connection',
  'keep-alive',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]);
const atMostOnce = new Set(['content-type', 'content-length', 'location', 'status']);

export class HeadFields {
  readonly #fieldsMax: number;
  readonly #fields: Field[] = [];
  readonly #seen = new Set<string>();
  #count = 0;
  #isNph = false;
  #status: number | null = null;
  #reason = '';
  #location = '';

  constructor(fieldsMax: number) {
    this.#fieldsMax = fieldsMax;
  }

  /** @param line Without its end. @param number From 1. */
  add(line: string, number: number): void {
    const at = `line ${number} of the answer's head,`;
    if (number === 1 && line.startsWith('HTTP/')) {
      this.#addStatusLine(line, at);
      return;
    }
    if (/^[ \t]/.test(line)) throw new CgiHeadError(at, 'a line may not go on in the next', line);
    const name = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+(?=:)/.exec(line)?.[0];
    if (name === undefined) throw new CgiHeadError(at, 'not a header field, NAME: VALUE', line);
    const value = textOf(line.slice(name.length + 1), at, line);
    this.#count++;
    if (this.#count > this.#fieldsMax) {
      throw new CgiHeadError(at, `more than ${this.#fieldsMax} header fields`, line);
    }
    this.#addField(name, value, at, line);
  }

  #addField(name: string, value: string, at: string, line: string): void {
    const key = name.toLowerCase();
    if (atMostOnce.has(key)) {
      if (this.#seen.has(key)) throw new CgiHeadError(at, `a second ${name}`, line);
      this.#seen.add(key);
      if (value === '') return; // as if it had not been sent, RFC 3875 §6.3
    }
    if (key === 'status') {
      const status = /^(\d{3})(?: (.*))?$/.exec(value);
      this.#setStatus(status?.[1], status?.[2], at, line);
      return;
    }
    if (key === 'content-length' && !/^\d{1,15}$/.test(value)) {
      throw new CgiHeadError(at, 'not a number of bytes', line);
    }
    if (key === 'location') this.#location = value;
    if (!hopByHop.has(key)) this.#fields.push([name, value]);
    else if (this.#isNph && key === 'transfer-encoding') {
      throw new CgiHeadError(at, 'only an answer whose body is not encoded can be passed on', line);
    }
  }

  #addStatusLine(line: string, at: string): void {
    const match = /^HTTP\/\d\.\d (\d{3})(?: (.*))?$/s.exec(line);
    this.#isNph = true;
    this.#seen.add('status');
    this.#setStatus(match?.[1], match?.[2], at, line);
  }

  #setStatus(code: string | undefined, reason: string | undefined, at: string, line: string): void {
    const status = Number(code ?? 0);
    if (status < 200) throw new CgiHeadError(at, 'not a status, 200 to 999 and a reason', line);
    this.#status = status;
    this.#reason = textOf(reason ?? '', at, line);
  }

  /** The empty line was read. */
  finish(): CgiHead {
    if (this.#count === 0 && !this.#isNph) {
      throw new CgiHeadError("the answer's head", 'an empty line, and no header field before it');
    }
    const given = this.#status;
    const fields = this.#fields;
    const reason = this.#reason;
    const location = this.#location;
    if (this.#isNph) return { kind: 'nph', status: given ?? 200, reason, fields };
    if (location === '' || (given !== null && (given < 300 || given > 399))) {
      return { kind: 'document', status: given ?? 200, reason, fields };
    }
    if (this.#count === 1 && location.startsWith('/')) return { kind: 'local-redirect', location };
    return { kind: 'client-redirect', status: given ?? 302, reason, fields };
  }
}

/** Without blanks around it. @throws CgiHeadError when it cannot stand in a header of HTTP */
function textOf(value: string, at: string, line: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\x00-\x08\x0a-\x1f\x7f]/.test(value)) {
    throw new CgiHeadError(at, 'a control character in a header field', line);
  }
  // Not trim(), to which a byte of an UTF-8 character may be a blank; a loop, as $ would search again
  // at every blank.
  let start = 0;
  let end = value.length;
  while (start < end && isBlank(value.charCodeAt(start))) start++;
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--;
  return value.slice(start, end);
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09;
}
