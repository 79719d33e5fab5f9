// SPDX-License-Identifier: Apache-2.0
// Which modules of Node cannot be in a snapshot, and what they look like in this version of Node.
import { createRequire } from 'node:module';
import type { ExportShape, Shape } from './stand-in.ts';

type Library = Record<string, unknown>;

const require = createRequire(import.meta.url);

/** Loaded while a snapshot is made, these end the process (http, tls), or do not work afterwards
 * (worker_threads), or belong to a process that runs (cluster, inspector). Found by trying each. */
const deferred =
  /^(http|https|http2|tls|repl|cluster|worker_threads|inspector|wasi|trace_events|test|sea|_http_\w+|_tls_\w+)(\/|$)/;

/** Of the web's classes, which load node:http. */
const globals = [
  ...['Request', 'Response', 'Headers', 'FormData'],
  ...['WebSocket', 'EventSource', 'MessageEvent', 'CloseEvent'],
];

/** @param name Without "node:" */
export function isDeferred(name: string): boolean {
  return deferred.test(name);
}

export function shapeOfModule(name: string): Shape {
  const library = require(`node:${name}`) as Library;
  return Object.fromEntries(Object.keys(library).map((key) => [key, shapeOf(library[key])]));
}

export function shapesOfGlobals(): Shape {
  const present = globals.filter((name) => name in globalThis);
  return Object.fromEntries(present.map((name) => [name, shapeOf((globalThis as Library)[name])]));
}

function shapeOf(value: unknown): ExportShape {
  if (typeof value === 'function') return { kind: 'function', methods: methodsOf(value.prototype) };
  if (isData(value)) return { kind: 'data', value };
  if (typeof value === 'object') return { kind: 'object' };
  return { kind: 'data', value: undefined };
}

function methodsOf(prototype: unknown): string[] {
  const methods = new Set<string>();
  let at = prototype as object | null | undefined;
  while (at !== null && at !== undefined && at !== Object.prototype) {
    for (const [key, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (typeof value === 'function' && key !== 'constructor') methods.add(key);
    }
    at = Object.getPrototypeOf(at) as object | null;
  }
  return [...methods];
}

function isData(value: unknown): boolean {
  if (value === null || ['string', 'number', 'boolean'].includes(typeof value)) return true;
  if (typeof value !== 'object') return false;
  const isPlain =
    Array.isArray(value) || [Object.prototype, null].includes(Object.getPrototypeOf(value));
  return isPlain && Object.values(value).every(isData);
}
