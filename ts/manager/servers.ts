// SPDX-License-Identifier: Apache-2.0
// The web servers that registered in the runtime directory: their files, which generations of them
// live, and what they ask for.
import { readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { type Registration, readDialect } from '../config/dialect.ts';
import type { ServerStatus } from '../control/messages.ts';
import { type Channel, native, type ServerInfo } from '../native/native.ts';
import type { Log } from './log.ts';

/** A server without a living worker is gone after this; a new one has longer to fork its first. */
const GONE_AFTER_MS = 3_000;
const FIRST_WORKER_MS = 10_000;

export interface Server {
  readonly name: string;
  readonly handle: number;
  /** Registrations by generation; the newest is always in force. */
  readonly generations: Map<number, Registration>;
  info: ServerInfo;
  /** Last time a worker lived, or the server registered. */
  aliveAtMs: number;
  graceMs: number;
}

export class Servers {
  readonly byName = new Map<string, Server>();
  #channel: Channel;
  #folder: string;
  #runtimeDir: string;
  #log: Log;
  #seen = new Set<string>();
  #folderMtimeMs = 0;

  constructor(channel: Channel, runtimeDir: string, log: Log) {
    this.#channel = channel;
    this.#runtimeDir = runtimeDir;
    this.#folder = join(runtimeDir, 'servers');
    this.#log = log;
  }

  /** Read what was registered since the last look: `changed` when anything was, `gone` when
   * somebody removed the runtime directory under us. */
  scan(nowMs: number): 'same' | 'changed' | 'gone' {
    const stats = statSync(this.#folder, { throwIfNoEntry: false });
    if (!stats) return 'gone';
    if (stats.mtimeMs === this.#folderMtimeMs) return 'same';
    this.#folderMtimeMs = stats.mtimeMs;
    let changed = false;
    for (const file of readdirSync(this.#folder).sort()) {
      const match = /^(.+)\.(\d+)\.conf$/.exec(file);
      if (!match?.[1] || this.#seen.has(file)) continue;
      this.#seen.add(file);
      changed = this.#load(file, match[1], Number(match[2]), nowMs) || changed;
    }
    return changed ? 'changed' : 'same';
  }

  /** Look which workers live. True when a generation ended, so that its classes may go. */
  settle(nowMs: number): boolean {
    let ended = false;
    for (const server of this.byName.values()) {
      server.info = this.#channel.settle(server.handle);
      if (server.info.settled > 0) {
        this.#log('warn', 'workers.settled', { server: server.name, workers: server.info.settled });
      }
      if (server.info.workers > 0) {
        server.aliveAtMs = nowMs;
        server.graceMs = GONE_AFTER_MS;
      }
      const newest = Math.max(...server.generations.keys());
      for (const generation of server.generations.keys()) {
        if (generation === newest || nowMs - server.aliveAtMs > GONE_AFTER_MS) continue;
        if (this.#channel.generationLives(server.handle, generation)) continue;
        // Workers of the newest generation must have come before an older one may go.
        if (!this.#channel.generationLives(server.handle, newest)) continue;
        server.generations.delete(generation);
        this.#forget(`${server.name}.${generation}.conf`);
        ended = true;
      }
    }
    return ended;
  }

  /** Servers of which no worker has lived for a while. */
  gone(nowMs: number): Server[] {
    return [...this.byName.values()].filter(
      (server) => server.info.workers === 0 && nowMs - server.aliveAtMs > server.graceMs,
    );
  }

  /** Forget a server and remove its files. Under the exclusive lock of the runtime directory. */
  remove(server: Server): void {
    this.#log('info', 'server.gone', { server: server.name });
    this.byName.delete(server.name);
    this.#channel.detachServer(server.handle);
    for (const generation of server.generations.keys()) {
      this.#forget(`${server.name}.${generation}.conf`);
    }
    rmSync(join(this.#runtimeDir, 'channel', `${server.name}.cells`), { force: true });
    rmSync(join(this.#runtimeDir, server.name), { recursive: true, force: true });
  }

  status(): ServerStatus[] {
    return [...this.byName.values()].map((server) => {
      const described = newestOf(server).server;
      return {
        name: server.name,
        kind: described?.kind ?? '',
        pid: described?.pid ?? 0,
        generation: server.info.generation,
        workers: server.info.workers,
        configuration: described?.configuration ?? '',
      };
    });
  }

  #load(file: string, name: string, generation: number, nowMs: number): boolean {
    const path = join(this.#folder, file);
    try {
      const registration = this.#read(path, name, generation);
      const known = this.byName.get(name);
      if (known) {
        known.generations.set(generation, registration);
        known.aliveAtMs = nowMs;
        if (known.info.workers === 0) known.graceMs = FIRST_WORKER_MS;
      } else {
        const handle = this.#channel.attachServer(name, join(this.#runtimeDir, name, 'live'));
        this.byName.set(name, {
          name,
          handle,
          generations: new Map([[generation, registration]]),
          info: this.#channel.settle(handle),
          aliveAtMs: nowMs,
          graceMs: FIRST_WORKER_MS,
        });
      }
      this.#log('info', 'server.registered', { server: name, generation });
      return true;
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.#log('error', 'registration.invalid', { server: name, file: path, text });
      return false;
    }
  }

  /** What can be used of a registration; throws when it does not say whose it is. */
  #read(path: string, name: string, generation: number): Registration {
    const { registration, errors } = readDialect(readFileSync(path, 'utf8'), path, native);
    for (const { message } of errors) {
      this.#log('error', 'registration.error', { server: name, file: path, text: message });
    }
    const { server } = registration;
    if (server === undefined) throw new Error(`${path}: no usable UsherServer line`);
    if (server.name !== name || server.generation !== generation) {
      const said = `${server.name}, generation ${server.generation}`;
      throw new Error(`${path}: UsherServer says ${said}: expected what the file's name says`);
    }
    return registration;
  }

  #forget(file: string): void {
    this.#seen.delete(file);
    rmSync(join(this.#folder, file), { force: true });
  }
}

/** The registration in force. */
export function newestOf(server: Server): Registration {
  const newest = Math.max(...server.generations.keys());
  const registration = server.generations.get(newest);
  if (!registration) throw new Error(`server ${server.name} has no registration`);
  return registration;
}
