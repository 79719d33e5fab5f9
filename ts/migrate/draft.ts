// SPDX-License-Identifier: Apache-2.0
// A migration while it is made: the model, what is said of each line, and the secrets that go to files.
import type { Host, Model, Option, ProgramClass, Remark, ServerKind, Verdict } from './model.ts';
import type { Source, Span } from './source.ts';

/** Processes of one class, requests of one address: what options can be. */
export const mostOfClass = 256;

export class Draft {
  readonly model: Model = {
    classes: [],
    dynamic: { options: [], sources: [] },
    hosts: [],
    secrets: [],
  };
  readonly remarks: Remark[] = [];
  readonly from: ServerKind;
  readonly to: ServerKind;
  /** Paths below it are shown without it. */
  readonly base: string;
  readonly #secretDirectory: string;
  readonly #said = new Set<string>();
  readonly #noted = new Map<Source, Set<number>>();

  constructor(from: ServerKind, to: ServerKind, secretDirectory: string, base: string) {
    this.from = from;
    this.to = to;
    this.#secretDirectory = secretDirectory;
    this.base = base;
  }

  get isSameServer(): boolean {
    return this.from === this.to;
  }

  /** @param subject Default: what stands in the lines, secrets masked. */
  note(verdict: Verdict, source: Span, text: string, subject = shown(source)): void {
    const remark = { verdict, source, subject: maskSecrets(subject), text: maskSecrets(text) };
    const noted = this.#noted.get(source.source) ?? new Set();
    this.#noted.set(source.source, noted.add(source.start));
    const key = [source.source.path, source.line, remark.subject, remark.text].join('\n');
    if (this.#said.has(key)) return;
    this.#said.add(key);
    this.remarks.push(remark);
  }

  isNoted({ source, start }: Span): boolean {
    return this.#noted.get(source)?.has(start) ?? false;
  }

  addClass(
    name: string,
    kind: ProgramClass['kind'],
    options: Option[],
    sources: Span[],
  ): ProgramClass {
    const same = this.model.classes.find(
      (known) =>
        known.kind === kind && isNameOf(known.name, name) && isEqual(known.options, options),
    );
    if (same !== undefined) {
      same.sources.push(...sources);
      return same;
    }
    const added = { name: this.freeName(name), kind, options, sources: [...sources] };
    this.model.classes.push(added);
    return added;
  }

  freeName(wanted: string): string {
    const isTaken = (name: string): boolean => this.model.classes.some((one) => one.name === name);
    for (let n = 1; ; n++) {
      const name = n === 1 ? wanted : `${wanted}-${n}`;
      if (!isTaken(name)) return name;
    }
  }

  /** Puts a secret into a file of its own; the option that names it. */
  secret(className: string, value: string, source: Span): Option {
    const path = `${this.#secretDirectory}/${className.replace(/[^\w.-]/g, '_')}.secret`;
    const isKnown = this.model.secrets.some((one) => one.path === path && one.value === value);
    if (!isKnown) this.model.secrets.push({ className, path, value, source });
    this.note(
      'changed',
      source,
      `the secret belongs into ${path}, mode 0600; it is printed nowhere`,
    );
    return ['secret-file', path];
  }
}

export function newHost(span: Span | null): Host {
  return {
    ...{ span, names: [], listens: [], root: null, indexes: [], aliases: [], mounts: [] },
    ...{ fallback: null, maxBodyBytes: null, tls: null },
  };
}

/** A name for a class after a program or address. */
export function nameFor(text: string): string {
  const last = text.replace(/\/+$/, '').split('/').at(-1) ?? '';
  const name = last.replace(/\.(sock|socket|fcgi|cgi|sh|pl|py|exe)$/, '').replace(/[^\w.-]/g, '-');
  return /^[A-Za-z]/.test(name) ? name : `app-${name.replace(/^[^\w]+/, '')}`;
}

/** What stands in the lines of a span, on one line, secrets masked. */
export function shown({ source, start, end }: Span): string {
  const text = source.text
    .slice(start, end)
    .replace(/\\\r?\n/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  const masked = maskSecrets(text);
  return masked.length > 100 ? `${masked.slice(0, 97)}…` : masked;
}

export function maskSecrets(text: string): string {
  return text
    .replace(/(secret\s*[=:]\s*)("[^"]*"|'[^']*'|[^\s,;"']+)/gi, '$1…')
    .replace(
      /((?:password|passwd|_token|api_?key)\w*\s*[=\s]\s*)("[^"]*"|'[^']*'|[^\s,;"']+)/gi,
      '$1…',
    )
    .replace(/(\/\/[^\s/:@]+:)[^\s/@]+@/g, '$1…@');
}

/** As freeName() makes it. */
function isNameOf(name: string, wanted: string): boolean {
  return (
    name === wanted ||
    (name.startsWith(`${wanted}-`) && /^\d+$/.test(name.slice(wanted.length + 1)))
  );
}

function isEqual(one: readonly Option[], other: readonly Option[]): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}
