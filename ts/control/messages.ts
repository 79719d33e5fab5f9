// SPDX-License-Identifier: Apache-2.0
// What manager and its clients say to each other over the control socket: JSON bodies of the routes
// in server.ts. The only thing both ends share. Times of day are ISO 8601 in UTC.

export const statusSchema = 1;
/** Grows with every route and field: what an older manager does not know it refuses. */
export const apiVersion = 2;
/** With every answer: apiVersion, and the version of the package. */
export const apiHeader = 'usher-api';
export const versionHeader = 'usher-version';

export interface Status {
  schema: typeof statusSchema;
  manager: ManagerStatus;
  servers: ServerStatus[];
  classes: ClassStatus[];
}

export interface ManagerStatus {
  pid: number;
  version: string;
  startedAt: string;
  /** Its own usher.conf; null = it has none. */
  configuration: string | null;
}

export interface ServerStatus {
  name: string;
  /** "nginx", "apache". */
  kind: string;
  /** Of its master, as registered. */
  pid: number;
  /** Of its newest registration. */
  generation: number;
  /** Workers alive now. */
  workers: number;
  /** Its configuration file. */
  configuration: string;
}

export type ClassKind = 'static' | 'dynamic' | 'external';
export type ClassState = 'cold' | 'starting' | 'ready' | 'failed' | 'refused' | 'removed';
export type InstanceState = 'starting' | 'ready' | 'draining' | 'stopping';
/** `standby`: a backup that is not needed; `disabled`: configured with -down. */
export type BackendState = 'up' | 'down' | 'draining' | 'standby' | 'disabled';
/** `disabled`: only for sessions that are there already; `stopped`: for nobody. */
export type Activation = 'active' | 'disabled' | 'stopped';

export interface ClassStatus {
  /** Name or path as configured. */
  name: string;
  kind: ClassKind;
  /** "fastcgi", "cgi", "ajp", "ajp12". */
  protocol: string;
  state: ClassState;
  /** Instances the policy wants now. */
  wanted: number;
  /** Instances that `usher scale` asked for; null = as configured. */
  scaledTo: number | null;
  /** file:line of its directive; '' = it has none. */
  source: string;
  /** Changes with any of its options. */
  options: string;
  /** Requests at its endpoints now. */
  inFlight: number;
  /** Requests waiting for a place now. */
  waiting: number;
  instances: InstanceStatus[];
  /** Addresses of an external class; of the servlet engines behind a class of protocol ajp. */
  backends: BackendStatus[];
  lastEvent: ClassEvent | null;
  totals: ClassTotals;
  /** The last start that failed; null when none did since the manager knows the class. */
  lastFailure: Journey | null;
}

export interface InstanceStatus {
  pid: number;
  state: InstanceState;
  startedAt: string;
  /** Requests it was given. */
  requests: number;
  rssBytes: number;
}

export interface BackendStatus {
  address: string;
  /** As configured, where that is a name: "db.local:9000". */
  name: string | null;
  state: BackendState;
  isBackup: boolean;
  /** Why it is down; null when nothing is known to be wrong. */
  lastError: string | null;
  inFlight: number;
  /** Requests it was given since the manager knows it, and those that failed of it. */
  requests: number;
  failures: number;
  /** What of a session's name says that the session lives there. */
  route: string | null;
  activation: Activation;
  /** The servlet engine that the manager runs there; null = somebody else does. */
  engine: EngineStatus | null;
}

export interface EngineStatus {
  pid: number | null;
  /** `off`: it is not needed; `waiting`: it failed, and is started again later; `draining`: it serves its
   * sessions and what it has begun. */
  state: 'off' | 'waiting' | 'starting' | 'up' | 'draining' | 'stopping';
  startedAt: string | null;
  rssBytes: number;
  /** Since the manager lives. */
  starts: number;
  /** Ends in a row that nobody asked for. */
  failures: number;
}

export interface ClassEvent {
  at: string;
  /** As in the log: "instance.ready", "class.failed" … */
  event: string;
  /** One line for people. */
  text: string;
}

