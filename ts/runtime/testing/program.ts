// SPDX-License-Identifier: Apache-2.0
// behaving.ts in a process of its own, as a web server or a process manager would start it.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ListenProtocol, ServeOptions } from '../options.ts';
import type { Client } from './calls.ts';
import {
  Ajp12Client,
  AjpClient,
  CgiClient,
  connect,
  FastcgiClient,
  HttpClient,
} from './clients.ts';

export const patienceMs = 60_000;

/** @throws Error naming what did not happen. */
export async function eventually<T>(what: string, look: () => T | Promise<T>): Promise<T & {}> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen as T & {};
    if (performance.now() > deadline) throw new Error(`not within ${patienceMs} ms: ${what}`);
    await sleep(20);
  }
}

/** Files through which a test and a program tell each other what happens. */
export class Files {
  readonly dir: string;

  constructor(dir: string) {
    this.dir = dir;
    mkdirSync(dir, { recursive: true });
  }

  make(name: string): void {
    writeFileSync(`${this.dir}/${name}`, '');
  }

  has(name: string): boolean {
    return existsSync(`${this.dir}/${name}`);
  }

  lines(name: string): string[] {
    if (!this.has(name)) return [];
    return readFileSync(`${this.dir}/${name}`, 'utf8').split('\n').filter(Boolean);
  }
}

const clients = {
  fastcgi: FastcgiClient,
  ajp13: AjpClient,
  ajp12: Ajp12Client,
  http: HttpClient,
} satisfies Record<ListenProtocol, new (address: string) => Client>;

export class Program {
  readonly files: Files;
  readonly client: Client;
  readonly #process: ChildProcess | null;
  readonly #address: string;
  #output: string[] = [];

  private constructor(
    files: Files,
    address: string,
    client: Client,
    child: ChildProcess | null,
    output: string[],
  ) {
    this.files = files;
    this.#address = address;
    this.client = client;
    this.#process = child;
    this.#output = output;
  }

  /** @param file Bundled. @param dir Of its own. @throws Error with what it said, when it does not listen */
  static async start(
    file: string,
    dir: string,
    protocol: ListenProtocol,
    options: ServeOptions,
  ): Promise<Program> {
    const files = new Files(dir);
    const address = protocol === 'fastcgi' ? `${dir}/socket` : '127.0.0.1:0';
    const listen = { protocol, address };
    const child = spawn(process.execPath, [file], {
      env: environment(dir, { ...options, listen }),
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const output: string[] = [];
    createInterface({ input: child.stderr }).on('line', (line) => output.push(line));
    const place = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).on('line', (line) => {
        resolve(line.split(' ').slice(2).join(' '));
      });
      child.once('close', (status, signal) => {
        reject(new Error(`the program ended with ${signal ?? status}:\n${output.join('\n')}`));
      });
    });
    return new Program(files, place, new clients[protocol](place), child, output);
  }

  static cgi(file: string, dir: string, options: ServeOptions): Program {
    const command = [process.execPath, file];
    const client = new CgiClient(command, environment(dir, options));
    return new Program(new Files(dir), '', client, null, []);
  }

  /** A line that matches, on its stderr. */
  log(pattern: RegExp): Promise<string> {
    return eventually(`a line ${pattern} in:\n${this.#output.join('\n')}`, () =>
      this.#output.find((line) => pattern.test(line)),
    );
  }

  /** New connections are taken. */
  async listens(): Promise<boolean> {
    try {
      (await connect(this.#address)).destroy();
      return true;
    } catch {
      return false;
    }
  }

  get address(): string {
    return this.#address;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** What it exited with: a status or a signal. */
  async ended(): Promise<number | NodeJS.Signals | null> {
    const child = this.#process;
    if (child === null) return null;
    await eventually('the end of the program', () => child.exitCode !== null || child.signalCode);
    return child.signalCode ?? child.exitCode;
  }

  /** Processes whose parent it is. */
  children(): number[] {
    const all = readdirSync('/proc').filter((name) => /^\d+$/.test(name));
    return all.map(Number).filter((pid) => Number(statOf(pid)?.[1]) === this.pid);
  }

  /** At the latest when the test ends. */
  kill(): void {
    this.client.end();
    if (this.#process?.exitCode === null) this.#process.kill('SIGKILL');
  }
}

/** Not one that has ended and that nobody has asked about (a zombie). */
export function isRunning(pid: number): boolean {
  const state = statOf(pid)?.[0];
  return state !== undefined && state !== 'Z';
}

/** State, parent …; null when there is no such process. */
function statOf(pid: number): string[] | null {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  } catch {
    return null;
  }
}

function environment(dir: string, options: ServeOptions): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, BEHAVING_DIR: dir, BEHAVING: JSON.stringify(options) };
}
