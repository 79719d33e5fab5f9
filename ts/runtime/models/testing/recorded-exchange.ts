// SPDX-License-Identifier: Apache-2.0
// A request of a connection that is none: what was answered is kept.
import { Exchange, type FieldList, type RequestHead } from '../../exchange.ts';
import type { RequestMetadata } from '../../metadata.ts';

export const metadata: RequestMetadata = {
  protocol: 'fastcgi',
  role: 'responder',
  remoteUser: 'fran\xe7ois',
  authType: 'Basic',
  remoteAddress: '192.0.2.1',
  remotePort: 4711,
  remoteHost: null,
  localAddress: null,
  serverName: 'example.org',
  serverPort: 443,
  serverSoftware: null,
  isSecure: true,
  tls: {
    protocol: 'TLSv1.3',
    cipher: null,
    sessionId: null,
    keyBits: 256,
    clientCertificate: null,
  },
  scriptName: '/app',
  pathInfo: '',
  pathTranslated: null,
  scriptFilename: null,
  documentRoot: null,
  route: null,
  zone: null,
  servlet: null,
  variables: new Map([
    ['SCRIPT_NAME', '/app'],
    ['X', '\xe9'],
  ]),
};

export interface Answer {
  status: number;
  fields: FieldList;
  body: Buffer;
  isBroken: boolean;
}

export class RecordedExchange extends Exchange {
  status = 0;
  fields: FieldList = [];
  readonly chunks: Buffer[] = [];
  readonly lines: string[] = [];
  flushes = 0;
  isBroken = false;
  /** The next write() says false. */
  isFull = false;
  /** Bytes of the body that may still come. */
  #unsent: Buffer[];
  #isFlowing = false;
  #isEndSent = false;
  /** Resolves when it is over. */
  readonly whenOver: Promise<void>;
  #resolve: () => void = () => undefined;

  constructor(url: string, body: readonly Buffer[] = [], head: Partial<RequestHead> = {}) {
    super({
      method: body.length > 0 ? 'POST' : 'GET',
      url,
      httpVersion: '1.1',
      fields: ['Host', 'example.org'],
      bodyBytes: body.length > 0 ? null : 0,
      metadata,
      ...head,
    });
    this.#unsent = [...body];
    this.whenOver = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('latin1');
  }

  get bytes(): number {
    return this.chunks.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  get retryAfter(): string | null {
    const at = this.fields.indexOf('Retry-After');
    return at === -1 ? null : (this.fields[at + 1] ?? null);
  }

  /** Bytes of the body that nobody wanted yet. */
  get unread(): number {
    return this.#unsent.reduce((sum, chunk) => sum + chunk.length, 0);
  }

  get isFlowing(): boolean {
    return this.#isFlowing;
  }

  /** The client has left. */
  leave(): void {
    this.abort(new Error('the client has left'));
    this.#resolve();
  }

  /** The connection has room again. */
  drain(): void {
    this.isFull = false;
    this.listener?.onDrain();
  }

  override pauseBody(): void {
    this.#isFlowing = false;
  }

  override resumeBody(): void {
    if (this.#isFlowing) return;
    this.#isFlowing = true;
    setImmediate(() => this.#flow());
  }

  override report(line: string): void {
    this.lines.push(line);
  }

  protected override sendHead(status: number, _reason: string, fields: FieldList): void {
    this.status = status;
    this.fields = fields;
  }

  protected override sendBody(bytes: Buffer): boolean {
    this.chunks.push(bytes);
    return !this.isFull;
  }

  protected override sendNow(): void {
    this.flushes++;
  }

  protected override sendEnd(last: Buffer | null): void {
    if (last !== null) this.chunks.push(last);
    this.#resolve();
  }

  protected override sendBreak(): void {
    this.isBroken = true;
    this.#resolve();
  }

  #flow(): void {
    while (this.#isFlowing && this.listener !== null) {
      const chunk = this.#unsent.shift();
      if (chunk === undefined) {
        if (!this.#isEndSent) this.listener.onBodyEnd();
        this.#isEndSent = true;
        return;
      }
      this.listener.onBody(chunk);
    }
  }
}
