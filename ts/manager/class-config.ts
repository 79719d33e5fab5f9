// SPDX-License-Identifier: Apache-2.0
// What the manager must know of a class to run it: a directive's options with their defaults.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { dirname, isAbsolute, join } from 'node:path';
import { type ClassLimits, type Kind, native, type OptionValue } from '../native/native.ts';
import type { ClassicSettings, PolicyName } from '../policy/policy.ts';
import type { EnginesConfig } from './engines/engine-config.ts';
import {
  ajpGateway,
  cgiGateway,
  type GatewayConfig,
  gatewayConcurrency,
  type ProgramRoots,
  type Protocol,
  protocolOf,
} from './gateway-config.ts';

export type Options = Readonly<Record<string, OptionValue>>;

/** Who asks for the class: decides the user its instances run as, and where CGI programs may be. */
export interface Owner extends ProgramRoots {
  user: string | null;
  group: string | null;
}

export interface ClassConfig {
  key: string;
  kind: Kind;
  /** file:line of the directive; '' for a dynamic class. */
  source: string;
  protocol: Protocol;
  /** What the instances are where the protocol is not FastCGI; null = the program itself. */
  gateway: GatewayConfig | null;
  /** The servlet engines that are started for it; null = they run already, or it is not of that kind. */
  engines: EnginesConfig | null;
  args: readonly string[];
  env: readonly string[];
  cwd: string;
  user: string | null;
  group: string | null;
  nice: number;
  /** Resource limits, NAME=N as written. */
  resourceLimits: readonly string[];
  /** File that gets the program's output as well. */
  logFile: string | null;
  /** Variables whose values are shown to nobody, whatever they are called. */
  secretEnv: readonly string[];
  /** Do browsers get to see why it cannot start? */
  showErrors: boolean;
  /** May its processes become another user by what they execute? */
  allowSetuid: boolean;
  min: number;
  max: number;
  concurrency: number;
  /** Shared by all instances: { kind: 'unix', path } or { kind: 'inet', port … }; null = one endpoint each. */
  publicAddress: PublicAddress | null;
  limits: ClassLimits;
  policy: PolicyName;
  classic: ClassicSettings;
  restart: boolean;
  restartDelayMs: number;
  initStartDelayMs: number;
  minServerLifeMs: number;
  startDelayMs: number;
  startTimeoutMs: number;
  idleStopMs: number;
  /** When an instance is replaced; 0 = never. */
  maxRequests: number;
  maxLifetimeMs: number;
  memoryLimitBytes: number;
  /** Replace the instances when the program's file changes. */
  autoUpdate: boolean;
  stopSignal: number;
  stopTimeoutMs: number;
  /** Dynamic classes: the fewest and most instances of all of them together. */
  poolMin: number;
  poolMax: number;
  /** External classes: addresses that are used, that wait for the others to fail, that are not used. */
  hosts: readonly string[];
  backups: readonly string[];
  downs: readonly string[];
  socket: string | null;
}

export type PublicAddress = { kind: 'unix'; path: string } | { kind: 'tcp'; listen: string };

const SIGTERM = 15;
const classicOptions = [
  'updateInterval',
  'killInterval',
  'gainValue',
  'singleThreshold',
  'multiThreshold',
  'processSlack',
];
/** mod_fastcgi's defaults where ours differ; what is configured wins. */
const classicDefaults: Options = {
  initStartDelay: 1_000,
  minProcesses: 5,
  listenQueueDepth: 100,
  appConnTimeout: 0,
  idleTimeout: 30_000,
};
const COMMAND_PATH = '/usr/local/bin:/usr/bin:/bin';

export function staticConfig(
  key: string,
  options: Options,
  owner: Owner,
  source: string,
): ClassConfig {
  const command = text(options, 'command');
  const program = command === null ? null : resolveProgram(native.splitCommand(command));
  const config = {
    ...common(key, 'static', options, owner, source),
    ...instances(options),
  };
  if (config.protocol === 'cgi') {
    const fixed = program ?? (isAbsolute(key) ? [key] : null);
    return withGateway(config, cgiGateway(options, fixed, owner));
  }
  const run = {
    args: program ?? [key],
    cwd: text(options, 'cwd') ?? (isAbsolute(key) ? dirname(key) : '/'),
  };
  if (config.protocol !== 'fastcgi') {
    return withEngines({ ...config, ...run }, ajpGateway(options, config.protocol), options);
  }
  return { ...config, ...run, publicAddress: publicAddressOf(options) };
}

/** How many instances there are; -on-demand N comes out of the validator as -processes 0
 * -maxClassProcesses N. */
function instances(options: Options): { min: number; max: number } {
  const min = number(options, 'processes', 1);
  return { min, max: Math.max(min, number(options, 'maxClassProcesses', min)) };
}