/** Requests since the manager knows the class. */
export interface ClassTotals {
  arrivals: number;
  admitted: number;
  finished: number;
  failed: number;
  aborted: number;
  refused: number;
}

/**
 * The timed record of one start. `ready`: it succeeded; `not-started`: a step failed before the
 * program ran; `exited`: the program ended before it was ready, or right after; `timed-out`: it
 * was not ready within -start-timeout; `hung`: it was ready, and later did not end a request within
 * -request-timeout.
 */
export interface Journey {
  /** Of this start, in every place that tells of it: small letters and digits. Never given again while
   * the machine runs. */
  id: string;
  /** Name of the class. */
  class: string;
  /** As it was run, quoted for reading, without secrets. */
  command: string;
  startedAt: string;
  /** null = there was none, or none yet. */
  pid: number | null;
  /** What the program ran as and in; null = not known: a former manager started it. */
  setting: JourneySetting | null;
  steps: JourneyStep[];
  outcome: 'ready' | 'not-started' | 'exited' | 'timed-out' | 'hung';
  exitCode?: number;
  /** "SIGSEGV" … */
  exitSignal?: string;
  livedMs?: number;
  /** The most memory it had, where its exit told. */
  rssBytes?: number;
  /** The last 4 kB of the program's stdout and stderr, without secrets. */
  output: string;
  /** What its processes were doing before they were killed: wchan, system calls, descriptors. */
  snapshot?: string;
  /** What happened, in a sentence. */
  explanation: string;
  /** null = nothing has failed. */
  cause: JourneyCause | null;
  /** What to do about it, for people; '' = nothing is known. */
  hint: string;
}

/** Why a start failed, as far as it can be told from outside. */
export type JourneyCause =
  | 'file-missing'
  | 'is-directory'
  | 'not-executable'
  | 'path-denied'
  | 'interpreter-missing'
  | 'interpreter-crlf'
  | 'no-program'
  | 'library-missing'
  | 'wrong-architecture'
  | 'user-unknown'
  | 'user-denied'
  | 'not-allowed'
  | 'cwd-missing'
  | 'cwd-denied'
  | 'limit-denied'
  | 'limit-too-low'
  | 'address-in-use'
  | 'cgi-program'
  | 'exited-at-once'
  | 'exited-with-error'
  | 'killed-by-signal'
  | 'out-of-memory'
  | 'not-ready-in-time'
  | 'hung'
  | 'engine-failed'
  | 'other';

/** Values are those of the process where it came so far, else what was asked for. */
export interface JourneySetting {
  /** "www-data (33)". */
  user: string;
  group: string;
  /** The supplementary ones. */
  groups: string[];
  cwd: string;
  /** "nofile=1024": soft limits, and those that -limit sets. */
  limits: string[];
  /** NAME=value; of what may be a secret, and of what is long, the value is masked or cut. */
  environment: string[];
}

export interface JourneyStep {
  /** "endpoint", "path", "user", "fork", "limit", "setuid", "cwd", "exec", "ready", "answer" … */
  name: string;
  /** From the beginning of the start to the end of this step. */
  ms: number;
  /** What came of it, for people. */
  did?: string;
  /** Set on the step that failed. */
  error?: string;
}

export interface ExplainAsked {
  /** Name or path of a class, as configured or as status shows it; or the id of a start. */
  of: string;
}

/** Starts of one class, or the one that was asked for. */
export interface Explanation {
  schema: 1;
  class: string;
  kind: ClassKind;
  protocol: string;
  state: ClassState;
  /** Instances that serve now. */
  ready: number;
  /** What a request gets that comes now, in a sentence. */
  now: string;
  /** When the class is tried again by itself; null = it has not failed. */
  nextTryAt: string | null;
  /** The start that was asked for; null = the class was. */
  id: string | null;
  /** Newest first: the last failures, and the last start that succeeded; or the one that was asked for. */
  journeys: Journey[];
}

/** What a class, or all together, had to do within the last hour. The lists are of the same length, oldest
 * first; null = nobody looked then. */
