// SPDX-License-Identifier: Apache-2.0
// The manager's view of the launcher: requests with their answers, events of instances.
import { closeSync } from 'node:fs';
import type { LauncherLink } from '../native/native.ts';
import {
  decodeMessage,
  encodeMessage,
  type FieldValue,
  listOf,
  type Message,
  numberOf,
  textOf,
} from './message.ts';

/** A step of the launcher that failed: bind, listen, fork, cwd, setuid, exec … */
export class LauncherError extends Error {
  readonly step: string;
  readonly errno: number;
  /** Its own word for what was wrong; '' = none. */
  readonly causeWord: string;
  /** Of a start. */
  readonly facts: StartFacts;
  constructor(
    step: string,
    errno: number,
    message: string,
    { causeWord = '', facts = noFacts }: { causeWord?: string; facts?: StartFacts } = {},
  ) {
    super(message);
    this.name = 'LauncherError';
    this.step = step;
    this.errno = errno;
    this.causeWord = causeWord;
    this.facts = facts;
  }
}

/** What a program's process was, and when, on its way to exec, as far as it came. */
export interface StartFacts {
  /** In their order; CLOCK_MONOTONIC. */
  steps: readonly { name: string; atMs: number }[];
  /** null = it was not forked. */
  uid: number | null;
  gid: number | null;
  groups: readonly number[];
  /** NAME=N: soft limits that it has. */
  limits: readonly string[];
}

export const noFacts: StartFacts = { steps: [], uid: null, gid: null, groups: [], limits: [] };

export interface KeptEndpoint {
  id: number;
  name: string;
  tag: string;
  inode: number;
  /** Of a public address: unix:/PATH or tcp:…; null = a socket in the runtime directory. */
  listen: string | null;
  /** A former launcher's that could not be got back: what is there serves, nothing new can start on it. */
  isDetached: boolean;
  servers: readonly string[];
}

export interface KeptInstance {
  id: number;
  /** 0 = a service. */
  endpointId: number;
  /** It listens by itself, without an endpoint. */
  isService: boolean;
  pid: number;
  tag: string;
  startedMs: number;
  state: 'starting' | 'ready' | 'exited';
  exit: Exit | null;
  /** Of a living gateway: our end of its link, ours to close; null = no gateway, or one whose launcher
   * was killed. */
  linkFd: number | null;
}

/** How an instance ended; neither code nor signal: it was a former launcher's child. */
export interface Exit {
  exitCode: number | null;
  exitSignal: number | null;
  livedMs: number;
  /** The most memory it had; 0 = not known. */
  rssBytes: number;
  /** Processor time of it and of the children that it waited for; null = not known. */
  cpuS: number | null;
  /** The last 4 kB of its stdout and stderr. */
  output: string;
}

export interface Welcome {
  runtimeDir: string;
  mode: 'embedded' | 'external' | 'run';
  config: string | null;
  /** Path of the log; null = it is no file of ours. */
  log: string | null;
  /** Descriptors, ours to close: the listening control socket; table and places of the channel; the
   * configuration file. -1 = none. */
  controlFd: number;
  tableFd: number;
  placesFd: number;
  configFd: number;
  launcherPid: number;
  uid: number;
  endpoints: KeptEndpoint[];
  instances: KeptInstance[];
  /** What a former manager wished to be remembered. */
  memories: ReadonlyMap<string, string>;
}

export interface LauncherEvents {
  /** Before any other event of the instance, and before the promise of start() resolves. */
  onStarted(id: number, pid: number, facts: StartFacts): void;
  onReady(id: number): void;
  onOutput(id: number, text: string): void;
  onExited(id: number, exit: Exit): void;
  /** @param id Of the program that wrote too much; null = the manager did not keep up. */
  onDropped(bytes: number, id: number | null): void;
  /** The log was begun anew. @param fd The new file, ours to close. */
  onLog(fd: number): void;
  onTerminate(): void;
  /** The exclusive lock on the runtime directory is ours. */
  onLastLook(): void;
  onSnapshot(id: number, text: string): void;
}

/** A program that listens by itself: no endpoint, never told ready. */
export interface ServiceSpec {
  tag: string;
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  user: string | null;
  group: string | null;
  nice: number;
  /** NAME=N each, as -limit has it. */
  resourceLimits: readonly string[];
  /** Gets the program's output as well. */
  logFile: string | null;
  allowSetuid: boolean;
}