/** Its instances are gateways, which do what concerns single requests themselves. */
function withGateway(config: ClassConfig, gateway: GatewayConfig): ClassConfig {
  const limits = { ...config.limits, requestTimeoutMs: 0 };
  return { ...config, kind: 'static', gateway, args: gateway.args, resourceLimits: [], limits };
}

/** Of the gateway where the options are the engines'. */
const gatewayRun = {
  env: environment([]),
  cwd: '/',
  nice: 0,
  logFile: null,
  allowSetuid: false,
  startTimeoutMs: 60_000,
  stopSignal: SIGTERM,
  stopTimeoutMs: 10_000,
  maxLifetimeMs: 0,
  memoryLimitBytes: 0,
};

/** What the class says of its program is for the engines. */
function withEngines(config: ClassConfig, gateway: GatewayConfig, options: Options): ClassConfig {
  const { args, env, cwd, user, group, nice, resourceLimits, logFile, allowSetuid } = config;
  const { startTimeoutMs, stopSignal, stopTimeoutMs, maxLifetimeMs, memoryLimitBytes } = config;
  const downs = new Set(list(options, 'down').map((host) => host.split(',')[0]));
  const protocol = config.protocol === 'ajp12' ? 'ajp12' : 'ajp';
  const program = { args, cwd, user, group, nice, resourceLimits, logFile, allowSetuid };
  const engines: EnginesConfig = {
    protocol,
    backends: gateway.backends.filter(({ name }) => !downs.has(name)),
    program: { ...program, env: [...env, `USHER_PROTOCOL=${protocol}`] },
    authenticates: config.protocol === 'ajp12' && gateway.secretFile !== null,
    ...{ startTimeoutMs, stopSignal, stopTimeoutMs, maxLifetimeMs, memoryLimitBytes },
    livenessTimeoutMs: number(options, 'livenessTimeout', 60_000),
    sessionDrainMs: number(options, 'sessionDrain', 0),
  };
  return { ...withGateway(config, gateway), ...gatewayRun, engines };
}

export function dynamicConfig(key: string, options: Options, owner: Owner): ClassConfig {
  return {
    ...common(key, 'dynamic', options, owner, ''),
    args: [key],
    cwd: dirname(key),
    min: 0,
    max: number(options, 'maxClassProcesses', 10),
  };
}

/** Of servlet engines that run already, instances are the gateways. */
export function externalConfig(
  key: string,
  options: Options,
  owner: Owner,
  source: string,
): ClassConfig {
  const protocol = protocolOf(options);
  if (protocol === 'ajp' || protocol === 'ajp12') {
    const config = { ...common(key, 'static', options, owner, source), ...instances(options) };
    return withGateway({ ...config, env: environment([]) }, ajpGateway(options, protocol));
  }
  return {
    ...common(key, 'external', options, { ...owner, user: null, group: null }, source),
    hosts: list(options, 'host'),
    backups: list(options, 'backup'),
    downs: list(options, 'down'),
    socket: text(options, 'socket'),
  };
}

/** Equal texts = the same class: what two servers may share. */
/** A short text that changes with any option. */
export function optionsHash(config: ClassConfig): string {
  const known = optionHashes.get(config);
  if (known !== undefined) return known;
  const hash = createHash('sha256').update(fingerprint(config)).digest('hex').slice(0, 12);
  optionHashes.set(config, hash);
  return hash;
}

const optionHashes = new WeakMap<ClassConfig, string>();

export function fingerprint(config: ClassConfig): string {
  return JSON.stringify({ ...config, source: '' });
}

/** The part that a running instance cannot change: another text needs new instances. */
export function runFingerprint(config: ClassConfig): string {
  const { args, env, cwd, user, group, nice, concurrency, resourceLimits, logFile } = config;
  const { allowSetuid, publicAddress, hosts, backups, downs, socket, gateway } = config;
  return JSON.stringify([
    gateway && [gateway.options.protocol, gateway.secretFile],
    [args, env, cwd, user, group, nice, concurrency, resourceLimits, logFile, allowSetuid],
    [publicAddress, hosts, backups, downs, socket],
  ]);
}

const hashes = new WeakMap<ClassConfig, string>();

/** Short for the above, for tags. */
export function runHash(config: ClassConfig): string {
  const known = hashes.get(config);
  if (known !== undefined) return known;
  const hash = createHash('sha256').update(runFingerprint(config)).digest('hex').slice(0, 12);
  hashes.set(config, hash);
  return hash;
}

