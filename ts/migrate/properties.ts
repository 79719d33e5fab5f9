// SPDX-License-Identifier: Apache-2.0
// workers.properties and uriworkermap.properties of mod_jk: NAME=value, $(variables), `reference`.
import { MigrateError, type Source, type Span } from './source.ts';

export interface Property {
  name: string;
  value: string;
  span: Span;
}

/** @throws MigrateError naming file and line. */
export function readProperties(source: Source): Property[] {
  const properties: Property[] = [];
  let start = 0;
  for (const [index, raw] of source.text.split('\n').entries()) {
    const span: Span = { source, start, end: start + raw.length, line: index + 1 };
    start = span.end + 1;
    const text = raw.trim();
    if (text === '' || text.startsWith('#')) continue;
    properties.push(readProperty(text, span));
  }
  return properties;
}

/** @throws MigrateError naming file and line. */
export function readProperty(text: string, span: Span): Property {
  const at = text.indexOf('=');
  if (at < 1) {
    throw new MigrateError({ file: span.source.path, line: span.line }, 'expected NAME=VALUE');
  }
  return { name: text.slice(0, at).trim(), value: text.slice(at + 1).trim(), span };
}

/** Lines that may be given several times and then are one list. */
const lists = new Set(['balance_workers', 'balanced_workers', 'mount', 'worker.list']);

/** The properties of one worker, by the last part of their names. */
export class Workers {
  readonly #all = new Map<string, Property[]>();

  constructor(properties: readonly Property[]) {
    const variables = new Map<string, string>();
    for (const { name, value, span } of properties) {
      const replaced = value.replace(/\$\(([^)]+)\)/g, (whole, variable: string) => {
        return variables.get(variable) ?? whole;
      });
      variables.set(name, replaced);
      const known = this.#all.get(name) ?? [];
      const isList = lists.has(name) || lists.has(name.slice(name.lastIndexOf('.') + 1));
      this.#all.set(name, [...(isList ? known : []), { name, value: replaced, span }]);
    }
  }

  /** worker.list. */
  listed(): string[] {
    return words((this.#all.get('worker.list') ?? []).map(({ value }) => value));
  }

  has(worker: string): boolean {
    return [...this.#all.keys()].some((name) => name.startsWith(`worker.${worker}.`));
  }

  /** What is said of a worker, by itself or by what it refers to. */
  get(worker: string, attribute: string): Property | undefined {
    return this.#find(worker, attribute, 0).at(-1);
  }

  list(worker: string, attribute: string): string[] {
    return words(this.#find(worker, attribute, 0).map(({ value }) => value));
  }

  /** The lines of a list. */
  properties(worker: string, attribute: string): Property[] {
    return this.#find(worker, attribute, 0);
  }

  /** All that is said of a worker; its own before what it refers to. */
  attributes(worker: string): Map<string, Property> {
    const found = new Map<string, Property>();
    let prefix = `worker.${worker}.`;
    for (let depth = 0; depth < 10; depth++) {
      for (const [name, properties] of this.#all) {
        const attribute = name.startsWith(prefix) ? name.slice(prefix.length) : '';
        const last = properties.at(-1);
        if (attribute !== '' && !found.has(attribute) && last) found.set(attribute, last);
      }
      const reference = this.#all.get(`${prefix}reference`)?.at(-1)?.value;
      if (reference === undefined) break;
      prefix = `${reference}.`;
    }
    return found;
  }

  all(): Property[] {
    return [...this.#all.values()].flat();
  }

  #find(
    worker: string,
    attribute: string,
    depth: number,
    prefix = `worker.${worker}.`,
  ): Property[] {
    const own = this.#all.get(`${prefix}${attribute}`);
    if (own !== undefined || depth > 10) return own ?? [];
    const reference = this.#all.get(`${prefix}reference`)?.at(-1)?.value;
    return reference === undefined ? [] : this.#find(worker, attribute, depth + 1, `${reference}.`);
  }
}

function words(values: readonly string[]): string[] {
  return values.flatMap((value) => value.split(/[\s,]+/)).filter((word) => word !== '');
}