export interface StartSpec extends ServiceSpec {
  endpointId: number;
  /** Our own program of this name, with args as its arguments; null = args is the program. */
  gateway: 'cgi' | 'ajp' | null;
  /** What the gateway gets as descriptor 4. */
  secretFile: string | null;
  startTimeoutMs: number;
}

export interface Started {
  /** Our end of the gateway's link, ours to close; null = it is no gateway. */
  linkFd: number | null;
}

/** What requests are told that get a 503. */
export interface RefusalWords {
  /** One line for the web server's error log. */
  reason: string;
  retryAfterS: number;
  /** HTML for the client, in the place of a few words. */
  page?: string | undefined;
}

interface Answer {
  message: Message;
  /** The receiver's to close. */
  descriptors: readonly number[];
}

interface Pending {
  resolve(answer: Answer): void;
  reject(error: Error): void;
}

/** What was asked for, by the verb of the answer. */
const askedBy: Readonly<Record<string, string>> = {
  bound: 'bind',
  linked: 'link',
  closed: 'close',
  started: 'start',
  registrations: 'registrations',
  registration: 'registration',
  attached: 'attach',
  resolved: 'resolve',
  identified: 'identify',
  reopened: 'reopen',
  configured: 'config',
};

export type OpenLink = (
  onMessage: (packet: Buffer, descriptors: number[]) => void,
  onClose: () => void,
) => LauncherLink;