function common(
  key: string,
  kind: Kind,
  given: Options,
  owner: Owner,
  source: string,
): ClassConfig {
  const policy = policyOf(given);
  const options = policy === 'classic' ? { ...classicDefaults, ...given } : given;
  const depth = number(options, 'listenQueueDepth', 1024);
  const protocol = protocolOf(options);
  const flags =
    native.classFlags[protocol] |
    (options.keepConn === true || protocol !== 'fastcgi' ? native.classFlags.keepConn : 0) |
    (options.flush === true ? native.classFlags.flush : 0) |
    (options.nph === true ? native.classFlags.nph : 0);
  return {
    key,
    kind,
    source,
    protocol,
    gateway: null,
    engines: null,
    args: [],
    env: environment(list(options, 'initialEnv')),
    cwd: '/',
    user: text(options, 'user') ?? owner.user,
    group: text(options, 'group') ?? (text(options, 'user') === null ? owner.group : null),
    nice: number(options, 'priority', 0),
    min: 0,
    max: 0,
    concurrency: number(options, 'concurrency', gatewayConcurrency[protocol]),
    limits: {
      flags,
      queueLimit: number(options, 'queueLimit', depth),
      queueTimeoutMs: number(options, 'queueTimeout', 0),
      connectTimeoutMs: number(options, 'appConnTimeout', 30_000),
      idleTimeoutMs: number(options, 'idleTimeout', 0),
      requestTimeoutMs: number(options, 'requestTimeout', 0),
    },
    resourceLimits: list(options, 'limit'),
    logFile: text(options, 'log'),
    secretEnv: list(options, 'secretEnv'),
    showErrors: options.showErrors === true,
    allowSetuid: options.allowSetuid === true,
    publicAddress: null,
    policy,
    classic: {
      updateIntervalMs: number(options, 'updateInterval', 300_000),
      killIntervalMs: number(options, 'killInterval', 300_000),
      gain: number(options, 'gainValue', 0.5),
      singleThreshold: number(options, 'singleThreshold', 0),
      multiThreshold: number(options, 'multiThreshold', 50),
      processSlack: number(options, 'processSlack', 5),
    },
    maxRequests: number(options, 'maxRequests', 0),
    maxLifetimeMs: number(options, 'maxLifetime', 0),
    memoryLimitBytes: number(options, 'memoryLimit', 0),
    autoUpdate: options.autoUpdate === true,
    restart: options.restart === true,
    restartDelayMs: number(options, 'restartDelay', 5_000),
    initStartDelayMs: number(options, 'initStartDelay', 0),
    minServerLifeMs: number(options, 'minServerLife', 30_000),
    startDelayMs: Math.max(1, number(options, 'startDelay', 3_000)),
    startTimeoutMs: number(options, 'startTimeout', 60_000),
    idleStopMs: number(options, 'idleStop', 300_000),
    stopSignal: number(options, 'stopSignal', SIGTERM),
    stopTimeoutMs: number(options, 'stopTimeout', 10_000),
    poolMin: number(options, 'minProcesses', 0),
    poolMax: number(options, 'maxProcesses', 50),
    hosts: [],
    backups: [],
    downs: [],
    socket: null,
  };
}

/** Who sets what only the classic policy knows wants that one. */
function policyOf(options: Options): PolicyName {
  const named = text(options, 'policy')?.toLowerCase();
  if (named === 'classic' || named === 'adaptive') return named;
  return classicOptions.some((id) => id in options) ? 'classic' : 'adaptive';
}

function publicAddressOf(options: Options): PublicAddress | null {
  const path = text(options, 'socket');
  const listen = text(options, 'port');
  if (path !== null) return { kind: 'unix', path };
  return listen === null ? null : { kind: 'tcp', listen };
}

/** Exactly what -initial-env says, and a PATH so that "#!/usr/bin/env perl" works. */
function environment(initial: readonly string[]): string[] {
  const values = new Map([['PATH', COMMAND_PATH]]);
  for (const entry of initial) {
    const at = entry.indexOf('=');
    if (at > 0) values.set(entry.slice(0, at), entry.slice(at + 1));
  }
  return [...values].map(([name, value]) => `${name}=${value}`);
}

/** A program without a slash is looked for in COMMAND_PATH; not found stays as it is, so that exec
 * names it. */
function resolveProgram(words: readonly string[]): string[] {
  const [program = '', ...rest] = words;
  if (program.includes('/')) return [program, ...rest];
  const found = COMMAND_PATH.split(':')
    .map((folder) => join(folder, program))
    .find((path) => existsSync(path));
  return [found ?? program, ...rest];
}

function number(options: Options, id: string, fallback: number): number {
  const value = options[id];
  return typeof value === 'number' ? value : fallback;
}

function text(options: Options, id: string): string | null {
  const value = options[id];
  return typeof value === 'string' ? value : null;
}

function list(options: Options, id: string): readonly string[] {
  const value = options[id];
  if (Array.isArray(value)) return value;
  return typeof value === 'string' ? [value] : [];
}
