// SPDX-License-Identifier: Apache-2.0
// What a configuration says of programs, in no server's spelling: between readers and writers.
import type { Span } from './source.ts';

export type ServerKind = 'apache' | 'nginx';

/** An option of Usher as docs/options.md has it, without its dash; true = it has no value. */
export type Option = readonly [name: string, value: string | true];

/** A program, or an address of programs. */
export interface ProgramClass {
  name: string;
  kind: 'static' | 'external';
  options: Option[];
  sources: Span[];
}

/** Which requests of a host a mount is about. */
export type Where =
  /** The path, and what is below it behind a slash; '' = all. */
  | { kind: 'path'; path: string }
  /** What begins so, letter by letter. */
  | { kind: 'start'; path: string }
  | { kind: 'exact'; path: string }
  /** cut: the part before PATH_INFO, where that is known. */
  | { kind: 'expression'; expression: string; ignoresCase: boolean; cut?: string | null }
  /** Files below a directory (null = of the whole host) whose name fits; suffix: where that is all. */
  | { kind: 'files'; directory: string | null; suffix: string | null; names: string };

export type Target =
  | { kind: 'class'; name: string }
  /** The requested file is the program. */
  | { kind: 'file'; protocol: 'fastcgi' | 'cgi' }
  /** Left to the web server. */
  | { kind: 'nobody' };

export interface Mount {
  where: Where;
  target: Target;
  /** The program is told the requested file (SCRIPT_FILENAME), as php-cgi wants it. */
  runsFiles: boolean;
  /** What the program gets besides the usual: fastcgi_param, SetEnv. Values are texts. */
  parameters: readonly (readonly [name: string, value: string])[];
  sources: Span[];
}

export interface Alias {
  url: string;
  path: string;
}

/** A virtual host, or the main server. */
export interface Host {
  /** null = the main server. */
  span: Span | null;
  names: string[];
  /** As nginx's listen has them. */
  listens: string[];
  root: string | null;
  indexes: string[];
  aliases: Alias[];
  mounts: Mount[];
  /** What answers where no file is. */
  fallback: string | null;
  maxBodyBytes: number | null;
  tls: { certificate: string | null; key: string | null } | null;
}

/** A secret that stood in a configuration, for a file of its own. */
export interface Secret {
  className: string;
  path: string;
  value: string;
  source: Span;
}

export interface Model {
  classes: ProgramClass[];
  /** Of all dynamic classes. */
  dynamic: { options: Option[]; sources: Span[] };
  hosts: Host[];
  secrets: Secret[];
}

/** taken: means the same; changed: means something else; none: has no equivalent; kept: stays as it was. */
export type Verdict = 'taken' | 'changed' | 'none' | 'kept';

export interface Remark {
  verdict: Verdict;
  source: Span;
  /** What stands there, secrets masked. */
  subject: string;
  text: string;
}

export function optionValue(options: readonly Option[], name: string): string | null {
  const found = options.find(([known]) => known === name);
  return found === undefined || found[1] === true ? null : found[1];
}

export function hasOption(options: readonly Option[], name: string): boolean {
  return options.some(([known]) => known === name);
}

/** As COMMAND is split. */
export function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
