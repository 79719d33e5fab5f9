// SPDX-License-Identifier: Apache-2.0
// From what serve() was told to settings with defaults; each error names the option and what is allowed.
import { availableParallelism } from 'node:os';
import type {
  Hooks,
  ListenOptions,
  ListenProtocol,
  ModelName,
  ServeOptions,
  ServeSettings,
} from './options.ts';

const models: readonly ModelName[] = [
  'sequential',
  'forking',
  'process-pool',
  'thread-pool',
  'concurrent',
];
const protocols: readonly ListenProtocol[] = ['fastcgi', 'ajp13', 'ajp12', 'http'];

const hookNames = [
  'onMasterStart',
  'onMasterStop',
  'onWorkerStart',
  'onWorkerStop',
  'onMasterIdle',
  'onWorkerIdle',
] as const satisfies readonly (keyof Hooks)[];

/** Name, default, smallest and largest value. Default 0: processors, or what another option says. */
const numbers = {
  processes: [0, 1, 1000],
  maxProcesses: [0, 1, 1000],
  threads: [0, 1, 1000],
  backlog: [128, 0, 1_000_000],
  deadlineMs: [0, 0, 86_400_000],
  maxRequests: [0, 0, Number.MAX_SAFE_INTEGER],
  maxMemoryMb: [0, 0, 1 << 20],
  stopMs: [10_000, 0, 86_400_000],
} as const satisfies Record<string, readonly [number, number, number]>;

const others = ['listen', 'model', 'style', 'reload', ...hookNames] as const;

const listenNames = [
  'protocol',
  'address',
  'secretFile',
  'attributes',
  'packetBytes',
  'challengeBytes',
  'mode',
  'allow',
] as const satisfies readonly (keyof ListenOptions)[];

/** Most requests at a time of the forking model, where nobody says. */
const FORKING_PROCESSES_MAX = 20;

/** Options of one model that have no meaning in the others. */
const ofModels: Partial<Record<keyof ServeOptions, readonly ModelName[]>> = {
  processes: ['process-pool', 'forking'],
  maxProcesses: ['process-pool', 'forking'],
  threads: ['thread-pool'],
  backlog: ['sequential', 'process-pool', 'thread-pool'],
};

/** @throws TypeError, RangeError */
export function checkOptions(options: ServeOptions): ServeSettings {
  if (typeof options !== 'object' || options === null) {
    throw new TypeError('serve: the options are an object');
  }
  checkNames(options, [...Object.keys(numbers), ...others], 'serve: option');
  const model = oneOf(options.model ?? 'concurrent', models, 'model');
  for (const [name, known] of Object.entries(ofModels)) {
    if (options[name as keyof ServeOptions] === undefined || known.includes(model)) continue;
    throw new TypeError(
      `serve: ${name} has no meaning with model "${model}", only with ${known.join(', ')}`,
    );
  }
  const numeric = checkNumbers(options);
  return {
    ...numeric,
    ...checkHooks(options),
    ...numbersOfWorkers(numeric, model),
    model,
    listen: checkListen(options.listen),
    style:
      options.style === undefined
        ? null
        : oneOf<'node' | 'fetch'>(options.style, ['node', 'fetch'], 'style'),
    reload: checkFlag(options.reload, 'reload'),
  };
}

function checkNumbers(options: ServeOptions): Record<keyof typeof numbers, number> {
  const checked: Partial<Record<keyof typeof numbers, number>> = {};
  for (const [key, [fallback, min, max]] of Object.entries(numbers)) {
    const name = key as keyof typeof numbers;
    const value = options[name] ?? fallback;
    const isGiven = options[name] !== undefined;
    if (isGiven && !(Number.isInteger(value) && value >= min && value <= max)) {
      throw new RangeError(`serve: ${name} is ${String(value)}, allowed are ${min} to ${max}`);
    }
    checked[name] = value;
  }
  return checked as Record<keyof typeof numbers, number>;
}

