// SPDX-License-Identifier: Apache-2.0
// What manager and gateways tell each other: JSON, one object a line, over the socket pair that is the
// gateway's descriptor 3. The manager speaks first. A gateway that reads the end of it (manager and
// launcher are both gone) goes on with what it was told last; it is replaced soon.
//
// What decides which programs may run is not here: it is in the gateway's arguments, which the
// launcher compares with what the web server's configuration allows.

/** `disabled`: only for sessions that are there already; `stopped`: for nobody. */
export type Activation = 'active' | 'disabled' | 'stopped';

export interface CgiOptions {
  protocol: 'cgi';
  /** Programs at once: a request beyond that waits for one that is just ending; 0 = no limit. */
  concurrency: number;
  /** A program that runs longer is ended, and its request answered 504; 0 = no limit. */
  requestTimeoutMs: number;
  /** Bytes of one answer; 0 = no limit. */
  maxOutputBytes: number;
  /** After a client's abort or a limit: between TERM and KILL. */
  stopTimeoutMs: number;
}

export interface BackendConfig {
  /** As configured, and as `usher backend` names it: host:port, [v6]:port or unix:/path. */
  name: string;
  route: string | null;
  weight: number;
  activation: Activation;
  /** Gets requests only while no other one can. */
  isBackup: boolean;
  /** null and none: somebody else starts it. */
  engine?: EngineView | null;
}

/** Of a servlet engine that the manager starts. */
export interface EngineView {
  /** Nothing is sent to one that is not. */
  isUp: boolean;
  /** It will be soon: a request that finds no other backend waits for it. */
  isAwaited: boolean;
  /** Why it is not up, as the end of a sentence: "is being started". */
  text: string;
}

/** As JServ's ApJServMount. */
export interface ZoneMount {
  /** Prefix at the engine, without a slash at its end. */
  path: string;
  /** null: what follows the prefix is the zone's name. */
  zone: string | null;
}

export interface AjpOptions {
  protocol: 'ajp' | 'ajp12';
  packetBytes: number;
  /** Connections a gateway keeps to one backend. */
  poolMax: number;
  poolMin: number;
  /** An idle connection is closed after this; below the backend's keep-alive. */
  poolIdleMs: number;
  /** Longest wait for a connection of the pool. */
  acquireTimeoutMs: number;
  socketConnectTimeoutMs: number;
  /** CPING after connecting, and before each request: so long may the answer take; 0 = not. */
  pingConnectMs: number;
  pingPrepostMs: number;
  /** A connection that was idle for longer is asked before it is used, and has pingTimeoutMs; 0 = not. */
  pingIntervalMs: number;
  pingTimeoutMs: number;
  /** Longest silence of a backend that owes an answer; 0 = no limit. */
  replyTimeoutMs: number;
  /** Of a whole request; 0 = no limit. */
  requestTimeoutMs: number;
  method: 'request' | 'busyness';
  stickySession: boolean;
  /** A request whose session's backend cannot serve it gets 503. */
  stickyForce: boolean;
  sessionCookie: string;
  sessionPath: string;
  /** A backend that failed is tried again after this. */
  recoverTimeMs: number;
  /** Failures of single requests in so long make a backend fail. */
  errorEscalationMs: number;
  /** Statuses that count as a failure of the backend. */
  failOnStatus: readonly number[];
  /** Tries of a request of which nothing was sent. */
  retries: number;
  /** Longest wait for an engine that is being started. */
  engineWaitMs: number;
  /** Path prefix at the web server, and what it is at the backend: '' = the same. */
  mount: string;
  context: string;
  /** FastCGI parameters that the backend gets as request attributes. */
  attributes: readonly string[];
  /** AJP 1.2: paths that name servlets. */
  zones: readonly ZoneMount[];
}

export interface BackendState {
  name: string;
  /** stopped also while its engine is not up. */
  activation: Activation;
  /** probing: tried again by one request. */
  state: 'ok' | 'failed' | 'probing';
  /** Why it failed, last time. */
  lastError: string;
  busy: number;
  requests: number;
  failures: number;
  /** CLOCK_MONOTONIC ms until which nothing is sent there; 0 = now. */
  failedUntilMs: number;
}

/** Manager → gateway. */
export type Down =
  | {
      type: 'configure';
      class: string;
      options: CgiOptions | AjpOptions;
      backends: BackendConfig[];
    }
  /** What the class's other gateways know of the backends: their busy counts added up, the last
   * failures, what an administrator changed. */
  | { type: 'backends'; backends: SharedBackend[] };

export interface SharedBackend {
  name: string;
  activation: Activation;
  /** At other gateways of the class. */
  busyElsewhere: number;
  failedUntilMs: number;
  lastError: string;
  engine?: EngineView | null;
}

/** Gateway → manager. */
export type Up =
  /** Configured, and listening. */
  | { type: 'ready' }
  /** At a change, at most ten a second. */
  | { type: 'backends'; backends: BackendState[] }
  | { type: 'log'; level: 'info' | 'warn' | 'error'; event: string; text: string };
