// SPDX-License-Identifier: Apache-2.0
// One web server with one configuration in a directory of its own: files, start, requests, end, and
// what is told when a check fails.

import { randomInt } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { userInfo } from 'node:os';
import { dirname } from 'node:path';
import type { Test } from 'tap';
import { apps, builtApps } from './checkout.ts';
import * as client from './client.ts';
import { eventually } from './eventually.ts';
import { watchEnding } from './leftovers.ts';
import { fastcgiParams } from './nginx.ts';
import { childrenOf, isRunning, processesOf, signal } from './processes.ts';
import { noteReports, sanitizedCommand } from './sanitized.ts';
import { type ClassStatus, type Outcome, run, type Status, status } from './usher.ts';
import { type Ending, files, type Place, type WebServer } from './web-server.ts';

export const isRoot = process.getuid?.() === 0;

export interface SiteOptions {
  /** Shares the runtime directory, and with it the manager, of another site. */
  runtimeDir?: string;
  /** Starts the server as this user, not as whoever runs the tests. */
  startAs?: { uid: number; gid: number };
  /** Whom root's server runs its workers as, a user and a group of this name; www-data. */
  workersAs?: string;
}

/** Whom a site belongs to: a test, or whoever ends it as a test would. */
export type SiteOwner = Pick<Test, 'name' | 'teardown' | 'test'>;

/** The same server's configuration in both spellings; a test gives the ones it needs. */
export type Texts = Partial<Record<WebServer['kind'], string>>;

/** Below those that the kernel gives to clients: one of them could take it before our server does. */
const portRange = [10_000, 32_000] as const;

async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(...portRange);
    if ((await reserve(port)) && (await isFree(port))) return port;
  }
}

/**
 * Keeps a port for our tests until we end, whether or not somebody listens there: false when another
 * test has it, in this process or another. It is a name among sockets that have no file.
 */
function reserve(port: number): Promise<boolean> {
  const holder = net.createServer().unref();
  return new Promise((resolve) => {
    holder.once('error', () => resolve(false));
    holder.listen(`\0usher-test-port-${port}`, () => resolve(true));
  });
}

function isFree(port: number): Promise<boolean> {
  const listener = net.createServer();
  return new Promise((resolve) => {
    listener.once('error', () => resolve(false));
    listener.listen(port, '127.0.0.1', () => listener.close(() => resolve(true)));
  });
}

/** Whether somebody listens there. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1');
    socket.once('error', () => resolve(false));
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
  });
}

function textFrom(path: string, offset = 0): string {
  return existsSync(path) ? readFileSync(path).subarray(offset).toString() : '';
}

function sizeOf(path: string): number {
  return existsSync(path) ? statSync(path).size : 0;
}

/** A user's number; NaN when there is none of this name. */
export function uidOf(name: string): number {
  const line = readFileSync('/etc/passwd', 'utf8')
    .split('\n')
    .find((line) => line.startsWith(`${name}:`));
  return Number(line?.split(':')[2] ?? Number.NaN);
}

export class Site implements Place {
  readonly t: SiteOwner;
  readonly server: WebServer;
  readonly dir: string;
  readonly docs: string;
  readonly runtimeDir: string;
  readonly ports: number[];
  readonly user: string | undefined;
  readonly group: string | undefined;
  private readonly startAs: { uid: number; gid: number } | undefined;
  private readonly sharesRuntimeDir: boolean;
  private wasStarted = false;
  private isEnded = false;
  private errorLogMark = 0;

  private constructor(t: SiteOwner, server: WebServer, ports: number[], options: SiteOptions) {
    this.t = t;
    this.server = server;
    this.ports = ports;
    this.dir = mkdtempSync('/tmp/usher-');
    this.docs = `${this.dir}/docs`;
    this.startAs = options.startAs;
    this.sharesRuntimeDir = options.runtimeDir !== undefined;
    this.runtimeDir = options.runtimeDir ?? `${this.dir}/run`;
    const dropsRoot = isRoot && !this.startAs;
    this.user = dropsRoot ? (options.workersAs ?? 'www-data') : undefined;
    this.group = this.user;
    chmodSync(this.dir, 0o755);
    mkdirSync(this.docs);
    if (this.startAs) chownSync(this.dir, this.startAs.uid, this.startAs.gid);
    this.file('fastcgi_params', fastcgiParams);
  }