function numbersOfWorkers(
  given: Record<keyof typeof numbers, number>,
  model: ModelName,
): Pick<ServeSettings, 'processes' | 'maxProcesses' | 'threads'> {
  const processors = availableParallelism();
  const { processes, maxProcesses, threads } = given;
  if (maxProcesses !== 0 && maxProcesses < processes) {
    throw new RangeError(`serve: maxProcesses ${maxProcesses} is less than processes ${processes}`);
  }
  const atFirst = processes || Math.min(processors, maxProcesses || processors);
  const atMost = model === 'forking' ? Math.max(FORKING_PROCESSES_MAX, atFirst) : atFirst;
  return {
    processes: atFirst,
    maxProcesses: maxProcesses || atMost,
    threads: threads || processors,
  };
}

function checkHooks(options: ServeOptions): Hooks {
  const hooks: Hooks = {};
  for (const name of hookNames) {
    const hook = options[name];
    if (hook === undefined) continue;
    if (typeof hook !== 'function') throw new TypeError(`serve: ${name} is a function`);
    hooks[name] = hook;
  }
  return hooks;
}

function checkListen(listen: ServeOptions['listen']): readonly ListenOptions[] | null {
  if (listen === undefined) return null;
  const list = Array.isArray(listen) ? (listen as ListenOptions[]) : [listen as ListenOptions];
  if (list.length === 0) throw new TypeError('serve: listen is empty');
  for (const [index, one] of list.entries()) checkListenOptions(one, `listen[${index}]`);
  return list;
}

function checkListenOptions(one: ListenOptions, where: string): void {
  if (typeof one !== 'object' || one === null) {
    throw new TypeError(`serve: ${where} is an object with protocol and address`);
  }
  checkNames(one, listenNames, `serve: ${where}: option`);
  oneOf(one.protocol, protocols, `${where}.protocol`);
  if (typeof one.address !== 'string' || one.address === '') {
    throw new TypeError(
      `serve: ${where}.address is "HOST:PORT", the path of a Unix socket or "fd:N"`,
    );
  }
  const foreign = {
    secretFile: ['ajp13', 'ajp12'],
    attributes: ['ajp13'],
    packetBytes: ['ajp13'],
    challengeBytes: ['ajp12'],
  } as const;
  for (const [name, known] of Object.entries(foreign)) {
    const isKnown = (known as readonly string[]).includes(one.protocol);
    if (one[name as keyof typeof foreign] === undefined || isKnown) continue;
    throw new TypeError(
      `serve: ${where}.${name} is of ${known.join(' and ')}, not of ${one.protocol}`,
    );
  }
  if (one.mode !== undefined && !one.address.startsWith('/')) {
    throw new TypeError(`serve: ${where}.mode is of Unix sockets, not of ${one.address}`);
  }
  checkRange(one.mode, 0, 0o777, `${where}.mode`);
  checkRange(one.packetBytes, 8192, 65536, `${where}.packetBytes`);
  checkRange(one.challengeBytes, 5, 1024, `${where}.challengeBytes`);
}

function checkRange(value: number | undefined, min: number, max: number, what: string): void {
  if (value === undefined || (Number.isInteger(value) && value >= min && value <= max)) return;
  throw new RangeError(`serve: ${what} is ${String(value)}, allowed are ${min} to ${max}`);
}

function checkFlag(value: boolean | undefined, name: string): boolean | null {
  if (value === undefined || typeof value === 'boolean') return value ?? null;
  throw new TypeError(`serve: ${name} is true or false`);
}

function checkNames(given: object, known: readonly string[], what: string): void {
  const unknown = Object.keys(given).find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new TypeError(`${what} "${unknown}" is unknown; known are ${known.join(', ')}`);
}

function oneOf<T extends string>(value: unknown, allowed: readonly T[], name: string): T {
  if (allowed.includes(value as T)) return value as T;
  throw new TypeError(`serve: ${name} is ${String(value)}, allowed are ${allowed.join(', ')}`);
}
