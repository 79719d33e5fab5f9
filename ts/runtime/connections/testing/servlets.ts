// SPDX-License-Identifier: Apache-2.0
// For tests: servlets by hand, and what happened to exchanges.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { ProtocolError } from '../../../protocols/protocol-error.ts';
import type { Exchange, FieldList, Servlet } from '../../exchange.ts';

export async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** Its path is short enough for sockets. */
export function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'usher-'));
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** An exchange that was opened, and what it has told. */
export class Opened {
  readonly exchange: Exchange;
  readonly parts: Buffer[] = [];
  bodyBytes = 0;
  isBodyWhole = false;
  aborted: Error | null = null;
  drains = 0;
  isOver = false;
  onBody: (bytes: Buffer) => void = () => undefined;
  onBodyEnd: () => void = () => undefined;
  onDrain: () => void = () => undefined;

  constructor(exchange: Exchange) {
    this.exchange = exchange;
    exchange.onOver = () => {
      this.isOver = true;
    };
    exchange.open({
      onBody: (bytes) => {
        this.parts.push(bytes);
        this.bodyBytes += bytes.length;
        this.onBody(bytes);
      },
      onBodyEnd: () => {
        if (this.isBodyWhole) throw new Error('the end of a body came twice');
        this.isBodyWhole = true;
        this.onBodyEnd();
      },
      onAbort: (reason) => {
        this.aborted = reason;
      },
      onDrain: () => {
        this.drains++;
        this.onDrain();
      },
    });
  }

  get body(): string {
    return Buffer.concat(this.parts).toString('latin1');
  }
}

/** Answers, or refuses with 500 what cannot be sent. */
export function answer(
  exchange: Exchange,
  body: string | Buffer = '',
  status = 200,
  fields: FieldList = [],
): void {
  try {
    exchange.begin(status, '', fields);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    exchange.refuse({ status: error.status, reason: 'Internal Error', log: error.message });
    return;
  }
  exchange.end(Buffer.from(body as string, 'latin1'));
}

/** "METHOD url fields body", when the body is there. */
export const echo: Servlet = (exchange) => {
  const opened = new Opened(exchange);
  opened.onBodyEnd = () => {
    const { method, url } = exchange.head;
    answer(exchange, `${method} ${url} ${opened.body}`, 200, ['X-Body', `${opened.bodyBytes}`]);
  };
  exchange.resumeBody();
};

/** Sends the body back as it comes, as fast as it is read. */
export const mirror: Servlet = (exchange) => {
  const opened = new Opened(exchange);
  exchange.begin(200, '', ['Content-Type', 'application/octet-stream']);
  opened.onBody = (bytes) => {
    if (!exchange.write(bytes)) exchange.pauseBody();
  };
  opened.onDrain = () => exchange.resumeBody();
  opened.onBodyEnd = () => exchange.end();
  exchange.resumeBody();
};

/** Keeps exchanges, for who answers them later. */
export class Kept {
  readonly all: Opened[] = [];

  readonly run: Servlet = (exchange) => {
    this.all.push(new Opened(exchange));
  };

  async next(): Promise<Opened> {
    await eventually(() => this.all.length > 0);
    return this.all.shift() as Opened;
  }
}