  /** A site that is not running yet; it is ended with the test at the latest. */
  static async create(t: SiteOwner, server: WebServer, options: SiteOptions = {}): Promise<Site> {
    const ports = await Promise.all([1, 2, 3, 4].map(freePort));
    const site = new Site(t, server, ports, options);
    t.teardown(() => site.end('TERM'));
    return site;
  }

  // ---- files

  /** Writes a file below the site's directory and returns its path. */
  file(name: string, content: string | Buffer, mode = 0o644): string {
    const path = `${this.dir}/${name}`;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, content);
    chmodSync(path, mode);
    return path;
  }

  /** Lets everybody connect to a socket that root's program has bound. */
  open(socket: string): void {
    chmodSync(socket, 0o777);
  }

  /** Copies one of our programs to a place below the site's directory; see starts(). */
  program(name: string, app = 'echo'): string {
    const path = `${this.dir}/${name}`;
    mkdirSync(dirname(path), { recursive: true });
    const built = `${builtApps}/${app}`;
    copyFileSync(existsSync(built) ? built : `${apps}/${app}`, path);
    chmodSync(path, 0o755);
    writeFileSync(`${path}.starts`, '');
    chmodSync(`${path}.starts`, 0o666);
    return path;
  }

  /** The process ids that a program placed by program() has had so far, one for each start. */
  starts(path: string): number[] {
    return textFrom(`${path}.starts`).split('\n').filter(Boolean).map(Number);
  }

  // ---- the server

  get port(): number {
    return this.ports[0]!;
  }

  /** The master's process id. */
  get pid(): number {
    return Number(textFrom(files.pid(this)).trim());
  }

  get workers(): number[] {
    return childrenOf(this.pid);
  }

  private writeConfiguration(texts: Texts): void {
    const text = texts[this.server.kind];
    if (text === undefined) throw new Error(`no configuration for ${this.server.kind} given`);
    this.file('server.conf', this.server.configuration(this, text));
  }

  /** Lets the server only read a configuration. */
  async checkConfiguration(texts: Texts): Promise<Outcome> {
    this.writeConfiguration(texts);
    return run([...sanitizedCommand(), ...this.server.checkCommand(this)], this.startAs);
  }

  /** Starts the server; throws with what it said when it does not come to serve. */
  async start(texts: Texts): Promise<void> {
    this.writeConfiguration(texts);
    this.wasStarted = true;
    const mark = sizeOf(files.errorLog(this));
    const command = [...sanitizedCommand(), ...this.server.startCommand(this)];
    const { status, output } = await run(command, this.startAs);
    const said = () => `${output}\n${textFrom(files.errorLog(this))}`;
    if (status !== 0) throw new Error(`${this.server.name} did not start (${status}): ${said()}`);
    await eventually(
      `${this.server.name} serves: ${said()}`,
      async () =>
        (await accepts(this.port)) &&
        isRunning(this.pid) &&
        this.server.hasBegun(this.workers, textFrom(files.errorLog(this), mark)),
    );
  }

  /** Replaces the configuration of the running server. */
  reload(texts: Texts): void {
    this.writeConfiguration(texts);
    signal(this.pid, this.server.reloadSignal);
  }

  /**
   * Ends the server and sees to it that nothing is left; a second call does nothing. What still
   * runs after a while is reported by nothingLeft() and killed.
   */
  async end(how: Ending = 'TERM', ending: 'last' | 'others' = 'last'): Promise<void> {
    if (this.isEnded) return;
    this.isEnded = true;
    if (!this.wasStarted) {
      if (!this.isKept) rmSync(this.dir, { recursive: true, force: true });
      return;
    }
    const master = this.pid;
    const usherLog = textFrom(`${this.runtimeDir}/usher.log`); // goes with the runtime directory
    const tied = [...processesOf(this.dir), ...processesOf(this.runtimeDir)].map(({ pid }) => pid);
    const workers = how === 'KILL' ? childrenOf(master) : [];
    if (Number.isInteger(master) && master > 1) {
      signal(master, this.server.endingSignals[how]);
      for (const pid of workers) signal(pid, 'SIGKILL');
      await eventually(`${this.server.name} ends`, () => !isRunning(master), 30_000).catch(() => {
        for (const pid of [master, ...childrenOf(master)]) signal(pid, 'SIGKILL');
      });
    }
    const title = `${this.server.name}, ${this.t.name}, ${how}`;
    noteReports(title, textFrom(files.errorLog(this)) + usherLog);
    const isLast = ending === 'last' && !this.sharesRuntimeDir;
    watchEnding({
      title,
      dirs: isLast ? [this.dir, this.runtimeDir] : [this.dir],
      runtimeDir: isLast ? this.runtimeDir : undefined,
      pids: isLast ? tied : [],
      isKept: () => this.isKept,
      dir: this.dir,
    });
  }

  // ---- requests

  request(path: string, options?: client.RequestOptions): Promise<client.Answer> {
    return client.request(this.port, path, options);
  }

  // ---- what the manager says

  status(): Promise<Status> {
    return status(this.runtimeDir);
  }

  /** The status of the class of this name or path; undefined when the manager knows none. */
  async classStatus(name: string): Promise<ClassStatus | undefined> {
    return (await this.status()).classes.find((known) => known.name === name);
  }

  /** Waits until no request is in flight or waiting in any class. */
  async settled(): Promise<void> {
    await eventually('all counters are back at 0', async () => {
      const busy = (await this.status()).classes.filter((c) => c.inFlight !== 0 || c.waiting !== 0);
      if (busy.length === 0) return true;
      throw new Error(JSON.stringify(busy));
    });
  }

  // ---- checks

  /** A subtest; when it fails, it tells what the logs have said meanwhile. */
  async check(sentence: string, body: (t: Test) => Promise<unknown>): Promise<void> {
    await this.t.test(sentence, async (t) => {
      this.errorLogMark = sizeOf(files.errorLog(this));
      const usherLogMark = sizeOf(`${this.runtimeDir}/usher.log`);
      try {
        await body(t);
      } catch (error) {
        t.error(error, 'goes through without an exception');
      }
      if (t.passing()) return;
      this.isKept = true;
      const usherLog = textFrom(`${this.runtimeDir}/usher.log`, usherLogMark);
      t.comment(
        [
          `kept: ${this.dir}`,
          'error log since then:',
          ...this.newErrors().trimEnd().split('\n').slice(-40),
          'usher.log since then:',
          ...usherLog.trimEnd().split('\n').slice(-40),
        ].join('\n'),
      );
    });
  }

  private isKept = process.env.USHER_TEST_KEEP === '1';

  /** Leaves the directory, to be looked at. */
  keep(): void {
    this.isKept = true;
  }

  /** What the server has written to its error log since the check began. */
  newErrors(): string {
    return textFrom(files.errorLog(this), this.errorLogMark);
  }

  /** Waits for a line in the error log that was written since the check began. */
  async errorLine(pattern: RegExp): Promise<string> {
    return eventually(`a line like ${pattern} in the error log`, () =>
      this.newErrors()
        .split('\n')
        .find((line) => pattern.test(line)),
    );
  }

  /** Waits for a line in the access log: it is written after the answer. */
  async accessLine(pattern: RegExp): Promise<string> {
    return eventually(`a line like ${pattern} in the access log`, () =>
      textFrom(files.accessLog(this))
        .split('\n')
        .find((line) => pattern.test(line)),
    );
  }

  /** Who runs the instances: the worker's user, or whoever started all of it. */
  get instanceUid(): number {
    if (this.startAs) return this.startAs.uid;
    if (!isRoot) return userInfo().uid;
    return uidOf(this.user ?? '');
  }
}
