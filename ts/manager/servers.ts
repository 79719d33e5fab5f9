// SPDX-License-Identifier: Apache-2.0
// The web servers that registered in the runtime directory: their files, which generations of them
// live, and what they ask for.
import { closeSync, readFileSync, statSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { type Registration, readDialect } from '../config/dialect.ts';
import type { ServerStatus } from '../control/messages.ts';
import { type Channel, native, type ServerInfo } from '../native/native.ts';
import { type Launcher, LauncherError } from '../process/launcher.ts';
import type { Log } from './log.ts';

/** A server without a living worker is gone after this; a new generation has longer for its first. */
const GONE_AFTER_MS = 3_000;
const FIRST_WORKER_MS = 10_000;
/** Where the folder's time cannot be seen, the launcher is asked so often what is in it. */
const LIST_MS = 250;
/** Two changes of a folder so close together can have the same time. */
const SAME_TIME_MS = 50;

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

/** What the launcher does for us: the runtime directory is closed to the manager. */
export type Registry = Pick<
  Launcher,
  'registrations' | 'registration' | 'attach' | 'removeRegistration' | 'removeServer'
>;

export class Servers {
  readonly byName = new Map<string, Server>();
  #channel: Channel;
  #registry: Registry;
  #folder: string;
  #log: Log;
  #onChange: () => void;
  #seen = new Set<string>();
  /** Registrations that are there and could not be read. */
  #unread = new Set<string>();
  #isListed = false;
  /** Somebody rang since the last list, where only that tells of a registration. */
  #isToList = false;
  #listedAtMs = Number.NEGATIVE_INFINITY;
  #isFolderGone = false;
  #folderMtimeMs = 0;
  #refreshing: Promise<void> | null = null;

  /** @param onChange Called when a registration was read that is new. */
  constructor(
    channel: Channel,
    registry: Registry,
    runtimeDir: string,
    log: Log,
    onChange: () => void,
  ) {
    this.#channel = channel;
    this.#registry = registry;
    this.#folder = join(runtimeDir, 'servers');
    this.#log = log;
    this.#onChange = onChange;
  }

  /** Is every registration that is there known? Not while the launcher has no descriptor left, say:
   * then what a server does not seem to ask for, it may ask for all the same. */
  get isComplete(): boolean {
    return this.#isListed && this.#unread.size === 0;
  }

  /** Now where a generation comes or goes, or nobody lives; else a registration rings. */
  get dueMs(): number {
    if (!this.isComplete) return 0;
    if (this.#isToList) return this.#listedAtMs + LIST_MS;
    const isSettled = ({ generations, graceMs, info }: Server): boolean =>
      generations.size === 1 && graceMs === GONE_AFTER_MS && info.workers > 0;
    return [...this.byName.values()].every(isSettled) ? Number.POSITIVE_INFINITY : 0;
  }

  /** Have what was registered since the last look read. False when somebody removed the runtime
   * directory under us. @param rang Who registers rings. */
  look(nowMs: number, rang: boolean): boolean {
    const mtimeMs = this.#mtimeMs();
    if (mtimeMs === null || this.#isFolderGone) return false;
    if (rang && mtimeMs === 'hidden') this.#isToList = true;
    if (this.#refreshing) return true;
    const isSame =
      mtimeMs === 'hidden'
        ? nowMs - this.#listedAtMs < LIST_MS
        : mtimeMs === this.#folderMtimeMs && this.isComplete;
    if (isSame) return true;
    if (mtimeMs !== 'hidden') {
      this.#folderMtimeMs = Date.now() - mtimeMs < SAME_TIME_MS ? -1 : mtimeMs;
    }
    void this.refresh(nowMs);
    return true;
  }

  /** When the folder changed; null = it is gone. Where the manager's user may not go to look, the
   * launcher is asked for its list instead. */
  #mtimeMs(): number | 'hidden' | null {
    try {
      return statSync(this.#folder, { throwIfNoEntry: false })?.mtimeMs ?? null;
    } catch {
      return 'hidden'; // EACCES on the way there
    }
  }

  /** Read what is new now. */
  async refresh(nowMs: number): Promise<void> {
    while (this.#refreshing) await this.#refreshing; // what it listed may be older than the question
    this.#refreshing = this.#readNew(nowMs).finally(() => {
      this.#refreshing = null;
    });
    await this.#refreshing;
  }

  async #readNew(nowMs: number): Promise<void> {
    let changed = false;
    this.#listedAtMs = nowMs;
    this.#isToList = false;
    const files = await this.#list();
    this.#isListed = files !== null;
    for (const file of [...(files ?? [])].sort()) {
      const name = nameOf(file);
      if (!name || this.#seen.has(file)) continue;
      this.#seen.add(file);
      changed = (await this.#load(file, name.server, name.generation, nowMs)) || changed;
    }
    if (changed) this.#onChange();
  }

  async #list(): Promise<readonly string[] | null> {
    try {
      return await this.#registry.registrations();
    } catch (error) {
      this.#isFolderGone = isNotThere(error);
      if (this.#isListed) {
        this.#log('warn', 'registrations.unreadable', { text: messageOf(error) });
      }
      return null;
    }
  }

  /** Look which workers live. True when a generation ended, so that its classes may go. */
  settle(nowMs: number): boolean {
    let ended = false;
    for (const server of this.byName.values()) {
      const lived = server.info.workers > 0;
      server.info = this.#channel.settle(server.handle);
      if (lived) server.aliveAtMs = nowMs; // or one did, until a moment ago
      if (server.info.settled > 0) {
        this.#log('warn', 'workers.settled', { server: server.name, workers: server.info.settled });
      }
      const newest = Math.max(...server.generations.keys());
      if (server.info.workers > 0) {
        server.aliveAtMs = nowMs;
        // Old ones may end before the first new one has come.
        if (
          server.graceMs !== GONE_AFTER_MS &&
          this.#channel.generationLives(server.handle, newest)
        ) {
          server.graceMs = GONE_AFTER_MS;
        }
      }
      for (const generation of server.generations.keys()) {
        if (generation === newest || nowMs - server.aliveAtMs > GONE_AFTER_MS) continue;
        if (this.#channel.generationLives(server.handle, generation)) continue;
        // Workers of the newest generation must have come before an older one may go.
        if (!this.#channel.generationLives(server.handle, newest)) continue;
        server.generations.delete(generation);
        this.#registry.removeRegistration(fileOf(server.name, generation));
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
      this.#registry.removeRegistration(fileOf(server.name, generation));
    }
    this.#registry.removeServer(server.name);
    // When it comes back it counts its generations from 1 again.
    for (const file of this.#seen)
      if (nameOf(file)?.server === server.name) this.#seen.delete(file);
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

  async #load(file: string, name: string, generation: number, nowMs: number): Promise<boolean> {
    const path = join(this.#folder, file);
    try {
      const registration = await this.#read(file, name, generation);
      const known = this.byName.get(name);
      if (known) {
        known.generations.set(generation, registration);
        known.aliveAtMs = nowMs;
        known.graceMs = FIRST_WORKER_MS;
      } else {
        const handle = await this.#attach(name);
        this.byName.set(name, {
          name,
          handle,
          generations: new Map([[generation, registration]]),
          info: this.#channel.settle(handle),
          aliveAtMs: nowMs,
          graceMs: FIRST_WORKER_MS,
        });
      }
      this.#unread.delete(file);
      this.#log('info', 'server.registered', { server: name, generation });
      return true;
    } catch (error) {
      const isLater = isTransient(error);
      const isKnown = this.#unread.has(file);
      if (isLater) this.#seen.delete(file);
      if (isLater) this.#unread.add(file);
      else this.#unread.delete(file);
      if (isLater && isKnown) return false; // told already
      this.#log('error', 'registration.invalid', {
        server: name,
        file: path,
        text: messageOf(error),
      });
      return false;
    }
  }

  async #attach(name: string): Promise<number> {
    const { cells, live } = await this.#registry.attach(name);
    try {
      return this.#channel.attachServer(name, { cells, live });
    } finally {
      closeSync(cells);
    }
  }

  /** What can be used of a registration; throws when it does not say whose it is. */
  async #read(file: string, name: string, generation: number): Promise<Registration> {
    const path = join(this.#folder, file);
    const fd = await this.#registry.registration(file);
    const text = readFileSync(fd, 'utf8');
    closeSync(fd);
    const { registration, errors } = readDialect(text, path, native);
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
}

/** The launcher could not do it just now; a file that is gone or says nonsense is another matter. */
function isTransient(error: unknown): boolean {
  return error instanceof LauncherError && !isNotThere(error);
}

function isNotThere(error: unknown): boolean {
  return error instanceof LauncherError && error.errno === constants.errno.ENOENT;
}

function fileOf(server: string, generation: number): string {
  return `${server}.${generation}.conf`;
}

function nameOf(file: string): { server: string; generation: number } | null {
  const match = /^(.+)\.(\d+)\.conf$/.exec(file);
  return match?.[1] === undefined ? null : { server: match[1], generation: Number(match[2]) };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The registration in force. */
export function newestOf(server: Server): Registration {
  const newest = Math.max(...server.generations.keys());
  const registration = server.generations.get(newest);
  if (!registration) throw new Error(`server ${server.name} has no registration`);
  return registration;
}
