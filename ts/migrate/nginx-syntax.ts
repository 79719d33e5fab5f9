// SPDX-License-Identifier: Apache-2.0
// nginx.conf as nginx reads it: words, quotes, blocks, comments, include. Everything keeps its place in
// its file, so that it can be rewritten.
import { dirname, resolve } from 'node:path';
import {
  expandPattern,
  type Files,
  lineAt,
  MigrateError,
  type Source,
  type Span,
} from './source.ts';

export interface NginxDirective {
  name: string;
  /** Behind the name, quotes taken off. */
  words: string[];
  /** From its name to its semicolon or closing brace. */
  span: Span;
  /** Of the name and the words alone. */
  head: Span;
  /** null = it ends with a semicolon. */
  children: NginxDirective[] | null;
  /** Files of an include, with their directives. */
  files: NginxFile[] | null;
  /** What an include could not read, and why. */
  unread: string | null;
}

export interface NginxFile {
  source: Source;
  nodes: NginxDirective[];
}

const deepest = 16;

/**
 * @param root Below which relative includes are; default: the directory of the file.
 * @throws MigrateError naming file and line.
 */
export function parseNginx(path: string, files: Files, root = dirname(path)): NginxFile {
  return readFile({ files, root, depth: 0 }, path);
}

interface Reading {
  files: Files;
  root: string;
  depth: number;
}

function readFile(reading: Reading, path: string): NginxFile {
  const source: Source = { path, text: reading.files.read(path) };
  return { source, nodes: new Parser(reading, source).all() };
}

/** With included directives in the place of their include, as nginx sees them. */
export function flatten(nodes: readonly NginxDirective[]): NginxDirective[] {
  return nodes.flatMap((node) => {
    if (node.files === null) return [node];
    return [node, ...node.files.flatMap((file) => flatten(file.nodes))];
  });
}

interface Token {
  /** A word, or one of ; { }. */
  text: string;
  isWord: boolean;
  start: number;
  end: number;
}

class Parser {
  readonly #reading: Reading;
  readonly #source: Source;
  #at = 0;

  constructor(reading: Reading, source: Source) {
    this.#reading = reading;
    this.#source = source;
  }

  all(): NginxDirective[] {
    const nodes: NginxDirective[] = [];
    for (;;) {
      const token = this.#next();
      if (token === null) return nodes;
      if (token.isWord) nodes.push(this.#directive(token));
      else throw this.#error(token.start, `unexpected "${token.text}"`);
    }
  }

  #block(open: Token): NginxDirective[] {
    const nodes: NginxDirective[] = [];
    for (;;) {
      const token = this.#next();
      if (token === null) throw this.#error(open.start, 'the block is not closed by "}"');
      if (token.isWord) nodes.push(this.#directive(token));
      else if (token.text === '}') return nodes;
      else throw this.#error(token.start, `unexpected "${token.text}"`);
    }
  }

  #directive(name: Token): NginxDirective {
    const words: string[] = [];
    let last = name;
    for (;;) {
      const token = this.#next();
      if (token === null) throw this.#error(name.start, `"${name.text}" is not ended by ";"`);
      if (token.isWord) {
        words.push(token.text);
        last = token;
        continue;
      }
      if (token.text === '}') throw this.#error(token.start, `"${name.text}" is not ended by ";"`);
      const head = this.#span(name.start, last.end);
      const children = token.text === '{' ? this.#body(name, token) : null;
      const span = this.#span(name.start, this.#at);
      const node = { name: name.text, words, span, head, children, files: null, unread: null };
      return name.text === 'include' && children === null ? this.#include(node) : node;
    }
  }

  #body(name: Token, open: Token): NginxDirective[] {
    if (!name.text.endsWith('_by_lua_block')) return this.#block(open);
    // Braces in Lua's strings and comments do not count.
    const token = /"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|--[^\n]*|[{}]/g;
    token.lastIndex = this.#at;
    for (let depth = 1; depth > 0; ) {
      const found = token.exec(this.#source.text)?.[0];
      if (found === undefined) throw this.#error(open.start, 'the block is not closed by "}"');
      if (found === '{') depth++;
      if (found === '}') depth--;
    }
    this.#at = token.lastIndex;
    return [];
  }

  #include(node: NginxDirective): NginxDirective {
    const { files, root, depth } = this.#reading;
    if (depth === deepest) throw this.#error(node.span.start, `include more than ${deepest} deep`);
    const read: NginxFile[] = [];
    let unread: string | null = null;
    for (const path of expandPattern(resolve(root, node.words[0] ?? ''), files)) {
      try {
        read.push(readFile({ files, root, depth: depth + 1 }, path));
      } catch (failure) {
        if (failure instanceof MigrateError) throw failure;
        unread = `${path}: ${failure instanceof Error ? failure.message : failure}`;
      }
    }
    return { ...node, files: read, unread };
  }

  #next(): Token | null {
    const { text } = this.#source;
    for (;;) {
      while (/\s/.test(text[this.#at] ?? '')) this.#at++;
      if (text[this.#at] !== '#') break;
      const newline = text.indexOf('\n', this.#at);
      this.#at = newline === -1 ? text.length : newline + 1;
    }
    const start = this.#at;
    const char = text[start];
    if (char === undefined) return null;
    if (char === ';' || char === '{' || char === '}') {
      this.#at++;
      return { text: char, isWord: false, start, end: this.#at };
    }
    return char === '"' || char === "'" ? this.#quoted(char, start) : this.#plain(start);
  }

  #quoted(quote: string, start: number): Token {
    const { text } = this.#source;
    let word = '';
    for (let at = start + 1; at < text.length; at++) {
      const char = text[at] as string;
      if (char === quote) {
        this.#at = at + 1;
        const next = text[this.#at] ?? ';';
        if (!/[\s;{}]/.test(next) && next !== ')') {
          throw this.#error(at, `unexpected "${next}" behind a closing quote`);
        }
        return { text: word, isWord: true, start, end: this.#at };
      }
      if (char === '\\') at++;
      word += char === '\\' ? unescaped(text[at] ?? '') : char;
    }
    throw this.#error(start, `the quote ${quote} is not closed`);
  }

  #plain(start: number): Token {
    const { text } = this.#source;
    let word = '';
    let at = start;
    for (; at < text.length; at++) {
      const char = text[at] as string;
      if (/[\s;]/.test(char)) break;
      if (char === '{' && text[at - 1] !== '$') break;
      if (char === '\\') {
        at++;
        word += unescaped(text[at] ?? '');
        continue;
      }
      word += char;
    }
    this.#at = at;
    return { text: word, isWord: true, start, end: at };
  }

  #span(start: number, end: number): Span {
    return { source: this.#source, start, end, line: lineAt(this.#source.text, start) };
  }

  #error(offset: number, reason: string): MigrateError {
    const { path, text } = this.#source;
    return new MigrateError({ file: path, line: lineAt(text, offset) }, reason);
  }
}

/** nginx takes a backslash off before quotes and itself, and knows \t \r \n. */
function unescaped(char: string): string {
  if (char === '"' || char === "'" || char === '\\') return char;
  if (char === 't') return '\t';
  if (char === 'r') return '\r';
  return char === 'n' ? '\n' : `\\${char}`;
}
