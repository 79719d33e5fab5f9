// SPDX-License-Identifier: Apache-2.0
// Stands for a module of Node that cannot be in a snapshot (node:http …) from the program's initialisation
// on. Classes can be made of its classes; calls wait for the start. Part of the bundle, not of the library.

/** A module as the maker of the bundle sees it: of each export, what it is. */
export type Shape = Readonly<Record<string, ExportShape>>;
export type ExportShape =
  /** methods: of its prototype, inherited ones too. */
  | { kind: 'function'; methods: readonly string[] }
  | { kind: 'object' }
  /** What JSON can say: http.METHODS. */
  | { kind: 'data'; value: unknown };

type Exports = Record<string, unknown>;
type AnyFunction = (this: unknown, ...given: unknown[]) => unknown;

export interface StandIn {
  exports: Exports;
  /** Its classes and objects may be in use: they get what they stand for now. Once, before the program goes
   * on at a start. */
  link(): void;
}

/** @param load The real module; asked for at a start at the earliest. */
export function makeStandIn(
  name: string,
  shape: Shape,
  load: () => unknown,
  isBuilding: () => boolean,
): StandIn {
  const exports: Exports = {};
  const given = new Map<string, unknown>();
  const links: (() => void)[] = [];
  let real: Exports | null = null;

  const loaded = (): Exports => {
    if (real === null) {
      real = load() as Exports;
      for (const [key, value] of given) real[key] = value;
    }
    return real;
  };
  const makeExport = (key: string, kind: ExportShape): unknown => {
    if (kind.kind === 'data') return kind.value;
    const standFor = (object: object, what: () => unknown): void => {
      links.push(() => Object.setPrototypeOf(object, what() as object));
    };
    if (kind.kind === 'function') {
      const actual = (): AnyFunction => loaded()[key] as AnyFunction;
      return makeFunction(`${name}.${key}`, actual, isBuilding, (prototype) => {
        const call = `${name}.${key}.`;
        links.push(addMethods(prototype, kind.methods, call, actual, isBuilding));
        standFor(prototype, () => actual().prototype);
      });
    }
    const object = {};
    standFor(object, () => loaded()[key]);
    return object;
  };

  for (const [key, kind] of Object.entries(shape)) {
    let made: { value: unknown } | null = null;
    Object.defineProperty(exports, key, {
      enumerable: true,
      configurable: true,
      get: () => {
        if (!isBuilding()) return loaded()[key];
        if (given.has(key)) return given.get(key);
        made ??= { value: makeExport(key, kind) };
        return made.value;
      },
      set: (value: unknown) => {
        if (isBuilding()) given.set(key, value);
        else loaded()[key] = value;
      },
    });
  }
  return {
    exports,
    link: () => {
      for (const link of links) link();
    },
  };
}

/** A function, or a class that can be extended now, that can be called from the start on.
 * @param onExtended With the prototype that others have put theirs upon. */
function makeFunction(
  name: string,
  real: () => AnyFunction,
  isBuilding: () => boolean,
  onExtended: (prototype: object) => void,
): AnyFunction {
  function forward(this: unknown, ...given: unknown[]): unknown {
    if (isBuilding()) throw notNow(`${name}()`);
    if (new.target === undefined) return Reflect.apply(real(), this, given);
    return Reflect.construct(real(), given, new.target === standIn ? real() : new.target);
  }
  Object.defineProperty(forward, Symbol.hasInstance, {
    value(this: unknown, value: unknown): boolean {
      if (this !== standIn) return isInstance.call(this as AnyFunction, value);
      return !isBuilding() && value instanceof real();
    },
  });
  let isExtended = false;
  const standIn: AnyFunction = new Proxy(forward, {
    get(target, key): unknown {
      if (key === Symbol.hasInstance || (key === 'prototype' && isExtended)) {
        return Reflect.get(target, key);
      }
      if (!isBuilding()) return Reflect.get(real(), key);
      if (key === 'prototype') {
        isExtended = true;
        onExtended(target.prototype);
      }
      return Reflect.get(target, key);
    },
  });
  return standIn;
}

/** Methods that may be taken from the prototype now, to be called later. Returns what removes them. */
function addMethods(
  prototype: object,
  methods: readonly string[],
  call: string,
  real: () => AnyFunction,
  isBuilding: () => boolean,
): () => void {
  const added = methods.map((key) => {
    const value = function (this: unknown, ...given: unknown[]): unknown {
      if (isBuilding()) throw notNow(`${call}${key}()`);
      const method = (real().prototype as Record<string, AnyFunction>)[key] as AnyFunction;
      return Reflect.apply(method, this, given);
    };
    Object.defineProperty(prototype, key, { value, writable: true, configurable: true });
    return { key, value };
  });
  return () => {
    const holder = prototype as Record<string, unknown>;
    for (const { key, value } of added) if (holder[key] === value) delete holder[key];
  };
}

const isInstance = Function.prototype[Symbol.hasInstance];

/** Runs what a function of a module does, but not while a snapshot is made. */
export function makeGuard(call: string, real: AnyFunction, isBuilding: () => boolean): AnyFunction {
  function guarded(this: unknown, ...given: unknown[]): unknown {
    if (isBuilding()) throw notNow(call);
    if (new.target === undefined) return Reflect.apply(real, this, given);
    return Reflect.construct(real, given, new.target === guarded ? real : new.target);
  }
  Object.setPrototypeOf(guarded, real);
  Object.defineProperty(guarded, 'prototype', { value: real.prototype });
  return guarded;
}

export function notNow(call: string): Error {
  const error = new Error(
    `${call} cannot be called before serve() while a snapshot is made; call it in onWorkerStart, or for the first request`,
  );
  return Object.assign(error, { code: 'ERR_NOT_SUPPORTED_IN_SNAPSHOT' });
}
