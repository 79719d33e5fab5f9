// SPDX-License-Identifier: Apache-2.0
// bin/usher-jvm with a jserv.properties and one zone, "root", whose servlet is apps/session-servlet.mjs.

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import net from 'node:net';
import type { Test } from 'tap';
import { apps, root } from './checkout.ts';
import { eventually, within } from './eventually.ts';
import type { Site } from './site.ts';
import { clean, type Outcome, run } from './usher.ts';

export interface UsherJvmOptions {
  /** Its name, and its sessions'. */
  route: string;
  host: string;
  port: number;
  /** Path of its secret file. */
  secret?: string;
  /** Further lines of jserv.properties. */
  properties?: string;
  /** A command that runs it elsewhere, in place of this host. */
  elsewhere?: string[];
}

const className = 'org.apache.jserv.JServ';

export class UsherJvm {
  readonly route: string;
  readonly address: string;
  readonly #options: UsherJvmOptions;
  readonly #file: string;
  readonly #journal: string;
  #process: ChildProcess | undefined;
  #said = '';

  private constructor(site: Site, options: UsherJvmOptions) {
    const { route, host, port, secret, properties = '' } = options;
    this.#options = options;
    this.route = route;
    this.address = `${host}:${port}`;
    this.#journal = `${site.dir}/journal-${route}`;
    const zone = site.file(
      `zone-${route}.properties`,
      `repositories=${apps}\nservlet.session.code=session-servlet\n` +
        `servlet.session.initArgs=route=${route},journal=${this.#journal}\n`,
    );
    const authentication = secret === undefined ? 'authentication=false' : `secretKey=${secret}`;
    this.#file = site.file(
      `jserv-${route}.properties`,
      `bindaddress=${host}\nport=${port}\nsecurity.${authentication}\n` +
        `zones=root\nroot.properties=${zone}\n` +
        `usher.model=process-pool\nusher.processes=1\nusher.maxProcesses=1\n${properties}`,
    );
  }

  /** Listens. Ends when the test does. */
  static async start(
    t: Pick<Test, 'teardown'>,
    site: Site,
    options: UsherJvmOptions,
  ): Promise<UsherJvm> {
    const jvm = new UsherJvm(site, options);
    t.teardown(() => jvm.kill());
    await jvm.start();
    return jvm;
  }

  /** Again after its end. */
  async start(): Promise<void> {
    const [program = '', ...words] = [...clean, ...this.#command()];
    const child = spawn(program, words, { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#process = child;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text) => {
        this.#said += text;
      });
    }
    await eventually(`engine ${this.route} to answer a ping`, () => {
      if (child.exitCode !== null) throw new Error(`it has ended: ${this.#said}`);
      return this.ping();
    });
  }

  get isRunning(): boolean {
    return this.#process?.exitCode === null && this.#process.signalCode === null;
  }

  /** Waits for its end by itself: its exit status. */
  async ended(): Promise<number | null> {
    await eventually(`the end of engine ${this.route}`, () => !this.isRunning);
    return this.#process?.exitCode ?? null;
  }

  async kill(): Promise<void> {
    if (!this.isRunning) return;
    this.#process?.kill('SIGKILL');
    await eventually(`the end of engine ${this.route}`, () => !this.isRunning);
  }

  /** Waits for what it says on its outputs. */
  async says(text: string): Promise<void> {
    await eventually(`engine ${this.route} to say "${text}"`, () => this.#said.includes(text));
  }

  /** As JServ's own command line has them: -s shutdown, -r restart. @param elsewhere null = from this host */
  signal(
    word: '-s' | '-r',
    elsewhere: string[] | null = this.#options.elsewhere ?? null,
  ): Promise<Outcome> {
    return run([...this.#command(elsewhere ?? []), word]);
  }

  /** Whether it answers one, as mod_jserv asks. */
  ping(): Promise<boolean> {
    const { host, port, secret } = this.#options;
    const signal = Buffer.from([0xfe, 0]);
    const asked = new Promise<boolean>((resolve) => {
      const socket = net.connect({ host, port });
      if (secret === undefined) socket.write(signal);
      let isProven = secret === undefined;
      socket.on('data', (bytes) => {
        if (isProven) {
          socket.destroy();
          resolve(bytes.length === 1);
          return;
        }
        isProven = true; // a challenge is one write
        const key = readFileSync(secret as string);
        const proof = createHash('md5').update(bytes.subarray(4)).update(key).digest();
        socket.write(Buffer.concat([proof, signal]));
      });
      socket.on('error', () => resolve(false));
      socket.on('close', () => resolve(false));
    });
    return within('an answer to a ping', asked);
  }

  /** The numbers of the requests that it was given. */
  get journal(): string[] {
    if (!existsSync(this.#journal)) return [];
    return readFileSync(this.#journal, 'utf8').split('\n').filter(Boolean);
  }

  #command(elsewhere = this.#options.elsewhere ?? []): string[] {
    return [...elsewhere, process.execPath, `${root}/bin/usher-jvm`, className, this.#file];
  }
}
