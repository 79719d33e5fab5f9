// SPDX-License-Identifier: Apache-2.0
// The whole boundary to the addon, typed once. Names are the C library's in camelCase; meanings,
// units and errors are documented in native/channel/manager.h, native/options/options.h and
// native/os/os.h. A failing call throws a NativeError; a bad argument throws a TypeError.
import { createRequire } from 'node:module';

export interface NativeError extends Error {
  /** usher_status_t: ERR_USHER_FULL, ERR_USHER_NOT_FOUND, ERR_USHER_STALE, ERR_USHER_VERSION,
   * ERR_USHER_SYSTEM …; ERR_USHER_CLOSED after close(). */
  code: string;
  /** errno of the failed system call, where one failed. */
  errno?: number;
}

/** A record of the table: valid while its generation is. */
export interface Ref {
  readonly index: number;
  readonly generation: number;
}

export type Kind = 'static' | 'dynamic' | 'external';
export type ClassState = 'cold' | 'starting' | 'ready' | 'failed' | 'refused' | 'removed';
export type EndpointState = 'starting' | 'ready' | 'draining' | 'down';
export type ManagerState = 'absent' | 'running' | 'stopped';

export interface ClassLimits {
  flags: number;
  queueLimit: number;
  queueTimeoutMs: number;
  connectTimeoutMs: number;
  idleTimeoutMs: number;
  requestTimeoutMs: number;
}

export interface ClassInfo {
  ref: Ref;
  kind: Kind;
  state: ClassState;
  /** Name of the only server that sees it, as a hash in hexadecimal; '0' = every server. */
  serverId: string;
  limits: ClassLimits;
  key: string;
}

export type Address =
  | { kind: 'serverSocket'; name: string }
  | { kind: 'unix'; path: string }
  | { kind: 'inet' | 'inet6'; host: string; port: number };

export interface EndpointInfo {
  ref: Ref;
  classRef: Ref;
  state: EndpointState;
  concurrency: number;
  pid: number;
  address: Address;
}

export interface ServerInfo {
  workers: number;
  settled: number;
  generation: number;
  /** 0 = no worker lives. */
  oldestGeneration: number;
  startRequestsRefused: number;
  lockTimeouts: number;
  lockSuccessions: number;
}

/** Values that cannot be, found in what workers write: how often, and of the last one where and what
 * (usher_damage_kind_t). */
export interface Damage {
  times: number;
  where: number;
  what: 'count' | 'cells' | 'load' | 'worker' | 'slots' | 'asked' | 'hint';
}

/** Totals since the servers were attached; `waiting` and `inFlight` are now. */
export interface Load {
  arrivals: number;
  admitted: number;
  finished: number;
  failed: number;
  aborted: number;
  refused: number;
  waitingUs: number;
  servingUs: number;
  waiting: number;
  inFlight: number;
}

/** Three times the work, which only metrics need. */
export interface LoadAndTimes extends Load {
  /** Bucket b counts times in [2^b, 2^(b+1)) µs. */
  waitingHistogram: number[];
  servingHistogram: number[];
}

export interface StartRequest {
  entry: number;
  key: string;
}

/** The manager's side of the channel of one runtime directory. */
export declare class Channel {
  /** @param files Descriptors of its table and places, opened for reading and writing, for who may
   * not open them; they stay the caller's. */
  constructor(runtimeDir: string, files?: { table: number; places: number });
  /** Stops the doorbell thread and unmaps. Idempotent; every later call throws. */
  close(): void;

  setManagerState(state: ManagerState, pid: number): void;
  beat(): void;
  /** Calls `onRing(rang)` on the event loop after each ring, or each `timeoutMs` without one. Rings
   * that come while a call is pending are merged into one. Once per channel; does not keep the
   * process alive. */
  listen(timeoutMs: number, onRing: (rang: boolean) => void): void;
  /** No calls for the sake of `timeoutMs` alone in the next `restMs`, unless a worker has counted
   * something; beats go on. 0 ends that. */
  rest(restMs: number): void;

  addClass(kind: Kind, key: string, server: string | null, limits: ClassLimits): Ref;
  setLimits(ref: Ref, limits: ClassLimits): void;
  /** Full: all the instances it may have, each of them ready; then requests that wait do not ring. Not so
   * at first. */
  setFull(ref: Ref, isFull: boolean): void;
  setClass(
    ref: Ref,
    state: ClassState,
    verdictStatus: number,
    retryAfterS: number,
    reason: string,
  ): void;
  removeClass(ref: Ref): void;
  /** Every class in the table, also what a former manager left. */
  classes(): ClassInfo[];

  addEndpoint(
    classRef: Ref,
    address: Address,
    concurrency: number,
    state: EndpointState,
    pid: number,
  ): Ref;
  setEndpoint(ref: Ref, state: EndpointState, pid: number): void;
  removeEndpoint(ref: Ref): void;
  endpoints(): EndpointInfo[];
  /** Requests at the endpoint now, by the cells. */
  inFlight(ref: Ref): number;
  /** Requests that ended at the endpoint. */
  served(ref: Ref): number;
  /** Connections that failed at the endpoint. */
  unreached(ref: Ref): number;
  /** Requests that did not end within -request-timeout at the instance that is there now: no other
   * request is sent to it (external: it is only counted). setEndpoint(…, 'starting', …) begins anew. */
  hung(ref: Ref): number;

