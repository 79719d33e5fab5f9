// SPDX-License-Identifier: Apache-2.0
// The first module of the bundle that a snapshot is made of: what initialisation finds, what is checked
// before V8 writes, and what happens first in each process that starts from it. Part of the bundle, not of
// the library; what it requires is in every snapshot, so it requires little.

import type { BundleHooks } from './bundle.ts';
import { whyStale } from './record.ts';
import { startHook, withoutSnapshot } from './snapshot.ts';
import { makeGuard, makeStandIn, notNow, type Shape, type StandIn } from './stand-in.ts';

type AnyFunction = (this: unknown, ...given: unknown[]) => unknown;
type Library = Record<string, unknown>;

/** Made by the bundle's first line (bundle.ts). */
declare const usherHooks: BundleHooks;

const { record, nodeRequire } = usherHooks;
const { startupSnapshot } = nodeRequire('node:v8') as typeof import('node:v8');
const standIns = new Map<string, StandIn>();
const starts: (() => void)[] = [];
/** Undoes what is there for the initialisation only. */
const undo: (() => void)[] = [];
let isBuilding = true;

/** Functions that begin what a snapshot cannot keep, by module. */
const guarded: Record<string, readonly string[]> = {
  net: ['Server.prototype.listen', 'Socket.prototype.connect'],
  dgram: ['createSocket'],
  child_process: ['spawn', 'fork', 'exec', 'execFile'],
  fs: ['watch', 'watchFile'],
  async_hooks: ['AsyncLocalStorage.prototype.run', 'AsyncLocalStorage.prototype.enterWith'],
};

// ---- modules

usherHooks.builtin = (name: string, shape?: Shape): unknown => {
  if (shape === undefined) return nodeRequire(`node:${name}`);
  let standIn = standIns.get(name);
  if (standIn === undefined) {
    standIn = makeStandIn(
      name,
      shape,
      () => nodeRequire(`node:${name}`),
      () => isBuilding,
    );
    standIns.set(name, standIn);
  }
  return standIn.exports;
};

/** What esbuild could not bundle: names that are computed, native add-ons, optional packages. */
usherHooks.require = (name: string): unknown => {
  const isBuiltin = name.startsWith('node:');
  if (isBuiltin || !isBuilding) return isBuiltin ? nodeRequire(name) : requireBesideProgram(name);
  const error = new Error(
    `Cannot find module '${name}': it was not bundled, and before serve() nothing else can be loaded`,
  );
  throw Object.assign(error, { code: 'MODULE_NOT_FOUND' });
};

function requireBesideProgram(name: string): unknown {
  const { createRequire } = nodeRequire('node:module') as typeof import('node:module');
  return createRequire(record.program)(name);
}

for (const name of usherHooks.modules) guardModule(name, nodeRequire(`node:${name}`) as Library);

function guardModule(name: string, library: Library): void {
  for (const path of guarded[name] ?? []) {
    const words = path.split('.');
    const last = words.pop() ?? '';
    let holder: Library | undefined = library;
    for (const word of words) holder = holder?.[word] as Library | undefined;
    if (holder !== undefined) guard(holder, last, `${name}.${path.replace('prototype.', '')}()`);
  }
  if (name === 'crypto') keepRandom(library);
  if (name === 'module') {
    replace(library, 'createRequire', () => (file: string) => {
      if (file.startsWith('node:')) return nodeRequire(file);
      throw notNow(`createRequire('${file}')`);
    });
  }
}

/** Node keeps random bytes for later in these: each process would have the same ones. */
function keepRandom(crypto: Library): void {
  const { randomUUID, randomBytes } = crypto as unknown as typeof import('node:crypto');
  replace(crypto, 'randomUUID', () => randomUUID({ disableEntropyCache: true }));
  replace(crypto, 'randomInt', (...given: unknown[]) => {
    const numbers = given.filter((value): value is number => typeof value === 'number');
    const [from, to] = numbers.length > 1 ? numbers : [0, ...numbers];
    const span = (to ?? 0) - (from ?? 0);
    if (!Number.isSafeInteger(span) || span < 1 || span > 2 ** 48 - 1) {
      throw new RangeError('crypto.randomInt(): the range is not 1 to 2^48 - 1');
    }
    const limit = 2 ** 48 - (2 ** 48 % span);
    let value: number;
    do value = randomBytes(6).readUIntBE(0, 6);
    while (value >= limit);
    const chosen = (from ?? 0) + (value % span);
    const callback = given.find((one) => typeof one === 'function') as AnyFunction | undefined;
    if (callback === undefined) return chosen;
    process.nextTick(callback, null, chosen);
    return undefined;
  });
}

function guard(holder: Library, key: string, call: string): void {
  replace(
    holder,
    key,
    makeGuard(call, holder[key] as AnyFunction, () => isBuilding),
  );
}

/** Until the snapshot is written. Who has taken `value` keeps it: it must be right at a start as well. */
function replace(holder: Library, key: string, value: AnyFunction): void {
  const before = Object.getOwnPropertyDescriptor(holder, key);
  Object.defineProperty(holder, key, {
    value,
    writable: true,
    configurable: true,
    enumerable: before?.enumerable ?? true,
  });
  undo.push(() => {
    if (holder[key] !== value) return;
    if (before === undefined) delete holder[key];
    else Object.defineProperty(holder, key, before);
  });
}

// ---- the language, which V8 completes at a start only

Error.stackTraceLimit = 20;

type List = unknown[] & Record<string, AnyFunction>;

