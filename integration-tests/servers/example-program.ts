// SPDX-License-Identifier: Apache-2.0
// A program of usher/runtime as a user starts it, that serves HTTP at a Unix socket.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import type { Test } from 'tap';
import { eventually, patienceMs } from './eventually.ts';
import { childrenOf, signal } from './processes.ts';

export interface Sent {
  method?: string;
  headers?: Record<string, string>;
  /** Anything but a text goes out as JSON. */
  body?: unknown;
  /** The client leaves. */
  signal?: AbortSignal;
}

export interface Received {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

export class ExampleProgram {
  /** What it has said, line by line. */
  readonly log: string[] = [];
  readonly #process: ChildProcess;
  readonly #socket: string;

  private constructor(child: ChildProcess, socket: string) {
    this.#process = child;
    this.#socket = socket;
  }

  /** It ends with the test. */
  static async start(t: Test, file: string, env: Record<string, string>): Promise<ExampleProgram> {
    const dir = mkdtempSync('/tmp/usher-example-');
    const socket = `${dir}/socket`;
    const child = spawn(process.execPath, [file], {
      env: { PATH: process.env.PATH, USHER_LISTEN: `http:${socket}`, ...env },
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    const program = new ExampleProgram(child, socket);
    createInterface({ input: child.stderr! }).on('line', (line) => program.log.push(line));
    t.teardown(async () => {
      await program.end();
      rmSync(dir, { recursive: true, force: true });
      if (!t.passing()) t.comment([`${file} said:`, ...program.log.slice(-40)].join('\n'));
    });
    await eventually(`${file} listens`, () => {
      if (program.#hasEnded) throw new Error(program.log.join('\n'));
      return program.#listens();
    });
    return program;
  }

  get pid(): number {
    return this.#process.pid ?? 0;
  }

  /** Processes that it has started. */
  get workers(): number[] {
    return childrenOf(this.pid);
  }

  get #hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  /** @returns its exit status; null after a signal */
  async end(how: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (!this.#hasEnded) signal(this.pid, how);
    await eventually('the end of the program', () => this.#hasEnded);
    return this.#process.exitCode;
  }

  /** One request on a connection of its own. Rejects when the connection ends without an answer. */
  request(path: string, { method, headers, body, signal }: Sent = {}): Promise<Received> {
    const sent = body === undefined || typeof body === 'string' ? body : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const request = http.request({
        socketPath: this.#socket,
        path,
        method: method ?? (sent === undefined ? 'GET' : 'POST'),
        headers: { Host: 'example', ...headers },
        agent: false,
        signal,
        timeout: patienceMs,
      });
      request.on('timeout', () => request.destroy(new Error(`no answer: ${path}`)));
      request.on('error', reject);
      request.on('response', async (response) => {
        try {
          const received = await text(response);
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text: received });
        } catch (error) {
          reject(error);
        }
      });
      request.end(sent);
    });
  }

  #listens(): Promise<boolean> {
    return new Promise((resolve) => {
      const socket = net.connect(this.#socket);
      socket.once('error', () => resolve(false));
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
    });
  }
}
