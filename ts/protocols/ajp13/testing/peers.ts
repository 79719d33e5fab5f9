// SPDX-License-Identifier: Apache-2.0
// For tests: bytes written by hand, a request to change, and decoders that write down what they tell.
import { AjpClientDecoder } from '../client-decoder.ts';
import { AjpServerDecoder, type AjpServerOptions } from '../server-decoder.ts';
import type { BodyMode, ForwardRequest } from '../types.ts';

/** Strings are hex with blanks; in lists hex and literal text take turns. */
export function hex(...parts: (string | string[])[]): Buffer {
  const pieces = parts.flatMap((part) =>
    typeof part === 'string'
      ? [Buffer.from(part.replaceAll(' ', ''), 'hex')]
      : part.map((text, at) =>
          at % 2 === 0 ? Buffer.from(text.replaceAll(' ', ''), 'hex') : Buffer.from(text, 'latin1'),
        ),
  );
  return Buffer.concat(pieces);
}

/** `bytes` as the payload of a packet with that magic. */
export function packet(magic: '1234' | '4142', ...parts: (string | string[])[]): Buffer {
  const payload = hex(...parts);
  const head = hex(magic, '0000');
  head.writeUInt16BE(payload.length, 2);
  return Buffer.concat([head, payload]);
}

export function request(changes: Partial<ForwardRequest> = {}): ForwardRequest {
  return {
    method: 'GET',
    protocol: 'HTTP/1.1',
    uri: '/a%20',
    remoteAddr: '127.0.0.1',
    remoteHost: null,
    serverName: 'a',
    serverPort: 80,
    isSsl: false,
    fields: [],
    attributes: {},
    ...changes,
  };
}

/** Adds body bytes to the last event when that is body too: how a body is cut says nothing. */
function addBody(events: string[], bytes: Buffer): void {
  const text = bytes.toString('latin1');
  const last = events.at(-1);
  if (last?.startsWith('body ')) events[events.length - 1] = last + text;
  else events.push(`body ${text}`);
}

export class ClientLog {
  readonly events: string[] = [];
  readonly decoder: AjpClientDecoder;

  constructor(packetBytes?: number) {
    const events = this.events;
    this.decoder = new AjpClientDecoder(
      {
        onHead: (status, reason, fields) => {
          const list = fields.map(([name, value]) => ` ${name}=${value}`);
          events.push(`head ${status} ${reason}${list.join('')}`);
        },
        onBody: (bytes) => {
          if (bytes.length === 0) events.push('flush');
          else addBody(events, bytes);
        },
        onGetBody: (wanted) => events.push(`get ${wanted}`),
        onEnd: (reuse) => events.push(`end ${reuse}`),
        onPong: () => events.push('pong'),
      },
      packetBytes,
    );
  }

  push(...chunks: Buffer[]): void {
    for (const chunk of chunks) this.decoder.push(chunk);
  }
}

export class ServerLog {
  readonly events: string[] = [];
  readonly requests: ForwardRequest[] = [];
  readonly decoder: AjpServerDecoder;
  /** Called with each request, after it was written down. */
  onRequest: (request: ForwardRequest, body: BodyMode) => void = () => {};
  onBodyEnd: () => void = () => {};

  constructor(options: Partial<AjpServerOptions> = {}) {
    const events = this.events;
    this.decoder = new AjpServerDecoder(
      {
        onRequest: (request, body) => {
          this.requests.push(request);
          const mode = body.kind === 'length' ? `length ${body.bytes}` : body.kind;
          events.push(`${request.method} ${request.uri} ${mode}`);
          this.onRequest(request, body);
        },
        onBody: (bytes) => addBody(events, bytes),
        onBodyEnd: () => {
          events.push('body-end');
          this.onBodyEnd();
        },
        onPing: () => events.push('ping'),
        onDrained: () => events.push('drained'),
      },
      { secret: null, ...options },
    );
  }

  push(...chunks: Buffer[]): void {
    for (const chunk of chunks) this.decoder.push(chunk);
  }
}