function addMissing(prototype: object, copy: (list: List) => List): void {
  const missing: Record<string, AnyFunction> = {
    toSorted(by) {
      return copy(this as List).sort(by as never);
    },
    toReversed() {
      return copy(this as List).reverse();
    },
    toSpliced(...given) {
      const list = copy(this as List);
      list.splice(...(given as [number]));
      return list;
    },
    with(at, value) {
      const list = copy(this as List);
      const index = (at as number) < 0 ? list.length + (at as number) : (at as number);
      if (index < 0 || index >= list.length) throw new RangeError(`Invalid index : ${at}`);
      list[index] = value;
      return list;
    },
  };
  for (const [key, value] of Object.entries(missing)) {
    if (key in prototype || (key === 'toSpliced' && prototype !== Array.prototype)) continue;
    Object.defineProperty(prototype, key, { value, writable: true, configurable: true });
    undo.push(() => delete (prototype as Library)[key]);
  }
}

addMissing(Array.prototype, (list) => Array.from(list) as List);
addMissing(Object.getPrototypeOf(Uint8Array.prototype) as object, (list) => list.slice() as List);

// ---- globals

for (const [name, shape] of Object.entries(usherHooks.globals)) {
  const before = Object.getOwnPropertyDescriptor(globalThis, name);
  const standIn = makeStandIn(
    'global',
    { [name]: shape },
    () => globalThis,
    () => isBuilding,
  );
  standIns.set(`global ${name}`, standIn);
  Object.defineProperty(globalThis, name, {
    configurable: true,
    get: () => standIn.exports[name],
    set: (value: unknown) => {
      Object.defineProperty(globalThis, name, { value, writable: true, configurable: true });
    },
  });
  const mine = Object.getOwnPropertyDescriptor(globalThis, name)?.get;
  undo.push(() => {
    if (Object.getOwnPropertyDescriptor(globalThis, name)?.get !== mine) return;
    delete (globalThis as Library)[name];
    if (before !== undefined) Object.defineProperty(globalThis, name, before);
  });
}
guard(globalThis as unknown as Library, 'fetch', 'fetch()');
guard(globalThis as unknown as Library, 'setInterval', 'setInterval()');
const webCrypto = (globalThis as Library).crypto as Library | undefined;
if (usherHooks.usesRandom && webCrypto !== undefined) {
  const { randomUUID } = nodeRequire('node:crypto') as typeof import('node:crypto');
  replace(webCrypto, 'randomUUID', () => randomUUID({ disableEntropyCache: true }));
}

const listen = process.on;
const onProcess: AnyFunction = function (this: unknown, event, ...given) {
  if (isBuilding && /^SIG[A-Z0-9]+$/.test(String(event))) throw notNow(`process.on('${event}')`);
  return Reflect.apply(listen as AnyFunction, this, [event, ...given]);
};
for (const key of ['on', 'once', 'addListener', 'prependListener']) {
  replace(process as unknown as Library, key, onProcess);
}

// ---- the end of the initialisation

(globalThis as Record<symbol, unknown>)[startHook] = (main: () => void): void => {
  starts.push(main);
};

/** Without the program's handlers of 'exit'. */
function exit(status: number): never {
  return (process as unknown as { reallyExit(status: number): never }).reallyExit(status);
}

/** Writes to descriptor 2 as it is: streams would be in the snapshot. */
function fail(reason: string): never {
  const { writeSync } = nodeRequire('node:fs') as typeof import('node:fs');
  writeSync(2, `${reason}\n`);
  return exit(1);
}

usherHooks.fail = (error: unknown): void => {
  fail(error instanceof Error ? (error.stack ?? error.message) : String(error));
};

const deadline = setTimeout(() => {
  const waitsFor = process.getActiveResourcesInfo().filter((kind) => kind !== 'Timeout');
  const what = waitsFor.length === 0 ? 'a timer' : [...new Set(waitsFor)].join(', ');
  fail(`the program has not come to an end of its initialisation: it waits for ${what}`);
}, usherHooks.timeoutMs).unref();

startupSnapshot.addSerializeCallback(() => {
  clearTimeout(deadline);
  if (starts.length === 0) {
    fail('the program has ended without serve(): there is nothing that could start later');
  }
  for (const call of undo.reverse()) call();
  undo.length = 0;
  isBuilding = false;
});

startupSnapshot.setDeserializeMainFunction(() => {
  for (const standIn of standIns.values()) standIn.link();
  if (process.env.USHER_SNAPSHOT_CHECK !== undefined) exit(0);
  // Workers: who has started them has looked.
  const reason = process.env.USHER_RUNTIME_WORKER === undefined ? whyStale(record.files) : null;
  if (reason === null) for (const start of starts) start();
  else runWithout(reason);
});

/** The program as it is now, in a process of its own. */
function runWithout(reason: string): void {
  const { spawn } = nodeRequire('node:child_process') as typeof import('node:child_process');
  const line = `usher: the snapshot of ${record.program} is not used: ${reason}`;
  const options = withoutSnapshot(process.execArgv);
  const canRun =
    !/ts$/.test(record.program) ||
    options.length > 0 ||
    Boolean((process.features as unknown as Library).typescript);
  if (!canRun) fail(`${line}; run "usher snapshot" again, as this Node needs it for TypeScript`);
  process.stderr.write(`${line}\n`);
  const given = [...options, record.program, ...process.argv.slice(2)];
  const child = spawn(process.execPath, given, { stdio: 'inherit' });
  const signals = ['SIGTERM', 'SIGINT', 'SIGHUP'] as const;
  for (const signal of signals) process.on(signal, () => child.kill(signal));
  child.once('error', (error) => fail(`usher: ${process.execPath}: ${error.message}`));
  child.once('exit', (status, signal) => {
    if (signal === null) exit(status ?? 1);
    for (const name of signals) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}