export interface LoadHistory {
  schema: 1;
  /** As status names it; null = all of them. */
  class: string | null;
  /** When the last sample was taken. */
  until: string;
  /** From one sample to the next. */
  intervalMs: number;
  /** Requests that ended since the sample before. */
  requests: (number | null)[];
  /** The most at one moment since the sample before. */
  inFlight: (number | null)[];
  waiting: (number | null)[];
  /** Ready ones. */
  instances: (number | null)[];
}

export interface HistoryAsked {
  /** As status names it; without it all classes together. */
  class?: string | undefined;
}

/** The last events of all classes, oldest first. */
export interface Events {
  schema: 1;
  /** Of the manager: another one begins its numbers anew. */
  startedAt: string;
  events: Event[];
}

export interface Event {
  /** 1, 2, 3 … */
  number: number;
  at: string;
  level: 'info' | 'warn' | 'error';
  /** As in the log: "instance.ready", "server.gone" … */
  event: string;
  class: string | null;
  server: string | null;
  /** One line for people. */
  text: string;
}

export interface EventsAsked {
  /** Only those with a greater number. */
  after: number;
}

export interface Pong {
  pid: number;
  version: string;
}

export interface StopRequest {
  /** Kill at once instead of draining first. */
  force: boolean;
}

/** A command for one class. */
export interface ClassAsked {
  /** Name or path as configured, or as status shows it. */
  class: string;
  /** Answer when it is done or has failed, not when it has begun. */
  wait: boolean;
}

export interface ScaleAsked extends ClassAsked {
  /** So many from now on; null = as configured. */
  instances: number | null;
}

/** The manager's own usher.conf and all registrations have been read. */
export interface Reloaded {
  configuration: string | null;
  /** Classes now, with what changes with any of their options. */
  classes: { name: string; options: string }[];
}

/** For all gateways of the class. */
export interface BackendAsked {
  class: string;
  /** As status shows it: host:port … */
  backend: string;
  activation: Activation;
}

/** It has been carried out, or has begun. */
export interface ClassChanged {
  class: string;
  /** Of its instances now. */
  pids: number[];
  /** Of instances that were there before and are not any more. */
  replaced: number[];
}

export interface LogsAsked {
  class: string;
  /** Only lines with higher numbers. */
  after: number;
  /** The newest so many at most. */
  lines: number;
  /** Where there is none yet, the answer may come so much later. */
  waitMs: number;
}

/** What programs of a class wrote last, as far as the manager keeps it. */
export interface ClassOutput {
  class: string;
  lines: OutputLine[];
  /** Older lines are in the log only … */
  since: string;
  /** … this file, where it is one, … */
  log: string | null;
  /** … and those of -log. */
  files: string[];
}

export interface OutputLine {
  /** Grows with every line of every class. */
  id: number;
  at: string;
  /** 0 = the manager itself says it. */
  pid: number;
  text: string;
  /** The line stands for so many bytes that the program wrote too fast. */
  droppedBytes?: number;
}

export interface LendAsked {
  class: string;
  /** So long may it take until an instance is there and free. */
  waitMs: number;
}

/** An instance for one request of the client's own; to be given back. */
export interface Lent {
  id: string;
  class: string;
  protocol: string;
  /** Path of the class; '' = it has a name only, and what its file is must be said. */
  program: string;
  instance: {
    pid: number;
    /** In <runtime>/sockets/. */
    socket: string;
    /** It takes one request at a time: web servers send it none meanwhile. */
    isReserved: boolean;
  };
  /** unix:/PATH or tcp:ADDRESS:PORT, where all its instances share one; null = the socket. */
  listen: string | null;
}

export interface GiveBackAsked {
  id: string;
}

export interface LogsReopened {
  /** The file; null = the log is no file of ours. */
  log: string | null;
}

/** The manager has begun to stop; the control socket disappears when all has ended. */
export interface Stopping {
  pid: number;
  /** Instances that were running when it began. */
  instances: number;
}

export interface UpgradeRequest {
  /** Of the channel, as the installed version speaks it. */
  layoutVersion: number;
}

/** Launcher and manager begin anew with what is installed now; the next answer to a ping is another's. */
export interface Upgrading {
  pid: number;
  version: string;
}

/** The body of every answer that is not 2xx. */
export interface ErrorBody {
  error: { code: string; message: string };
}
