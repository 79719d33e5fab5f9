// SPDX-License-Identifier: Apache-2.0
// The AJP gateway alone, as the launcher would start it, with a test in the manager's place.

import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Duplex } from 'node:stream';
import type { Test } from 'tap';
import { root } from './checkout.ts';
import { eventually } from './eventually.ts';

/** What the manager says of a class by default. */
const options = {
  protocol: 'ajp',
  packetBytes: 8192,
  poolMax: 200,
  poolMin: 0,
  poolIdleMs: 30_000,
  acquireTimeoutMs: 10_000,
  socketConnectTimeoutMs: 5000,
  pingConnectMs: 10_000,
  pingPrepostMs: 0,
  pingIntervalMs: 1000,
  pingTimeoutMs: 10_000,
  replyTimeoutMs: 0,
  requestTimeoutMs: 0,
  method: 'busyness',
  stickySession: true,
  stickyForce: false,
  sessionCookie: 'JSESSIONID',
  sessionPath: 'jsessionid',
  recoverTimeMs: 60_000,
  errorEscalationMs: 30_000,
  failOnStatus: [],
  retries: 2,
  mount: '',
  context: '',
  attributes: [],
  zones: [],
};

export interface GatewayBackend {
  name: string;
  route?: string;
  weight?: number;
  activation?: 'active' | 'disabled' | 'stopped';
  isBackup?: boolean;
}

export interface AjpGatewayOptions {
  backends: GatewayBackend[];
  secret?: string;
  options?: Record<string, unknown>;
}

export interface GatewayMessage {
  type: string;
  event?: string;
  text?: string;
  backends?: { name: string; state: string; busy: number; lastError: string }[];
}

/** Binds a socket as the launcher does and becomes the gateway. */
const bindAndBecome = `
import os, socket, sys
endpoint = socket.socket(socket.AF_UNIX)
endpoint.bind(sys.argv[1])
endpoint.listen(512)
os.chmod(sys.argv[1], 0o666)
os.dup2(endpoint.fileno(), 0)
os.execv(sys.argv[2], sys.argv[2:])
`;

export class AjpGateway {
  readonly dir = mkdtempSync('/tmp/usher-ajp-');
  readonly messages: GatewayMessage[] = [];
  #process: ChildProcess | undefined;
  #output = '';

  private constructor() {}

  /** Configured and ready. Ends when the test does. */
  static async start(t: Pick<Test, 'teardown'>, given: AjpGatewayOptions): Promise<AjpGateway> {
    const gateway = new AjpGateway();
    t.teardown(async () => {
      await gateway.stop('SIGKILL');
      rmSync(gateway.dir, { recursive: true });
    });
    chmodSync(gateway.dir, 0o711); // web servers run as others
    gateway.#spawn(given.secret);
    const backends = given.backends.map((backend) => ({
      route: null,
      weight: 1,
      activation: 'active',
      isBackup: false,
      ...backend,
    }));
    gateway.say({
      type: 'configure',
      class: 'tomcat',
      options: { ...options, ...given.options },
      backends,
    });
    await eventually('the gateway to be ready', () => {
      if (!gateway.isRunning) throw new Error(`it has ended: ${gateway.#output}`);
      return gateway.messages.some(({ type }) => type === 'ready');
    });
    return gateway;
  }

  /** Where web servers connect. */
  get socket(): string {
    return `${this.dir}/socket`;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get isRunning(): boolean {
    return this.#process?.exitCode === null && this.#process.signalCode === null;
  }

  get exitCode(): number | null {
    return this.#process?.exitCode ?? null;
  }

  /** What it has told of its backends last. */
  get states(): NonNullable<GatewayMessage['backends']> {
    return this.messages.findLast(({ type }) => type === 'backends')?.backends ?? [];
  }

  /** What it has logged for an event, once it has. */
  logs(event: string): Promise<string[]> {
    return eventually(`the gateway to log ${event}`, () => {
      const found = this.messages.filter((one) => one.event === event);
      return found.length > 0 && found.map(({ text = '' }) => text);
    });
  }

  /** Waits until it has told that a backend is in this state. */
  async becomes(i: number, state: string): Promise<void> {
    await eventually(`backend ${i} to be ${state}`, () => this.states[i]?.state === state);
  }

  /** A message of the manager's. */
  say(message: unknown): void {
    const link = this.#process?.stdio[3] as Duplex | undefined;
    link?.write(`${JSON.stringify(message)}\n`);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#process;
    if (child === undefined || !this.isRunning) return;
    const ended = new Promise<void>((resolve) => child.once('exit', () => resolve()));
    child.kill(signal);
    await ended;
  }

  #spawn(secret: string | undefined): void {
    let file: number | 'ignore' = 'ignore';
    if (secret !== undefined) {
      writeFileSync(`${this.dir}/secret`, `${secret}\n`, { mode: 0o600 });
      file = openSync(`${this.dir}/secret`, 'r');
    }
    const program = [process.execPath, `${root}/dist/gateways/ajp/main.js`];
    const child = spawn('python3', ['-c', bindAndBecome, this.socket, ...program], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe', file],
    });
    if (file !== 'ignore') closeSync(file);
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream?.on('data', (text) => {
        this.#output += text;
      });
    }
    const link = child.stdio[3] as Duplex;
    link.on('error', () => undefined); // it has ended
    const lines = createInterface({ input: link });
    lines.on('error', () => undefined); // the same
    lines.on('line', (line) => this.messages.push(JSON.parse(line) as GatewayMessage));
  }
}
