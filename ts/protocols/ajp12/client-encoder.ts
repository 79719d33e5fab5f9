// SPDX-License-Identifier: Apache-2.0
// What a web server sends to an engine. The body follows the request as it is, Content-Length bytes.
import { byteName, forbiddenCharacter, LINE, type TextKind, TOKEN, URI } from '../ajp13/text.ts';
import { ProtocolError } from '../protocol-error.ts';
import { END, ENVIRONMENT, HEADER, NULL_LENGTH, REQUEST, SIGNAL, STRINGS } from './codes.ts';
import type { Ajp12Request, Signal } from './types.ts';

const signals = {
  ping: Buffer.from([SIGNAL, 0]),
  restart: Buffer.from([SIGNAL, 1]),
  shutdown: Buffer.from([SIGNAL, 15]),
};

/** Only a ping is answered, by one byte. */
export function encodeSignal(signal: Signal): Buffer {
  return signals[signal];
}

/**
 * Throws ProtocolError: 400 for bytes that may not be sent, 411 for Transfer-Encoding (the engine would
 * find no body), 431 for a string of 65535 bytes or more.
 */
export function encodeRequest(request: Ajp12Request): Buffer {
  const port = request.serverPort;
  if (!(Number.isInteger(port) && port >= 0 && port <= 0xffff)) {
    throw new ProtocolError(`AJP 1.2: server port ${port} is not within 0 to 65535`, 400);
  }
  if (request.method === '') throw new ProtocolError('AJP 1.2: the method is empty', 400);
  const parts = [String.fromCharCode(REQUEST)];
  for (const name of STRINGS) {
    if (name === 'port' || name === 'copy') parts.push(string(String(port), LINE, name));
    else if (name === 'none') parts.push(string('', LINE, name));
    else parts.push(string(request[name], kindOf(name), name));
  }
  for (const [name, value] of request.environment) {
    if (name === '') throw new ProtocolError('AJP 1.2: a variable without a name', 400);
    parts.push(String.fromCharCode(ENVIRONMENT), string(name, LINE, 'a variable'));
    parts.push(string(value, LINE, name));
  }
  for (const [name, value] of request.fields) {
    if (name === '') throw new ProtocolError('AJP 1.2: a header name is empty', 400);
    if (name.toLowerCase() === 'transfer-encoding') {
      throw new ProtocolError('AJP 1.2: a body needs a Content-Length', 411);
    }
    parts.push(String.fromCharCode(HEADER), string(name, TOKEN, 'a header name'));
    parts.push(string(value, LINE, name));
  }
  parts.push(String.fromCharCode(END));
  return Buffer.from(parts.join(''), 'latin1');
}

function kindOf(name: string): TextKind {
  if (name === 'method') return TOKEN;
  return name === 'queryString' ? URI : LINE;
}

/** As bytes in Latin-1 characters; what is empty is null, as mod_jk has it. */
function string(text: string, kind: TextKind, what: string): string {
  if (text === '') return '\xff\xff';
  if (text.length >= NULL_LENGTH) {
    throw new ProtocolError(`AJP 1.2: ${what} has ${text.length} bytes, 65534 are possible`, 431);
  }
  const wrong = forbiddenCharacter(text, kind);
  if (wrong !== -1) {
    const name = byteName(text.charCodeAt(wrong));
    throw new ProtocolError(
      `AJP 1.2: ${what} holds ${name} at ${wrong}, which may not be sent`,
      400,
    );
  }
  return String.fromCharCode(text.length >>> 8, text.length & 0xff) + text;
}
