// SPDX-License-Identifier: Apache-2.0
// A gateway with programs in a folder of its own, asked as a web server asks it.
import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import type { CgiOptions } from '../../link.ts';
import { type Answer, TestClient } from '../../testing/client.ts';
import { parseArguments } from '../arguments.ts';
import { CgiGateway } from '../gateway.ts';

export interface Asked {
  params?: Record<string, string>;
  body?: string | Buffer;
}

export class Site {
  readonly dir: string;
  readonly logs: string[] = [];
  readonly lines: string[] = [];
  readonly options: CgiOptions = {
    protocol: 'cgi',
    concurrency: 0,
    requestTimeoutMs: 0,
    maxOutputBytes: 0,
    stopTimeoutMs: 10_000,
  };
  #gateway: CgiGateway | null = null;
  #clients: TestClient[] = [];

  constructor(t: Test) {
    this.dir = realpathSync(mkdtempSync(join(tmpdir(), 'usher-cgi-')));
    t.teardown(async () => {
      for (const client of this.#clients) client.destroy();
      if (this.#gateway !== null) await this.#gateway.drain();
      rmSync(this.dir, { recursive: true, force: true });
    });
  }

  get gateway(): CgiGateway {
    if (this.#gateway === null) throw new Error('it was not started');
    return this.#gateway;
  }

  /** An executable file below the folder; a script unless it begins with #!. */
  program(name: string, text: string, mode = 0o755): string {
    const path = join(this.dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text.startsWith('#!') ? text : `#!/bin/sh\n${text}\n`, { mode });
    return path;
  }

  /** Without arguments: whatever file below the folder is named. */
  async start(options: Partial<CgiOptions> = {}, args?: string[]): Promise<this> {
    Object.assign(this.options, options);
    this.#gateway = new CgiGateway({
      arguments: parseArguments(args ?? ['--path-check', 'suexec', '--root', this.dir]),
      environment: ['PATH=/usr/local/bin:/usr/bin:/bin', 'OF_CLASS=1'],
      cgi: this.options,
      log: (level, event, text) => this.logs.push(`${level} ${event} ${text}`),
      logLine: (line) => this.lines.push(line),
    });
    await this.#gateway.listen({ path: join(this.dir, 'socket') });
    return this;
  }

  client(): TestClient {
    const client = new TestClient(join(this.dir, 'socket'));
    this.#clients.push(client);
    return client;
  }

  /** Parameters as nginx sends them for /cgi/NAME. */
  params(name: string, more: Record<string, string> = {}): Record<string, string> {
    return {
      USHER_PROGRAM: join(this.dir, name),
      REQUEST_METHOD: 'GET',
      SERVER_PROTOCOL: 'HTTP/1.1',
      SCRIPT_NAME: `/cgi/${name}`,
      DOCUMENT_URI: `/cgi/${name}`,
      REQUEST_URI: `/cgi/${name}`,
      QUERY_STRING: '',
      ...more,
    };
  }

  async ask(name: string, { params = {}, body }: Asked = {}): Promise<Answer> {
    const client = this.client();
    const length = body === undefined ? {} : { CONTENT_LENGTH: `${Buffer.from(body).length}` };
    client.send({
      params: this.params(name, { ...length, ...params }),
      ...(body === undefined ? {} : { body }),
    });
    const answer = await client.answer();
    await client.closed();
    return answer;
  }
}

/** Head and body of an answer, as text. */
export function parts({ stdout }: Answer): [head: string, body: string] {
  const text = stdout.toString('latin1');
  const end = text.indexOf('\r\n\r\n');
  return end === -1 ? [text, ''] : [text.slice(0, end), text.slice(end + 4)];
}

/** Resolves when it holds; the test's own time limit is what ends the wait. */
export async function eventually(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2));
}

/** There, and not just a zombie that nobody has reaped yet. */
export function isAlive(pid: number): boolean {
  try {
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}
