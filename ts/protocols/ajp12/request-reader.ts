// SPDX-License-Identifier: Apache-2.0
// A request of AJP 1.2 from its marks and strings: one at a time, in whatever pieces they come.
import { statedBodyMode } from '../ajp13/body-mode.ts';
import { byteName, forbiddenByte, LINE, type TextKind, TOKEN, URI } from '../ajp13/text.ts';
import { ProtocolError } from '../protocol-error.ts';
import { END, ENVIRONMENT, HEADER, NULL_LENGTH, STRINGS, type TextName } from './codes.ts';
import type { Ajp12Request, Field } from './types.ts';

export interface Ajp12Limits {
  /** Of all strings of a request. */
  requestBytes: number;
  /** Of header fields and of variables, each. */
  fields: number;
}

type Mark = typeof ENVIRONMENT | typeof HEADER;

export class RequestReader {
  readonly #limits: Ajp12Limits;
  readonly #texts = new Map<TextName | 'port', string>();
  readonly #environment: Field[] = [];
  readonly #fields: Field[] = [];
  #next = 0;
  /** The mark whose name and value are to come, and the name when it has. */
  #mark: Mark | null = null;
  #name: string | null = null;
  #bytes = 0;

  constructor(limits: Ajp12Limits) {
    this.#limits = limits;
  }

  /**
   * Takes marks and strings from `at` on that are whole before `end`. Returns where it stopped; `isDone`:
   * behind the mark that ends a request. Throws ProtocolError: 400, 431 beyond the limits.
   */
  read(bytes: Buffer, at: number, end: number): { at: number; isDone: boolean } {
    let next = at;
    while (next < end) {
      if (this.#next === STRINGS.length && this.#mark === null) {
        const mark = bytes[next] as number;
        next++;
        if (mark === END) return { at: next, isDone: true };
        if (mark !== ENVIRONMENT && mark !== HEADER) {
          throw refusal(`mark ${mark} in a request, known are 3, 4 and 5`, 400);
        }
        this.#mark = mark;
        continue;
      }
      if (end - next < 2) break;
      const length = bytes.readUInt16BE(next);
      const isNull = length === NULL_LENGTH;
      const stringEnd = next + 2 + (isNull ? 0 : length);
      this.#checkBytes(stringEnd - next);
      if (stringEnd > end) break;
      this.#bytes += stringEnd - next;
      this.#string(bytes, next + 2, stringEnd);
      next = stringEnd;
    }
    return { at: next, isDone: false };
  }

  /** What was read, and the length of the body: 411 where it is not known. */
  finish(): { request: Ajp12Request; bodyBytes: number } {
    const body = statedBodyMode(this.#fields) ?? { kind: 'none' };
    // mod_jk passes the header on and sends no body at all.
    if (body.kind === 'chunked') throw refusal('a body needs a Content-Length', 411);
    const text = (name: TextName | 'port') => this.#texts.get(name) ?? '';
    const port = text('port');
    if (!/^[0-9]{1,5}$/.test(port) || Number(port) > 0xffff) {
      throw refusal('the server port is no number within 0 to 65535', 400);
    }
    const texts = Object.fromEntries(
      STRINGS.filter((name) => name !== 'copy' && name !== 'none' && name !== 'port').map(
        (name) => [name, text(name as TextName)],
      ),
    ) as Record<TextName, string>;
    const [environment, fields] = [this.#environment, this.#fields];
    const request = { ...texts, serverPort: Number(port), environment, fields };
    return { request, bodyBytes: body.kind === 'length' ? body.bytes : 0 };
  }

  #checkBytes(more: number): void {
    const { requestBytes } = this.#limits;
    if (this.#bytes + more > requestBytes) {
      throw refusal(`a request of more than ${requestBytes} bytes`, 431);
    }
  }

  #string(bytes: Buffer, at: number, end: number): void {
    if (this.#next < STRINGS.length) {
      this.#addText(STRINGS[this.#next] as string, bytes, at, end);
      this.#next++;
    } else if (this.#name === null) {
      const isHeader = this.#mark === HEADER;
      const what = isHeader ? 'header name' : 'variable name';
      if (at === end) throw refusal(`a ${what} is empty`, 400);
      this.#name = read(bytes, at, end, isHeader ? TOKEN : LINE, what);
    } else {
      const list = this.#mark === HEADER ? this.#fields : this.#environment;
      if (list.length === this.#limits.fields) {
        throw refusal(`more than ${this.#limits.fields} headers or variables`, 431);
      }
      list.push([this.#name, read(bytes, at, end, LINE, this.#name)]);
      this.#name = null;
      this.#mark = null;
    }
  }

  #addText(name: string, bytes: Buffer, at: number, end: number): void {
    if (name === 'copy' || name === 'none') return;
    const kind = name === 'method' ? TOKEN : name === 'queryString' ? URI : LINE;
    const text = read(bytes, at, end, kind, name);
    const first = this.#texts.get(name as TextName);
    if (name === 'method' && (first === undefined ? text === '' : text !== '' && text !== first)) {
      throw refusal('the method is empty, or two different ones came', 400);
    }
    if (first === undefined) this.#texts.set(name as TextName, text);
  }
}

function read(bytes: Buffer, at: number, end: number, kind: TextKind, what: string): string {
  const wrong = forbiddenByte(bytes, at, end, kind);
  if (wrong !== -1) {
    const name = byteName(bytes[wrong] as number);
    throw refusal(`${what} holds ${name} at ${wrong - at}, which is not allowed there`, 400);
  }
  return bytes.toString('latin1', at, end);
}

export function refusal(message: string, status: number): ProtocolError {
  return new ProtocolError(`AJP 1.2: ${message}`, status);
}
