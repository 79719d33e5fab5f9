// SPDX-License-Identifier: Apache-2.0
// For tests: a request to change, and decoders that write down what they tell.
import { Ajp12ClientDecoder } from '../client-decoder.ts';
import { Ajp12ServerDecoder, type Ajp12ServerOptions } from '../server-decoder.ts';
import type { Ajp12Request } from '../types.ts';

export function request(changes: Partial<Ajp12Request> = {}): Ajp12Request {
  return {
    ...{ method: 'GET', zone: '', servlet: '', engineHost: 'e', documentRoot: '', pathInfo: '' },
    ...{ pathTranslated: '', queryString: '', remoteAddr: '127.0.0.1', remoteHost: '' },
    ...{ remoteUser: '', authType: '', requestUri: '/a', scriptFilename: '', scriptName: '' },
    ...{ serverName: 'a', serverPort: 80, serverProtocol: 'HTTP/1.1', serverSignature: '' },
    ...{ serverSoftware: 's', route: '', environment: [], fields: [] },
    ...changes,
  };
}

/** How a body is cut says nothing. */
function addBody(events: string[], bytes: Buffer): void {
  const text = bytes.toString('latin1');
  const last = events.at(-1);
  if (last?.startsWith('body ')) events[events.length - 1] = last + text;
  else events.push(`body ${text}`);
}

export class ServerLog {
  readonly events: string[] = [];
  readonly requests: Ajp12Request[] = [];
  readonly decoder: Ajp12ServerDecoder;

  constructor(options: Ajp12ServerOptions = { authentication: null }) {
    const events = this.events;
    this.decoder = new Ajp12ServerDecoder(
      {
        onRequest: (request, bodyBytes) => {
          this.requests.push(request);
          events.push(`${request.method} ${request.requestUri} ${bodyBytes}`);
        },
        onBody: (bytes) => addBody(events, bytes),
        onBodyEnd: () => events.push('body-end'),
        onSignal: (signal, isAuthenticated) => events.push(`${signal} ${isAuthenticated}`),
      },
      options,
    );
  }

  push(...chunks: Buffer[]): void {
    for (const chunk of chunks) this.decoder.push(chunk);
  }
}

export interface ClientLogOptions {
  key: Buffer | null;
  /** What is sent; null: nothing yet. */
  expects: 'pong' | { method: string } | null;
}

export class ClientLog {
  readonly events: string[] = [];
  readonly decoder: Ajp12ClientDecoder;

  constructor(options: Partial<ClientLogOptions> = {}) {
    const { key, expects } = { key: null, expects: { method: 'GET' }, ...options };
    const events = this.events;
    this.decoder = new Ajp12ClientDecoder(
      {
        onChallenge: (answer) => events.push(`answer ${answer.toString('hex')}`),
        onHead: (status, reason, fields, servletError) => {
          const list = fields.map(([name, value]) => ` ${name}=${value}`);
          const error = servletError === '' ? '' : ` (${servletError})`;
          events.push(`head ${status} ${reason}${list.join('')}${error}`);
        },
        onBody: (bytes) => addBody(events, bytes),
        onEnd: () => events.push('end'),
        onPong: () => events.push('pong'),
      },
      key,
    );
    if (expects === 'pong') this.decoder.ping();
    else if (expects !== null) this.decoder.begin(expects.method);
  }

  push(...chunks: Buffer[]): void {
    for (const chunk of chunks) this.decoder.push(chunk);
  }

  /** The whole stream, to its end. */
  read(...chunks: (Buffer | string)[]): string[] {
    this.push(...chunks.map((chunk) => Buffer.from(chunk as string, 'latin1')));
    this.decoder.end();
    return this.events;
  }
}
