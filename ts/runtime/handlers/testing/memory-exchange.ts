// SPDX-License-Identifier: Apache-2.0
// An exchange without a connection: what a client sends is said by the test, what it gets is kept.
import { EventEmitter, once } from 'node:events';
import { Exchange, type FieldList, type RequestHead } from '../../exchange.ts';
import type { RequestMetadata } from '../../metadata.ts';

export function sampleMetadata(given: Partial<RequestMetadata> = {}): RequestMetadata {
  return {
    protocol: 'fastcgi',
    role: 'responder',
    remoteUser: null,
    authType: null,
    remoteAddress: '192.0.2.7',
    remotePort: 40_000,
    remoteHost: null,
    localAddress: '192.0.2.1',
    serverName: 'www.example',
    serverPort: 80,
    serverSoftware: null,
    isSecure: false,
    tls: null,
    scriptName: '',
    pathInfo: '',
    pathTranslated: null,
    scriptFilename: null,
    documentRoot: null,
    route: null,
    zone: null,
    servlet: null,
    variables: new Map(),
    ...given,
  };
}

export interface Asked {
  method?: string;
  url?: string;
  httpVersion?: string;
  fields?: FieldList;
  /** Pieces as they come; null: the test gives them itself. */
  body?: readonly (string | Buffer)[] | null;
  bodyBytes?: number | null;
  metadata?: Partial<RequestMetadata>;
}

function headOf(asked: Asked): RequestHead {
  const pieces = asked.body ?? [];
  const bytes = pieces.reduce((sum, piece) => sum + Buffer.byteLength(piece), 0);
  return {
    method: asked.method ?? 'GET',
    url: asked.url ?? '/',
    httpVersion: asked.httpVersion ?? '1.1',
    fields: asked.fields ?? ['Host', 'www.example'],
    bodyBytes: asked.bodyBytes !== undefined ? asked.bodyBytes : asked.body === null ? null : bytes,
    metadata: sampleMetadata(asked.metadata),
  };
}

export class MemoryExchange extends Exchange {
  status = 0;
  reason = '';
  fields: FieldList = [];
  readonly pieces: Buffer[] = [];
  readonly reports: string[] = [];
  /** "head", "body 5", "flush", "end 5", "break", "resume", "pause" in their order. */
  readonly calls: string[] = [];
  isWhole = false;
  isBroken = false;
  /** Bytes that write() takes before it says false; drain() makes room again. */
  room = Number.POSITIVE_INFINITY;
  isFlowing = false;
  #coming: (Buffer | null)[] = [];
  #events = new EventEmitter();
  #isScheduled = false;

  constructor(asked: Asked = {}) {
    super(headOf(asked));
    if (asked.body !== null) {
      for (const piece of asked.body ?? []) this.#coming.push(Buffer.from(piece));
      this.#coming.push(null);
    }
    this.onOver = () => this.#events.emit('over');
  }

  get text(): string {
    return Buffer.concat(this.pieces).toString();
  }

  /** Values of a field, one for each line. */
  values(name: string): string[] {
    return this.fields.filter(
      (_, i) => i % 2 === 1 && this.fields[i - 1]?.toLowerCase() === name.toLowerCase(),
    );
  }

  /** Answered, broken off or aborted. */
  async over(): Promise<this> {
    if (this.state !== 'over') await once(this.#events, 'over');
    return this;
  }

  /** The next call of what opened the exchange. */
  async called(call: string): Promise<void> {
    while (!this.calls.includes(call)) await once(this.#events, 'call');
  }

  /** A piece of the body; null: its end. */
  give(piece: string | Buffer | null): void {
    this.#coming.push(piece === null ? null : Buffer.from(piece));
    this.#schedule();
  }

  drain(): void {
    this.room = Number.POSITIVE_INFINITY;
    this.listener?.onDrain();
  }

  override pauseBody(): void {
    this.isFlowing = false;
    this.#call('pause');
  }

  override resumeBody(): void {
    this.isFlowing = true;
    this.#call('resume');
    this.#schedule();
  }

  override report(line: string): void {
    this.reports.push(line);
  }

  protected override sendHead(status: number, reason: string, fields: FieldList): void {
    this.status = status;
    this.reason = reason;
    this.fields = fields;
    this.#call('head');
  }

  protected override sendBody(bytes: Buffer): boolean {
    this.pieces.push(bytes);
    this.room -= bytes.length;
    this.#call(`body ${bytes.length}`);
    return this.room > 0;
  }

  protected override sendNow(): void {
    this.#call('flush');
  }

  protected override sendEnd(last: Buffer | null): void {
    if (last !== null) this.pieces.push(last);
    this.isWhole = true;
    this.#call(`end ${last?.length ?? 0}`);
  }

  protected override sendBreak(): void {
    this.isBroken = true;
    this.#call('break');
  }

  #call(call: string): void {
    this.calls.push(call);
    this.#events.emit('call');
  }

  #schedule(): void {
    if (this.#isScheduled || !this.isFlowing || this.#coming.length === 0) return;
    this.#isScheduled = true;
    setImmediate(() => {
      this.#isScheduled = false;
      if (!this.isFlowing) return;
      const piece = this.#coming.shift();
      if (piece === null) this.listener?.onBodyEnd();
      else if (piece !== undefined) this.listener?.onBody(piece);
      this.#schedule();
    });
  }
}
