// SPDX-License-Identifier: Apache-2.0
// Servlets as JServ's zones name them: modules whose default export is a handler.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseZoneProperties, type ServletProperties } from '../config/jserv-properties.ts';
import type { Handler } from '../runtime/index.ts';

/** Tried in this order behind a servlet's code that has none. */
const suffixes = ['', '.mjs', '.js', '.cjs'];

interface ServletModule {
  default: Handler;
  /** Before the first request, as a servlet's init(). */
  init?(initArgs: Record<string, string>): void | Promise<void>;
}

/** "ZONE/SERVLET": its handler; and what is to run before the first request of a worker. */
export interface Servlets {
  handlers: Record<string, Handler>;
  init(): Promise<void>;
}

/**
 * @param zones Each with its file.
 * @param classPath Directories that are looked through after the zone's repositories.
 * @throws ConfigError, Error naming zone, servlet and what was looked for
 */
export async function loadServlets(
  zones: ReadonlyMap<string, string>,
  classPath: readonly string[],
): Promise<Servlets> {
  const handlers: Record<string, Handler> = {};
  const inits: (() => void | Promise<void>)[] = [];
  for (const [zone, file] of zones) {
    const { repositories, servlets } = parseZoneProperties(readFileSync(file, 'utf8'), file);
    const directories = [...repositories, ...classPath].map((one) => resolve(dirname(file), one));
    for (const [name, servlet] of servlets) {
      const what = `zone ${zone}, servlet ${name} (${file})`;
      const module = await load(find(servlet, directories, what), what);
      handlers[`${zone}/${name}`] = module.default;
      handlers[name] ??= module.default; // web servers without zones: mod_jk
      const { init } = module;
      if (init) inits.push(() => init(Object.fromEntries(servlet.initArgs)));
    }
  }
  return {
    handlers,
    async init() {
      for (const init of inits) await init();
    },
  };
}

function find({ code }: ServletProperties, directories: readonly string[], what: string): string {
  const places = isAbsolute(code) ? [code] : directories.map((one) => resolve(one, code));
  for (const place of places) {
    for (const suffix of suffixes) {
      if (/\.[cm]?[jt]s$/.test(place + suffix) && existsSync(place + suffix)) return place + suffix;
    }
  }
  const looked = places.length === 0 ? 'the zone has no repositories' : places.join(', ');
  throw new Error(`${what}: no module ${code}; looked for: ${looked}, with ${suffixes.join(' ')}`);
}

async function load(file: string, what: string): Promise<ServletModule> {
  const module = (await import(pathToFileURL(file).href)) as Partial<ServletModule>;
  if (module.default === undefined) {
    throw new Error(`${what}: ${file} has no default export, which is to be the handler`);
  }
  return module as ServletModule;
}
