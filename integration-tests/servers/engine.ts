// SPDX-License-Identifier: Apache-2.0
// apps/engine.mjs in a process of its own: the server side of our AJP codecs.

import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { apps } from './checkout.ts';
import { eventually } from './eventually.ts';

export interface EngineOptions {
  protocol: 'ajp13' | 'ajp12';
  /** AJP 1.3. */
  secret?: string;
  /** AJP 1.2: path of its secret file. */
  key?: string;
  attributes?: string[];
}

export interface EngineEvent {
  event:
    | 'listening'
    | 'connection'
    | 'closed'
    | 'request'
    | 'whole'
    | 'refused'
    | 'ping'
    | 'mark'
    | 'signal';
  port?: number;
  connection?: number;
  uri?: string;
  body?: string | number;
  bodyBytes?: number;
  status?: number;
  message?: string;
  signal?: string;
  mark?: string;
  isAuthenticated?: boolean;
  /** Nothing of a request was under way. */
  isIdle?: boolean;
}

export class Engine {
  readonly events: EngineEvent[] = [];
  readonly #options: EngineOptions;
  #process: ChildProcess | undefined;
  #port = 0;
  #output = '';
  #marks = 0;

  private constructor(options: EngineOptions) {
    this.#options = options;
  }

  /** Ends when the test does. */
  static async start(t: Pick<Test, 'teardown'>, options: EngineOptions): Promise<Engine> {
    const engine = new Engine(options);
    t.teardown(() => engine.stop());
    await engine.start();
    return engine;
  }

  get port(): number {
    return this.#port;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** Again after stop(), at the same port. */
  async start(): Promise<void> {
    const options = JSON.stringify({ ...this.#options, port: this.#port });
    const child = spawn(process.execPath, [`${apps}/engine.mjs`, options], {
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    this.#process = child;
    child.stderr.on('data', (text) => {
      this.#output += text;
    });
    const before = this.events.length;
    createInterface({ input: child.stdout }).on('line', (line) => {
      this.events.push(JSON.parse(line) as EngineEvent);
    });
    const listening = await eventually('the engine to listen', () => {
      if (child.exitCode !== null) throw new Error(`it has ended: ${this.#output}`);
      return this.events.slice(before).find(({ event }) => event === 'listening');
    });
    this.#port = listening.port ?? 0;
  }

  async stop(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    // Not 'exit': by then what it has told may not be here yet.
    const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
    child.kill('SIGKILL');
    await ended;
  }

  /**
   * Those of one kind, or of one kind and uri. Nothing that happened before the call is missing: an
   * answer may be here before the event that was told earlier.
   */
  async of(event: EngineEvent['event'], uri?: string): Promise<EngineEvent[]> {
    const mark = String(++this.#marks);
    this.#process?.stdin?.write(`${mark}\n`);
    await eventually('the engine to tell what happened', () =>
      this.events.some((one) => one.mark === mark),
    );
    return this.events.filter((one) => {
      return one.event === event && (uri === undefined || one.uri === uri);
    });
  }
}
