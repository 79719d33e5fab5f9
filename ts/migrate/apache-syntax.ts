// SPDX-License-Identifier: Apache-2.0
// httpd.conf as httpd reads it: continued lines, quotes, ${VAR} of Define and environment, sections,
// IfModule, IfDefine, Include. Everything keeps its place in its file, so that it can be rewritten.
import { dirname, resolve } from 'node:path';
import { expandPattern, type Files, MigrateError, type Source, type Span } from './source.ts';

export interface ApacheDirective {
  kind: 'directive';
  name: string;
  /** Behind the name, variables replaced. */
  args: string;
  words: string[];
  span: Span;
}

export interface ApacheSection {
  kind: 'section';
  name: string;
  args: string;
  words: string[];
  /** Of the line that opens it. */
  span: Span;
  /** Of the line that closes it. */
  close: Span;
  /** None where a condition (IfModule …) does not hold. */
  children: ApacheNode[];
  isActive: boolean;
}

export interface ApacheInclude {
  kind: 'include';
  name: string;
  words: string[];
  span: Span;
  files: ApacheFile[];
  /** What could not be read, and why. */
  unread: string | null;
}

export type ApacheNode = ApacheDirective | ApacheSection | ApacheInclude;

export interface ApacheFile {
  source: Source;
  nodes: ApacheNode[];
}

export interface ApacheConfiguration {
  file: ApacheFile;
  serverRoot: string;
  /** Whether a LoadModule tells which modules there are. */
  knowsModules: boolean;
  /** ${NAME} that nobody defines. */
  unknownVariables: Map<string, Span>;
}

export interface ApacheSettings {
  /** Relative paths are below it; default: the directory of the first file, or what ServerRoot says. */
  serverRoot?: string;
  /** As -D of httpd. */
  defines?: readonly string[];
  env?: Readonly<Record<string, string | undefined>>;
}

/** Those that we replace: what is inside their IfModule is meant. */
const ours = new Set(['fcgid', 'fastcgi', 'jk', 'jserv', 'usher']);
const builtIn = new Set(
  'core http_core so unixd version watchdog log_config logio prefork worker event'.split(' '),
);
const deepest = 16;

/** @throws MigrateError naming file and line. */
export function parseApache(
  path: string,
  files: Files,
  settings: ApacheSettings = {},
): ApacheConfiguration {
  const first = new Reader(files, settings, path, null);
  const file = first.readFile(path, null);
  if (first.modules.size === 0) return first.configuration(file);
  const second = new Reader(files, settings, path, first.modules);
  return second.configuration(second.readFile(path, null));
}

/** fcgid_module and mod_fcgid.c are both fcgid. */
export function moduleName(text: string): string {
  return text
    .toLowerCase()
    .replace(/^mod_/, '')
    .replace(/\.c$|_module$/, '');
}

interface Line {
  text: string;
  span: Span;
}

/** What is open: a section, or the file itself. */
interface Frame {
  section: ApacheSection | null;
  nodes: ApacheNode[];
}

class Reader {
  readonly modules = new Set<string>();
  readonly #files: Files;
  readonly #known: ReadonlySet<string> | null;
  readonly #variables = new Map<string, string>();
  readonly #unknown = new Map<string, Span>();
  readonly #isRootGiven: boolean;
  #serverRoot: string;
  #depth = 0;

  /** @param known Modules that are loaded; null = not known yet. */
  constructor(
    files: Files,
    { serverRoot, defines = [], env = {} }: ApacheSettings,
    path: string,
    known: ReadonlySet<string> | null,
  ) {
    this.#files = files;
    this.#known = known;
    this.#isRootGiven = serverRoot !== undefined;
    this.#serverRoot = serverRoot ?? dirname(path);
    for (const [name, value] of Object.entries(env)) {
      if (value !== undefined) this.#variables.set(name, value);
    }
    for (const define of defines) {
      const at = define.indexOf('=');
      if (at === -1) this.#variables.set(define, '');
      else this.#variables.set(define.slice(0, at), define.slice(at + 1));
    }
  }

  configuration(file: ApacheFile): ApacheConfiguration {
    return {
      file,
      serverRoot: this.#serverRoot,
      knowsModules: this.#known !== null,
      unknownVariables: this.#unknown,
    };
  }

