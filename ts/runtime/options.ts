// SPDX-License-Identifier: Apache-2.0
// What serve() is told. checkOptions (check-options.ts) makes ServeSettings of it, with defaults.
import type { ProtocolName } from './metadata.ts';

export type ModelName = 'sequential' | 'forking' | 'process-pool' | 'thread-pool' | 'concurrent';

/** Protocols with an address. */
export type ListenProtocol = Exclude<ProtocolName, 'cgi'>;

export interface ListenOptions {
  protocol: ListenProtocol;
  /** "HOST:PORT" (port 0: the system chooses), "[v6]:PORT", "/path" of a Unix socket, or "fd:N". */
  address: string;
  /** AJP 1.3: every request must bring it; a file's first line. AJP 1.2: all bytes of the file answer the
   * challenge. Without one, AJP listens at loopback addresses and Unix sockets only. */
  secretFile?: string;
  /** AJP 1.3: names of request attributes that are taken beside web servers' own; others: 403. */
  attributes?: readonly string[];
  /** AJP 1.3: bytes of the longest packet, 8192 to 65536, as configured at the web server. */
  packetBytes?: number;
  /** AJP 1.2: bytes of the challenge, 5 and more. */
  challengeBytes?: number;
  /** Of a Unix socket; default: 0o600, its owner's only, so a web server of another user needs more. */
  mode?: number;
  /** Addresses that may connect; default: all. */
  allow?: readonly string[];
}

export interface Hooks {
  /** Before anything listens. In models without workers the master is the worker as well, and the order is
   * onMasterStart, onWorkerStart … onWorkerStop, onMasterStop. */
  onMasterStart?(): void | Promise<void>;
  onMasterStop?(): void | Promise<void>;
  /** Before the worker gets its first request; it gets none when this throws. */
  onWorkerStart?(): void | Promise<void>;
  /** After its last request. Not for workers that had to be killed. */
  onWorkerStop?(): void | Promise<void>;
  /** Every second in which there is nothing to do. */
  onMasterIdle?(): void | Promise<void>;
  onWorkerIdle?(): void | Promise<void>;
}

export interface ServeOptions extends Hooks {
  /** Default: as the program was started (started-as.ts). */
  listen?: ListenOptions | readonly ListenOptions[];
  /** Default: concurrent. CGI has a process for each request, and needs none. */
  model?: ModelName;
  /** process-pool: workers that are always there. forking: spares. Default: processors. */
  processes?: number;
  /** process-pool: most workers; default: processes. forking: requests at a time, beyond that 503;
   * default: 20. */
  maxProcesses?: number;
  /** thread-pool; default: processors. */
  threads?: number;
  /** Requests that may wait for their turn, beyond that 503 (sequential, pools); default: 128. */
  backlog?: number;
  /** A request's time from its arrival to the end of its answer; then 504, and what does not stop by
   * itself is ended. Default: 0, none. */
  deadlineMs?: number;
  /** A worker's requests and memory (resident, of a thread: heap), after which another takes its place;
   * without workers the program finishes and exits. Default: 0, no limit. */
  maxRequests?: number;
  maxMemoryMb?: number;
  /** What stop and replacement wait for running requests and background tasks; default: 10 s. */
  stopMs?: number;
  /** "node": (req, res); "fetch": (Request) => Response. Default: by the number of the handler's
   * parameters, two or more mean "node". */
  style?: 'node' | 'fetch';
  /** HTTP: a new worker when files of the program change. Default: true when HTTP was not asked for by
   * listen. */
  reload?: boolean;
}

/** With all defaults, checked. */
export interface ServeSettings extends Hooks {
  listen: readonly ListenOptions[] | null;
  model: ModelName;
  processes: number;
  maxProcesses: number;
  threads: number;
  backlog: number;
  deadlineMs: number;
  maxRequests: number;
  maxMemoryMb: number;
  stopMs: number;
  style: 'node' | 'fetch' | null;
  reload: boolean | null;
}

/** What serve() resolves to, when requests can come. In a worker it never resolves. */
export interface Served {
  /** Where it listens, ports as chosen; none for CGI. */
  readonly addresses: readonly { protocol: ListenProtocol; address: string }[];
  readonly model: ModelName;
  /** Takes no more, finishes what it has, runs the hooks. */
  stop(): Promise<void>;
}