export class Launcher {
  #link: LauncherLink;
  #events: LauncherEvents | null = null;
  #early: Answer[] = [];
  #pending = new Map<string, Pending>();
  #looks = new Map<number, (idle: boolean) => void>();
  #backlog: Buffer[] = [];
  #welcome: Partial<Welcome> & {
    endpoints: KeptEndpoint[];
    instances: KeptInstance[];
    memories: Map<string, string>;
  } = {
    endpoints: [],
    instances: [],
    memories: new Map(),
    controlFd: -1,
    tableFd: -1,
    placesFd: -1,
    configFd: -1,
  };
  #nextId = 1;
  #onWelcome: ((welcome: Welcome) => void) | null = null;

  /** Opens the link; the promise resolves with what the launcher keeps from a former manager. */
  static connect(
    open: OpenLink,
    onClose: () => void,
  ): Promise<{ launcher: Launcher; welcome: Welcome }> {
    return new Promise((resolve) => {
      const launcher: Launcher = new Launcher(open, onClose, (welcome) =>
        resolve({ launcher, welcome }),
      );
    });
  }

  private constructor(open: OpenLink, onClose: () => void, onWelcome: (welcome: Welcome) => void) {
    this.#onWelcome = onWelcome;
    this.#link = open((packet, descriptors) => this.#receive(packet, descriptors), onClose);
  }

  /** Events that came before are delivered now, in order. */
  subscribe(events: LauncherEvents): void {
    this.#events = events;
    for (const answer of this.#early.splice(0)) this.#dispatch(answer);
  }

  ready(): void {
    this.#send('ready', {});
  }

  /** Says that the manager does not hang. */
  alive(): void {
    this.#send('alive', {});
  }

  /** A new id, of an endpoint, an instance or a question. */
  nextId(): number {
    return this.#nextId++;
  }

  /** Inode of the listening socket. Rejects with a LauncherError. */
  async bind(
    id: number,
    name: string,
    tag: string,
    backlog: number,
    servers: readonly string[],
  ): Promise<number> {
    const answer = await this.#ask('bind', id, { name, tag, backlog, server: servers });
    return numberOf(answer.message, 'inode');
  }

  /** Inode of the listening socket at a public address.
   * @param listen unix:/PATH, tcp:PORT, tcp:ADDRESS:PORT or tcp:[IPv6]:PORT.
   * @param owner Of the UNIX socket's file. Rejects with a LauncherError. */
  async bindPublic(
    id: number,
    name: string,
    tag: string,
    listen: string,
    owner: { user: string | null; group: string | null },
  ): Promise<number> {
    const user = owner.user ?? undefined;
    const group = owner.group ?? undefined;
    const answer = await this.#ask('bind', id, { name, tag, backlog: 0, listen, user, group });
    return numberOf(answer.message, 'inode');
  }

  async linkServer(id: number, server: string): Promise<void> {
    await this.#ask('link', id, { server });
  }

  /** With a refusal, requests that wait in the socket are answered 503 with it; without one their
   * connections break. */
  async closeEndpoint(id: number, refusal?: RefusalWords): Promise<void> {
    await this.#ask('close', id, refusal ? refusalFields(refusal) : {});
  }

  /** Those who wait in the socket, at which no program lives, are answered 503. */
  refuseWaiting(id: number, refusal: RefusalWords): void {
    this.#send('refuse', { id, ...refusalFields(refusal) });
  }

  /** Puts the error page of the class with this record where workers of these servers find it.
   * @param html null = takes it away. */
  page(
    record: { index: number; generation: number },
    servers: readonly string[],
    html: string | null,
  ): void {
    const { index, generation } = record;
    this.#send('page', { index, generation, server: servers, text: html ?? undefined });
  }

  /** Resolves when the program runs. Rejects with a LauncherError that names the step. */
  async start(id: number, spec: StartSpec): Promise<Started> {
    const { descriptors } = await this.#ask('start', id, {
      endpoint: spec.endpointId,
      gateway: spec.gateway ?? undefined,
      secret: spec.secretFile ?? undefined,
      ...programFields(spec),
      start_timeout_ms: spec.startTimeoutMs,
    });
    return { linkFd: descriptors[0] ?? null };
  }

  /** Resolves when the program runs: the launcher cannot see when it is ready. Rejects with a
   * LauncherError that names the step. */
  async startService(id: number, spec: ServiceSpec): Promise<{ pid: number }> {
    const { message } = await this.#ask('start', id, { service: 1, ...programFields(spec) });
    return { pid: numberOf(message, 'pid') };
  }

  signal(id: number, signal: number): void {
    this.#send('signal', { id, signal });
  }

  /** Could the instance end without a request's noticing? Then it has got the signal when `onLooked`
   * is called with true: before any event of what follows. */
  look(id: number, signal: number, onLooked: (idle: boolean) => void): void {
    this.#looks.set(id, onLooked);
    this.#send('look', { id, signal });
  }

  /** Asks for what the instance's processes are doing: onSnapshot follows. */
  snapshot(id: number): void {
    this.#send('snapshot', { id });
  }

  /** Has a text kept for the next manager. @param text '' = drop it; at most 64 kB. */
  remember(key: string, text: string): void {
    this.#send('remember', { key, text });
  }

  forget(id: number): void {
    this.#send('forget', { id });
  }

  /** Names of the files SERVER.GENERATION.conf in the runtime directory. Rejects with a LauncherError
   * when that is gone. */
  async registrations(): Promise<readonly string[]> {
    const { message } = await this.#ask('registrations', this.nextId(), {});
    return listOf(message, 'name');
  }

  /** A descriptor for reading one of them. Rejects with a LauncherError. */
  async registration(name: string): Promise<number> {
    const [fd = -1] = (await this.#ask('registration', this.nextId(), { name })).descriptors;
    return fd;
  }

  /** Descriptors of a server's cells and live file. Rejects with a LauncherError. */
  async attach(server: string): Promise<{ cells: number; live: number }> {
    const answer = await this.#ask('attach', this.nextId(), { server });
    const [cells = -1, live = -1] = answer.descriptors;
    return { cells, live };
  }

  removeRegistration(name: string): void {
    this.#send('remove', { registration: name });
  }

  /** Its folder and its cells. */
  removeServer(server: string): void {
    this.#send('remove', { server });
  }

  /** May the server's newest registration have this file started as a dynamic class? Resolves with the
   * path without symbolic links; rejects with a LauncherError of step "missing" or "path". */
  async resolve(server: string, path: string): Promise<string> {
    const { message } = await this.#ask('resolve', this.nextId(), { server, path });
    return textOf(message, 'real');
  }

  /** A text that changes with the file; '' = there is none. */
  async identify(path: string): Promise<string> {
    const { message } = await this.#ask('identify', this.nextId(), { path });
    return textOf(message, 'identity');
  }

  /** Has the log begun anew, which somebody has moved away. `fd`: the new file, the caller's to close;
   * null = the log is no file of ours. Rejects with a LauncherError. */
  async reopenLog(): Promise<{ path: string | null; fd: number | null }> {
    const { message, descriptors } = await this.#ask('reopen', this.nextId(), {});
    return { path: textOf(message, 'path') || null, fd: descriptors[0] ?? null };
  }

  /** Has usher.conf read again, for what may be started. A descriptor for reading it. Rejects with a
   * LauncherError. */
  async config(): Promise<number> {
    const [fd = -1] = (await this.#ask('config', this.nextId(), {})).descriptors;
    return fd;
  }

  /** The launcher begins its program anew in its place, and then the manager that is installed now. */
  upgrade(): void {
    this.#send('upgrade', {});
  }

  finish(): void {
    this.#send('finish', { first: 1 });
  }

  resume(): void {
    this.#send('resume', {});
  }

  quit(remove: boolean): void {
    this.#send('quit', { remove: remove ? 1 : 0 });
  }

  /** Sends what the socket had no room for. Called on every pass of the manager. */
  flush(): void {
    while (this.#backlog.length > 0) {
      const packet = this.#backlog[0];
      if (packet === undefined || !this.#link.send(packet)) return;
      this.#backlog.shift();
    }
  }

  close(): void {
    this.#link.close();
  }

  #send(verb: string, fields: Record<string, FieldValue>): void {
    this.#backlog.push(encodeMessage(verb, fields));
    this.flush();
  }

  #ask(verb: string, id: number, fields: Record<string, FieldValue>): Promise<Answer> {
    return new Promise((resolve, reject) => {
      try {
        this.#send(verb, { id, ...fields });
      } catch (error) {
        reject(new LauncherError(verb, 0, error instanceof Error ? error.message : String(error)));
        return;
      }
      this.#pending.set(`${verb} ${id}`, { resolve, reject });
    });
  }

  #receive(packet: Buffer, descriptors: number[]): void {
    const message = decodeMessage(packet);
    if (this.#onWelcome) this.#greet(message, descriptors);
    else if (message.verb === 'failed') this.#fail(message);
    else if (this.#settle(message, descriptors)) return;
    else if (this.#events) this.#dispatch({ message, descriptors });
    else this.#early.push({ message, descriptors });
  }

  #greet(message: Message, descriptors: number[]): void {
    const welcome = this.#welcome;
    switch (message.verb) {
      case 'hello': {
        welcome.runtimeDir = textOf(message, 'runtime_dir');
        const mode = textOf(message, 'mode');
        welcome.mode = mode === 'run' || mode === 'external' ? mode : 'embedded';
        welcome.config = textOf(message, 'config') || null;
        welcome.log = textOf(message, 'log') || null;
        const [controlFd = -1, tableFd = -1, placesFd = -1, configFd = -1] = descriptors;
        Object.assign(welcome, { controlFd, tableFd, placesFd, configFd });
        welcome.launcherPid = numberOf(message, 'launcher_pid');
        welcome.uid = numberOf(message, 'uid');
        break;
      }
      case 'endpoint':
        welcome.endpoints.push({
          id: numberOf(message, 'id'),
          name: textOf(message, 'name'),
          tag: textOf(message, 'tag'),
          inode: numberOf(message, 'inode'),
          listen: textOf(message, 'listen') || null,
          isDetached: textOf(message, 'detached') === '1',
          servers: listOf(message, 'server'),
        });
        break;
      case 'instance': {
        const state = textOf(message, 'state');
        welcome.instances.push({
          id: numberOf(message, 'id'),
          endpointId: numberOf(message, 'endpoint'),
          isService: textOf(message, 'service') === '1',
          pid: numberOf(message, 'pid'),
          tag: textOf(message, 'tag'),
          startedMs: numberOf(message, 'started_ns') / 1e6,
          state: state === 'ready' || state === 'exited' ? state : 'starting',
          exit: state === 'exited' ? exitOf(message) : null,
          linkFd: descriptors[0] ?? null,
        });
        break;
      }
      case 'memory':
        welcome.memories.set(textOf(message, 'key'), textOf(message, 'text'));
        break;
      case 'welcome':
        this.#nextId = Math.max(1, numberOf(message, 'next_id'));
        this.#onWelcome?.(welcome as Welcome);
        this.#onWelcome = null;
        break;
      default:
        this.#early.push({ message, descriptors });
    }
  }

  #dispatch({ message, descriptors }: Answer): void {
    const id = numberOf(message, 'id');
    const events = this.#events;
    switch (message.verb) {
      case 'looked':
        this.#endLook(id, numberOf(message, 'idle') === 1);
        break;
      case 'ready':
        events?.onReady(id);
        break;
      case 'output':
        events?.onOutput(id, textOf(message, 'text'));
        break;
      case 'exited':
        events?.onExited(id, exitOf(message));
        break;
      case 'dropped':
        events?.onDropped(numberOf(message, 'bytes'), id || null);
        break;
      case 'log':
        for (const fd of descriptors) events?.onLog(fd);
        break;
      case 'snapshot':
        events?.onSnapshot(id, textOf(message, 'text'));
        break;
      case 'last-look':
        events?.onLastLook();
        break;
      case 'terminate':
        events?.onTerminate();
        break;
      default:
        throw new RangeError(`launcher sent an unknown verb "${message.verb}"`);
    }
  }

  /** False when the message is no answer to a question. */
  #settle(message: Message, descriptors: readonly number[]): boolean {
    const verb = askedBy[message.verb];
    if (verb === undefined) return false;
    const id = numberOf(message, 'id');
    if (message.verb === 'started') {
      this.#events?.onStarted(id, numberOf(message, 'pid'), factsOf(message));
    }
    const pending = this.#pending.get(`${verb} ${id}`);
    this.#pending.delete(`${verb} ${id}`);
    if (pending) pending.resolve({ message, descriptors });
    else for (const fd of descriptors) closeSync(fd);
    return true;
  }

  #endLook(id: number, idle: boolean): void {
    const onLooked = this.#looks.get(id);
    this.#looks.delete(id);
    onLooked?.(idle);
  }

  #fail(message: Message): void {
    const id = numberOf(message, 'id');
    // Ids of endpoints and instances come from one sequence, so one question per id can be open.
    for (const verb of Object.values(askedBy)) {
      const pending = this.#pending.get(`${verb} ${id}`);
      if (!pending) continue;
      this.#pending.delete(`${verb} ${id}`);
      const step = textOf(message, 'step');
      const error = textOf(message, 'error');
      const more = { causeWord: textOf(message, 'cause'), facts: factsOf(message) };
      pending.reject(new LauncherError(step, numberOf(message, 'errno'), error, more));
      return;
    }
    this.#endLook(id, false); // it has exited meanwhile
  }
}