  /** @param live Path of the server's live file; or descriptors, of which `live` belongs to the
   * channel afterwards and `cells` stays the caller's. */
  attachServer(server: string, live: string | { cells: number; live: number }): number;
  detachServer(handle: number): void;
  settle(handle: number): ServerInfo;
  generationLives(handle: number, generation: number): boolean;
  /** What was damaged since the last call in a server's cells, or in what all servers share (null). */
  damage(handle: number | null): Damage | null;
  /** All start requests of the server; each stays until finishStartRequest. */
  startRequests(handle: number): StartRequest[];
  finishStartRequest(handle: number, entry: number): void;

  /** Indices of classes whose load changed or that rang since the last call. */
  changed(): number[];
  load(classRef: Ref): Load;
  loadAndTimes(classRef: Ref): LoadAndTimes;
  repairHints(classRef: Ref): number;
}

/** The manager's end of the link to the launcher: packets and descriptors (native/launcher/protocol.h). */
export declare class LauncherLink {
  /** `onMessage` gets each packet with the descriptors that came with it (the receiver owns them);
   * `onClose` is called once, when the launcher is gone, after its last packet. Takes over `fd`, and
   * keeps the process alive until the link is closed. */
  constructor(
    fd: number,
    onMessage: (packet: Buffer, descriptors: number[]) => void,
    onClose: () => void,
  );
  /** False when the socket's buffer is full: try again later. Throws when the launcher is gone.
   * @param packet At most limits.messageMax bytes. */
  send(packet: Buffer): boolean;
  close(): void;
}

export type OptionScope = 'static' | 'external' | 'dynamic';

export interface OptionRow {
  id: string;
  name: string;
  aliases: string[];
  type: string;
  unit: string;
  defaultText: string;
  scopes: OptionScope[];
  hosts: ('apache' | 'nginx' | 'usher')[];
  repeatable: boolean;
  doc: string;
}

/** A parsed option: number for COUNT, TIME (ms), SIZE (bytes), RATIO (0 … 1), SIGNAL; true for FLAG;
 * text for the rest; a list when the option is repeatable. */
export type OptionValue = number | boolean | string | string[];

export interface Native {
  Channel: typeof Channel;
  LauncherLink: typeof LauncherLink;
  /** Limits of the layout: classesMax, endpointsMax, keyMax … */
  limits: Readonly<Record<string, number>>;
  /** Offsets and sizes, for the test that a change of layout bumps the version. */
  layout: Readonly<Record<string, number>>;
  /** What is or-ed to flags of ClassLimits; of the protocols one. */
  classFlags: Readonly<
    Record<'keepConn' | 'flush' | 'nph' | 'fastcgi' | 'cgi' | 'ajp' | 'ajp12', number>
  >;
  options(): OptionRow[];
  /** Words after the class's name, in httpd.conf's spelling → values by id; only those given. With
   * `name` it is checked as well, and whether name and options fit together.
   * Throws ERR_USHER_INVALID with the validator's sentence. */
  parseOptions(scope: OptionScope, words: string[], name?: string): Record<string, OptionValue>;
  /** A COMMAND value → program and arguments. */
  splitCommand(command: string): string[];
  /** Throws ERR_USHER_INVALID when `name` is no class name or path. */
  checkClassName(name: string): void;
  /** Throws ERR_USHER_INVALID when `address` is not ADDRESS:PORT of a loopback address. */
  checkLoopback(address: string): void;
  /** CLOCK_MONOTONIC, ms. */
  nowMs(): number;
  /** Connections waiting in accept() of the listening UNIX socket with this inode; -1 = no such socket. */
  acceptQueue(inode: number): number;
  /** Connections of a listening socket that wait in its accept queue, and those that programs have
   * accepted and not closed; null = no such socket.
   * @param path Of a UNIX socket; '' = the TCP port `port`.
   * @param onlyWaiting TCP: leave out those accepted, which take milliseconds to count. */
  connections(
    inode: number,
    path: string,
    port: number,
    onlyWaiting: boolean,
  ): { waiting: number; accepted: number } | null;
  /** Does somebody hold the file's exclusive flock? False when there is no such file. */
  isLocked(path: string): boolean;
  /** Is there nothing to be read from a connected socket just now, not even its end or an error? */
  isQuiet(fd: number): boolean;
  /** `to` becomes another descriptor of what `from` is: dup2. */
  duplicateTo(from: number, to: number): void;
  /** Process and user that connected to, or made, the other end of a connected UNIX socket. */
  peer(fd: number): { pid: number; uid: number };
}

const require = createRequire(import.meta.url);

/** The addon stands in build/, two folders above both ts/native and dist/native. */
export const native = require('../../build/addon.node') as Native;
