// SPDX-License-Identifier: Apache-2.0
// What all readers of httpd.conf share: the scopes that sections make, which handler and program hold in
// which of them, and what takes the place of a directive where the server stays the same.
import type { ApacheConfiguration, ApacheDirective, ApacheSection } from './apache-syntax.ts';
import type { Draft } from './draft.ts';
import type { Host, Mount, Option } from './model.ts';
import type { Edits } from './rewrite.ts';
import type { Files, Span } from './source.ts';
import type { Starter } from './starters.ts';

export type ScopeKind =
  | 'server'
  | 'host'
  | 'directory'
  | 'location'
  | 'expression'
  | 'files'
  | 'other';

/** Who serves files of a scope: a handler's name, and the directive that gives it. */
export interface Handler {
  name: string;
  node: ApacheDirective;
}

export interface Wrapper {
  command: string[];
  suffix: string | null;
  isVirtual: boolean;
  node: ApacheDirective;
}

/** The main server, a virtual host or a section. */
export interface Scope {
  kind: ScopeKind;
  /** Path of a directory or URL, expression of names or URLs. */
  subject: string;
  parent: Scope | null;
  host: Host;
  section: ApacheSection | null;
  /** By suffix; '' = SetHandler. */
  handlers: Map<string, Handler>;
  wrappers: Wrapper[];
  /** Of mod_actions: URL by handler. */
  actions: Map<string, ApacheDirective>;
  /** SuexecUserGroup. */
  owner: readonly [user: string, group: string] | null;
  /** Of mod_fcgid: directives of this server or host, by name. */
  fcgid: Map<string, ApacheDirective[]>;
}

/** Requests that a module sends by their URL; in the order in which they hold: the first that fits. */
export interface UrlMount {
  host: Host;
  mount: Mount;
  /** Takes its place where the server stays the same. */
  node: ApacheDirective;
  /** The directive means something for others as well. */
  isKept: boolean;
}

export class ApacheReading {
  readonly configuration: ApacheConfiguration;
  readonly draft: Draft;
  readonly edits: Edits;
  readonly files: Files;
  readonly starters: readonly Starter[];
  readonly scopes: Scope[] = [];
  readonly urlMounts: UrlMount[] = [];
  /** JkMountCopy: hosts in which the mounts of the main server hold. */
  readonly copies = new Set<Host>();
  copiesToAll = false;
  readonly main: Host;

  constructor(
    configuration: ApacheConfiguration,
    draft: Draft,
    edits: Edits,
    files: Files,
    starters: readonly Starter[],
    main: Host,
  ) {
    this.configuration = configuration;
    this.draft = draft;
    this.edits = edits;
    this.files = files;
    this.starters = starters;
    this.main = main;
  }

  taken({ span }: ApacheDirective, text: string, subject?: string): void {
    this.draft.note('taken', span, text, subject);
  }

  changed({ span }: ApacheDirective, text: string, subject?: string): void {
    this.draft.note('changed', span, text, subject);
  }

  none({ span }: ApacheDirective, text: string, subject?: string): void {
    this.draft.note('none', span, text, subject);
  }

  /** Takes a directive out of a configuration that stays with its server. */
  remove({ span }: { span: Span }): void {
    this.edits.replace(span, null);
  }

  /** Puts lines, indented as it is, where a directive stands. */
  replace({ span }: { span: Span }, lines: readonly string[]): void {
    const begin = span.source.text.lastIndexOf('\n', span.start - 1) + 1;
    const first = /^[ \t]*/.exec(span.source.text.slice(span.start))?.[0] ?? '';
    const before = span.source.text.slice(begin, span.start) + first;
    this.edits.replace(
      span,
      lines.map((line, at) => (at === 0 ? first : before) + line).join('\n'),
    );
  }

  addUrlMount(host: Host, mount: Mount, node: ApacheDirective, isKept = false): void {
    this.urlMounts.push({ host, mount, node, isKept });
  }
}

/** The scope and those around it, outermost first. Shorter directories count as around longer ones. */
export function chain(scope: Scope, scopes: readonly Scope[]): Scope[] {
  const around = outer(scope, scopes);
  return around === null ? [scope] : [...chain(around, scopes), scope];
}

function outer(scope: Scope, scopes: readonly Scope[]): Scope | null {
  if (scope.kind !== 'directory' && scope.kind !== 'location') return scope.parent;
  const { parent } = scope;
  if (parent?.kind === scope.kind) return parent;
  const shorter = scopes
    .filter(
      (other) =>
        !isInside(other, scope) &&
        other.kind === scope.kind &&
        other.subject !== scope.subject &&
        (other.host === scope.host || other.host.span === null) &&
        `${scope.subject.replace(/\/*$/, '/')}`.startsWith(other.subject.replace(/\/*$/, '/')),
    )
    .sort((a, b) => b.subject.length - a.subject.length);
  return shorter[0] ?? parent;
}

/** httpd refuses sections of a kind in each other; here they must only not lead in a circle. */
function isInside(scope: Scope, around: Scope): boolean {
  for (let at: Scope | null = scope; at !== null; at = at.parent) if (at === around) return true;
  return false;
}

/** By suffix, '' = any file: what the scopes say together. */
export function effectiveHandlers(scope: Scope, scopes: readonly Scope[]): Map<string, Handler> {
  const all = new Map<string, Handler>();
  for (const one of chain(scope, scopes)) {
    for (const [suffix, handler] of one.handlers) {
      if (suffix === '' && one.handlers.size > 0) all.delete('');
      if (/^(none|default-handler)$/i.test(handler.name)) all.delete(suffix);
      else all.set(suffix, handler);
    }
  }
  // SetHandler is stronger than what names say, wherever it stands.
  const forced = all.get('');
  return forced === undefined ? all : new Map([['', forced]]);
}

export function effectiveWrapper(
  scope: Scope,
  scopes: readonly Scope[],
  suffix: string,
): Wrapper | null {
  const wrappers = chain(scope, scopes).flatMap((one) => one.wrappers);
  const own = wrappers.filter((one) => one.suffix?.toLowerCase() === suffix.toLowerCase()).at(-1);
  return own ?? wrappers.filter((one) => one.suffix === null).at(-1) ?? null;
}

/** The directory, if any, that the scope is inside of. */
export function directoryOf(scope: Scope): string | null {
  for (let at: Scope | null = scope; at !== null; at = at.parent) {
    if (at.kind === 'directory') return at.subject;
  }
  return null;
}

/** The last value of an option, appended to others. */
export function withOption(options: readonly Option[], option: Option): Option[] {
  return [...options.filter(([name]) => name !== option[0]), option];
}
