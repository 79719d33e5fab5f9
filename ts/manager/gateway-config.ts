// SPDX-License-Identifier: Apache-2.0
// What a class of protocol cgi, ajp or ajp12 needs of the gateway that serves it: arguments that decide
// what it may run (the launcher compares them with what is allowed), and what it is told over its link.
import type {
  Activation,
  AjpOptions,
  BackendConfig,
  CgiOptions,
  ZoneMount,
} from '../gateways/link.ts';
import type { OptionValue } from '../native/native.ts';

export type Protocol = 'fastcgi' | 'cgi' | 'ajp' | 'ajp12';

/** Directories with the programs that a server may have run, and how they are checked. */
export interface ProgramRoots {
  roots: readonly string[];
  pathCheck: string;
}

export interface GatewayConfig {
  name: 'cgi' | 'ajp';
  args: readonly string[];
  /** Read by the launcher, which may be root; the gateway gets it as a descriptor. */
  secretFile: string | null;
  options: CgiOptions | AjpOptions;
  backends: readonly BackendConfig[];
}

/** Requests a gateway serves at once where -concurrency does not say it. */
export const gatewayConcurrency: Readonly<Record<Protocol, number>> = {
  fastcgi: 1,
  cgi: 32,
  ajp: 200,
  ajp12: 200,
};

type Options = Readonly<Record<string, OptionValue>>;

export function protocolOf(options: Options): Protocol {
  const { protocol } = options;
  const text = typeof protocol === 'string' ? protocol.toLowerCase() : '';
  return text === 'cgi' || text === 'ajp' || text === 'ajp12' ? text : 'fastcgi';
}

/** @param program What -command or the class's name says is run; null = whatever file the web server
 * names, below the roots. */
export function cgiGateway(
  options: Options,
  program: readonly string[] | null,
  { roots, pathCheck }: ProgramRoots,
): GatewayConfig {
  const limits = list(options, 'limit').flatMap((limit) => ['--limit', limit]);
  const paths = ['--path-check', pathCheck, ...roots.flatMap((root) => ['--root', root])];
  return {
    name: 'cgi',
    args: [...limits, ...(program === null ? paths : ['--program', ...program])],
    secretFile: null,
    options: {
      protocol: 'cgi',
      concurrency: number(options, 'concurrency', gatewayConcurrency.cgi),
      requestTimeoutMs: number(options, 'requestTimeout', 0),
      maxOutputBytes: number(options, 'maxOutput', 0),
      stopTimeoutMs: number(options, 'stopTimeout', 10_000),
    },
    backends: [],
  };
}

export function ajpGateway(options: Options, protocol: 'ajp' | 'ajp12'): GatewayConfig {
  const flag = (id: string) => options[id] === true;
  const concurrency = number(options, 'concurrency', gatewayConcurrency[protocol]);
  const socket = text(options, 'socket', '');
  const backends = [
    ...(socket === '' ? [] : [readBackend(`unix:${socket}`, false)]),
    ...list(options, 'host').map((host) => readBackend(host, false)),
    ...list(options, 'backup').map((host) => readBackend(host, true)),
    ...list(options, 'down').map((host) => {
      return { ...readBackend(host, false), activation: 'stopped' as const };
    }),
  ];
  return {
    name: 'ajp',
    args: [],
    secretFile: text(options, 'secretFile', '') || null,
    options: {
      protocol,
      packetBytes: number(options, 'maxPacketSize', 8192),
      poolMax: number(options, 'connectionPoolSize', concurrency),
      poolMin: number(options, 'connectionPoolMinsize', 0),
      poolIdleMs: number(options, 'connectionPoolTimeout', 30_000),
      acquireTimeoutMs: number(options, 'connectionAcquireTimeout', 10_000),
      socketConnectTimeoutMs: number(options, 'socketConnectTimeout', 5_000),
      pingConnectMs: number(options, 'connectTimeout', 10_000),
      pingPrepostMs: number(options, 'prepostTimeout', 0),
      pingIntervalMs: number(options, 'connectionPingInterval', 1_000),
      pingTimeoutMs: number(options, 'pingTimeout', 10_000),
      replyTimeoutMs: number(options, 'replyTimeout', 0),
      requestTimeoutMs: number(options, 'requestTimeout', 0),
      method: text(options, 'method', '').toLowerCase() === 'request' ? 'request' : 'busyness',
      stickySession: text(options, 'stickySession', 'on').toLowerCase() === 'on',
      stickyForce: flag('stickySessionForce'),
      sessionCookie: text(options, 'sessionCookie', 'JSESSIONID'),
      sessionPath: text(options, 'sessionPath', 'jsessionid'),
      recoverTimeMs: number(options, 'recoverTime', 60_000),
      errorEscalationMs: number(options, 'errorEscalationTime', 30_000),
      failOnStatus: numbers(options, 'failOnStatus'),
      retries: number(options, 'retries', 2),
      engineWaitMs: number(options, 'appConnTimeout', 30_000),
      mount: withoutSlash(text(options, 'mount', '')),
      context: withoutSlash(text(options, 'context', '')),
      attributes: list(options, 'requestAttribute'),
      zones: list(options, 'zone').map(readZone),
    },
    backends,
  };
}

/** "tomcat1:8009,route=a,weight=2,activation=disabled", as the validator lets it through. */
function readBackend(host: string, isBackup: boolean): BackendConfig {
  const [name = '', ...words] = host.split(',');
  const said = new Map(words.map((word) => word.split('=', 2) as [string, string]));
  return {
    name,
    route: said.get('route') ?? null,
    weight: Number(said.get('weight') ?? 1),
    activation: (said.get('activation')?.toLowerCase() ?? 'active') as Activation,
    isBackup,
  };
}

/** "/servlets=root", or "/servlets". */
function readZone(text: string): ZoneMount {
  const at = text.lastIndexOf('=');
  if (at === -1) return { path: withoutSlash(text), zone: null };
  return { path: withoutSlash(text.slice(0, at)), zone: text.slice(at + 1) };
}

function withoutSlash(path: string): string {
  return path.replace(/\/+$/, '');
}

function number(options: Options, id: string, fallback: number): number {
  const value = options[id];
  return typeof value === 'number' ? value : fallback;
}

function text(options: Options, id: string, fallback: string): string {
  const value = options[id];
  return typeof value === 'string' ? value : fallback;
}

function list(options: Options, id: string): readonly string[] {
  const value = options[id];
  if (Array.isArray(value)) return value.map(String);
  return typeof value === 'string' ? [value] : [];
}

function numbers(options: Options, id: string): readonly number[] {
  const value = options[id];
  const all = Array.isArray(value) ? value : value === undefined ? [] : [value];
  return all.map(Number).filter((one) => Number.isFinite(one));
}
