// SPDX-License-Identifier: Apache-2.0
// A private place for a benchmark's servers: a temporary directory, the processes started for it,
// and their end, also when the benchmark is interrupted. What was started is ended by its number.

import { spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { root } from '../scripts/run.mjs';
import { accountFor, isRunning, parentOf, programOf } from './machine.mjs';

const endWithinMs = 10_000;

/** Whom servers drop to and programs run as; empty when we are an ordinary user. */
export const user = process.getuid() === 0 ? 'www-data' : '';

export async function freePort() {
  const listener = net.createServer();
  await new Promise((resolve, reject) => {
    listener.once('error', reject);
    listener.listen(0, '127.0.0.1', resolve);
  });
  const { port } = listener.address();
  await new Promise((resolve) => listener.close(resolve));
  return port;
}

/** Looks until there is something to see; throws with `what` when that takes too long. */
export async function eventually(what, look, withinMs = 30_000) {
  const deadline = performance.now() + withinMs;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (performance.now() > deadline) throw new Error(`not within ${withinMs / 1000} s: ${what}`);
    await sleep(20);
  }
}

function signal(pid, name) {
  try {
    process.kill(pid, name);
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** TERM, and KILL for what does not follow; a number that means another program by now is left. */
async function endProcess({ pid, program }) {
  const runs = () => isRunning(pid) && programOf(pid) === program;
  if (!runs()) return;
  signal(pid, 'SIGTERM');
  const patienceMs = program.endsWith('.fcgi') ? 200 : endWithinMs; // libfcgi goes on accepting
  await eventually(`${program} ends`, () => !runs(), patienceMs).catch(() =>
    signal(pid, 'SIGKILL'),
  );
}

export class Site {
  /** In the order of their start; each has a number and the program it was then. */
  #processes = [];
  #runtimeDirs = [];
  #accounts = new Map();
  #ended;

  constructor() {
    this.dir = mkdtempSync(`${tmpdir()}/usher-bench-`);
    chmodSync(this.dir, 0o755); // workers and programs run as somebody else
  }

  write(name, text, mode = 0o644) {
    const path = `${this.dir}/${name}`;
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  }

  /** A copy of the program that all servers run. */
  program(name, original = `${root}/build/apps/echo`) {
    const path = `${this.dir}/${name}`;
    mkdirSync(dirname(path), { recursive: true });
    copyFileSync(original, path);
    chmodSync(path, 0o755);
    return path;
  }

  /** Starts a server that stays in the foreground. Ctrl-C on the terminal does not reach it. */
  start(name, command, args) {
    const log = `${this.dir}/${name}.output`;
    const output = openSync(log, 'a');
    const child = spawn(command, args, { detached: true, stdio: ['ignore', output, output] });
    closeSync(output);
    child.once('error', () => {}); // seen from its number, which is undefined then
    if (child.pid === undefined) throw new Error(`${command} did not start`);
    this.watch(child.pid, command);
    return child.pid;
  }

  /** A process that somebody else started for us, to be ended with the rest. */
  watch(pid, program) {
    this.#processes.push({ pid, program });
  }

  /**
   * Processor time of these processes and of all that they start. Several servers may share them: a process
   * is in one account only.
   */
  account(name, pids) {
    const key = [...pids].sort((a, b) => a - b).join();
    const known = key !== '' && this.#accounts.get(key);
    if (known) return known;
    const account = accountFor(name, pids);
    this.#accounts.set(key || name, account);
    return account;
  }

  /** A runtime directory whose manager is to be ended with the rest. */
  runtimeDir(name) {
    const path = `${this.dir}/${name}`;
    this.#runtimeDirs.push(path);
    return path;
  }

  /** All that the servers have said so far. */
  said(name) {
    const files = [`${this.dir}/${name}.output`, `${this.dir}/${name}/error.log`];
    return files.map((file) => (existsSync(file) ? readFileSync(file, 'utf8') : '')).join('');
  }

  async accepts(name, port) {
    const connects = () =>
      new Promise((resolve) => {
        const socket = net.connect(port, '127.0.0.1');
        socket.once('error', () => resolve(false));
        socket.once('connect', () => {
          socket.destroy();
          resolve(true);
        });
      });
    await eventually(`${name} listens`, connects, 10_000).catch((error) => {
      throw new Error(`${error.message}; it said: ${this.said(name)}`);
    });
  }

  /** Ends and removes everything. */
  end() {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  async #end() {
    const launchers = this.#runtimeDirs.map(launcherOf).filter((pid) => pid !== undefined);
    await Promise.all(this.#processes.map(endProcess));
    for (const dir of this.#runtimeDirs) usher(dir, 'stop');
    for (const pid of launchers) {
      await eventually('the manager ends', () => !isRunning(pid), endWithinMs).catch(() => {
        console.error(`bench: launcher ${pid} did not end, killed`);
        signal(pid, 'SIGKILL');
      });
    }
    for (const account of this.#accounts.values()) {
      await eventually('a control group is empty', () => account.remove(), endWithinMs).catch(
        (error) => console.error(`bench: ${error.message}`),
      );
    }
    if (process.env.USHER_BENCH_KEEP) console.error(`bench: kept ${this.dir}`);
    else rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Runs `body` with a site that is ended whatever happens. */
export async function withSite(body) {
  const site = new Site();
  const interrupted = async (name) => {
    console.error(`bench: ${name}, ending the servers`);
    await site.end();
    process.exit(130);
  };
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const name of names) process.once(name, interrupted);
  try {
    return await body(site);
  } finally {
    await site.end();
    for (const name of names) process.off(name, interrupted);
  }
}

// ---- Usher's own

function usher(runtimeDir, ...args) {
  return spawnSync(`${root}/bin/usher`, [...args, '--runtime-dir', runtimeDir], {
    encoding: 'utf8',
    timeout: 30_000,
  });
}

/** What `usher status --json` says; undefined while nobody answers. */
export function usherStatus(runtimeDir) {
  const { status, stdout } = usher(runtimeDir, 'status', '--json');
  return status === 0 ? JSON.parse(stdout) : undefined;
}

/** The process that manager and instances descend from. */
export function launcherOf(runtimeDir) {
  const manager = usherStatus(runtimeDir)?.manager.pid;
  return manager === undefined ? undefined : parentOf(manager);
}