function programFields(spec: ServiceSpec): Record<string, FieldValue> {
  return {
    tag: spec.tag,
    arg: spec.args,
    env: spec.env,
    cwd: spec.cwd,
    user: spec.user ?? undefined,
    group: spec.group ?? undefined,
    nice: spec.nice === 0 ? undefined : spec.nice,
    limit: spec.resourceLimits,
    log: spec.logFile ?? undefined,
    setuid: spec.allowSetuid ? 1 : undefined,
  };
}

function refusalFields({ reason, retryAfterS, page }: RefusalWords): Record<string, FieldValue> {
  return { refusal: reason.replaceAll('\0', '?'), retry_after_s: retryAfterS, page };
}

function factsOf(message: Message): StartFacts {
  const uid = textOf(message, 'uid');
  return {
    steps: listOf(message, 'done').map((step) => {
      const [name = '', ns = ''] = step.split('=');
      return { name, atMs: Number(ns) / 1e6 };
    }),
    uid: uid === '' ? null : Number(uid),
    gid: uid === '' ? null : numberOf(message, 'gid'),
    groups: listOf(message, 'group').map(Number),
    limits: listOf(message, 'limit'),
  };
}

function exitOf(message: Message): Exit {
  const code = textOf(message, 'exit_code');
  const signal = textOf(message, 'exit_signal');
  const cpuUs = textOf(message, 'cpu_us'); // launchers before it say nothing of it
  return {
    exitCode: code === '' ? null : Number(code),
    exitSignal: signal === '' ? null : Number(signal),
    livedMs: numberOf(message, 'lived_ms'),
    rssBytes: numberOf(message, 'rss_kb') * 1024,
    cpuS: cpuUs === '' ? null : numberOf(message, 'cpu_us') / 1e6,
    output: textOf(message, 'output'),
  };
}
