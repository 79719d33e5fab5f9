// SPDX-License-Identifier: Apache-2.0
// What serve() is given: one application, or several with names and paths.
import type { Servlet } from '../exchange.ts';
import { type Handler, type HandlerStyle, readinessOf, servletOf } from './servlet-of.ts';
import { servletsOf } from './servlets-of.ts';

export type Handlers = Handler | Readonly<Record<string, Handler>>;

/** @throws TypeError naming what is allowed */
export function servletFor(handlers: Handlers, style: HandlerStyle | null): Servlet {
  return isOne(handlers) ? servletOf(handlers, style) : servletsOf(handlers, style);
}

/** Resolves when all can take requests. Rejects when one cannot. */
export async function readinessOfAll(handlers: Handlers): Promise<void> {
  const all = isOne(handlers) ? [handlers] : Object.values(handlers);
  for (const handler of all) await readinessOf(handler);
}

/** Applications are functions, or objects that have one of these; an own key of that name is a servlet. */
function isOne(handlers: Handlers): handlers is Handler {
  if (typeof handlers !== 'object' || handlers === null) return true;
  const { fetch, routing } = handlers as Record<string, unknown>;
  const isPlain = Object.getPrototypeOf(handlers) === Object.prototype;
  const isApplication = typeof fetch === 'function' || typeof routing === 'function';
  return isApplication || !isPlain;
}