  readFile(path: string, from: Span | null): ApacheFile {
    const at = { file: from?.source.path ?? path, line: from?.line ?? 1 };
    if (this.#depth === deepest) throw new MigrateError(at, `Include more than ${deepest} deep`);
    const source: Source = { path, text: this.#files.read(path) };
    this.#depth++;
    const frames: Frame[] = [{ section: null, nodes: [] }];
    for (const line of joinContinued(source)) this.#readLine(line, frames);
    this.#depth--;
    const open = frames.at(-1)?.section;
    if (open) throw error(open.span, `<${open.name}> is not closed`);
    return { source, nodes: frames[0]?.nodes ?? [] };
  }

  #readLine({ text, span }: Line, frames: Frame[]): void {
    const content = text.trim();
    if (content === '' || content.startsWith('#')) return;
    const frame = frames.at(-1) as Frame;
    if (content.startsWith('</')) {
      this.#close(content, span, frames);
    } else if (frame.section?.isActive === false) {
      // Only its end is of interest; sections inside of it do not hold either.
      if (content.startsWith('<')) {
        frames.push({ section: { ...this.#open(content, span), isActive: false }, nodes: [] });
      }
    } else if (content.startsWith('<')) {
      const section = this.#open(this.#replace(content, span), span);
      frame.nodes.push(section);
      frames.push({ section, nodes: section.children });
    } else {
      frame.nodes.push(this.#directive(this.#replace(content, span), span));
    }
  }

  #open(content: string, span: Span): ApacheSection {
    const [, name, rest = ''] =
      /^<([^\s<>]+)(?:\s+([\s\S]*))?$/.exec(content.replace(/>$/, '')) ?? [];
    if (name === undefined || !content.endsWith('>')) {
      throw error(span, 'a section is opened as <Name …>');
    }
    const words = splitWords(rest, span);
    const section: ApacheSection = {
      ...{ kind: 'section', name, args: rest.trim(), words, span, close: span, children: [] },
      isActive: true,
    };
    section.isActive = this.#holds(name.toLowerCase(), words[0] ?? '');
    return section;
  }

  #close(content: string, span: Span, frames: Frame[]): void {
    const name = /^<\/([^\s<>]+)\s*>$/.exec(content)?.[1];
    const section = frames.at(-1)?.section;
    if (name === undefined) throw error(span, 'a section is closed as </Name>');
    if (!section) throw error(span, `</${name}> without <${name}>`);
    if (section.name.toLowerCase() !== name.toLowerCase()) {
      throw error(span, `</${name}> where <${section.name}> of line ${section.span.line} is open`);
    }
    section.close = span;
    frames.pop();
  }

  #holds(name: string, word: string): boolean {
    const isNegated = word.startsWith('!');
    const subject = isNegated ? word.slice(1) : word;
    if (name === 'ifmodule') return this.#isLoaded(moduleName(subject)) !== isNegated;
    if (name === 'ifdefine') return this.#variables.has(subject) !== isNegated;
    return true;
  }

  #isLoaded(name: string): boolean {
    if (ours.has(name) || builtIn.has(name)) return true;
    return this.#known?.has(name) ?? true;
  }

  #directive(content: string, span: Span): ApacheDirective | ApacheInclude {
    const [, name = '', args = ''] = /^(\S+)\s*([\s\S]*)$/.exec(content) ?? [];
    const words = splitWords(args, span);
    const lower = name.toLowerCase();
    if (lower === 'include' || lower === 'includeoptional') return this.#include(name, words, span);
    const [first = '', second = ''] = words;
    if (lower === 'define') this.#variables.set(first, second);
    if (lower === 'undefine') this.#variables.delete(first);
    if (lower === 'loadmodule') this.modules.add(moduleName(first));
    if (lower === 'serverroot' && !this.#isRootGiven) this.#serverRoot = resolve('/', first);
    return { kind: 'directive', name, args, words, span };
  }

  #include(name: string, words: string[], span: Span): ApacheInclude {
    const node: ApacheInclude = { kind: 'include', name, words, span, files: [], unread: null };
    const pattern = resolve(this.#serverRoot, words[0] ?? '');
    const paths = expandPattern(pattern, this.#files).flatMap((path) => this.#below(path));
    for (const path of paths) {
      try {
        node.files.push(this.readFile(path, span));
      } catch (failure) {
        if (failure instanceof MigrateError) throw failure;
        node.unread = `${path}: ${failure instanceof Error ? failure.message : failure}`;
      }
    }
    return node;
  }

  /** A directory stands for all files in it. */
  #below(path: string): string[] {
    const names = this.#files.list(path);
    if (names === null) return [path];
    return [...names].sort().flatMap((name) => this.#below(`${path}/${name}`));
  }

  #replace(text: string, span: Span): string {
    return text.replace(/\$\{([^}:]+)\}/g, (whole, name: string) => {
      const value = this.#variables.get(name);
      if (value === undefined && !this.#unknown.has(name)) this.#unknown.set(name, span);
      return value ?? whole;
    });
  }
}

function* joinContinued(source: Source): Generator<Line> {
  const { text } = source;
  let content = '';
  let begin = 0;
  let beginLine = 1;
  let line = 0;
  for (let start = 0; start <= text.length; ) {
    const newline = text.indexOf('\n', start);
    const end = newline === -1 ? text.length : newline;
    const physical = text.slice(start, end).replace(/\r$/, '');
    line++;
    if (content === '') {
      begin = start;
      beginLine = line;
    }
    start = end + 1;
    if (physical.endsWith('\\') && newline !== -1) {
      content += `${physical.slice(0, -1)} `;
      continue;
    }
    yield { text: content + physical, span: { source, start: begin, end, line: beginLine } };
    content = '';
  }
}

/** As ap_getword_conf: a word that begins with a quote goes to the next one. */
function splitWords(text: string, span: Span): string[] {
  const words: string[] = [];
  const token = /\s*(?:"((?:\\[\s\S]|[^"\\])*)"|'((?:\\[\s\S]|[^'\\])*)'|(["'])|(\S+))/y;
  const end = text.trimEnd().length;
  while (token.lastIndex < end) {
    const match = token.exec(text);
    if (match === null) break;
    const [, double, single, open, plain] = match;
    if (open !== undefined) throw error(span, `the quote ${open} is not closed`);
    if (double !== undefined) words.push(double.replace(/\\(["\\])/g, '$1'));
    else if (single !== undefined) words.push(single.replace(/\\(['\\])/g, '$1'));
    else if (plain !== undefined) words.push(plain);
  }
  return words;
}

function error(span: Span, reason: string): MigrateError {
  return new MigrateError({ file: span.source.path, line: span.line }, reason);
}
