// SPDX-License-Identifier: Apache-2.0
// Where configurations come from: texts, places in them, and the files that they include.

/** One reading of a file; a file that is included twice is two sources. */
export interface Source {
  path: string;
  text: string;
}

/** A part of a source. */
export interface Span {
  source: Source;
  start: number;
  end: number;
  /** 1 = first. */
  line: number;
}

/** What readers see of the file system. */
export interface Files {
  /** @throws Error when it cannot be read. */
  read(path: string): string;
  /** Names in a directory; null when it is none. */
  list(directory: string): string[] | null;
}

/** A configuration that cannot be read; the message begins with file and line. */
export class MigrateError extends Error {
  override name = 'MigrateError';
  readonly file: string;
  readonly line: number;

  constructor(place: { file: string; line: number }, reason: string) {
    super(`${place.file}:${place.line}: ${reason}`);
    this.file = place.file;
    this.line = place.line;
  }
}

/** FILE:LINE, without the directory that all are below. */
export function showPlace({ source, line }: Span, base: string): string {
  return `${showPath(source.path, base)}:${line}`;
}

export function showPath(path: string, base: string): string {
  return path.startsWith(`${base}/`) ? path.slice(base.length + 1) : path;
}

/** The line of an offset; 1 = first. */
export function lineAt(text: string, offset: number): number {
  let line = 1;
  for (let at = text.indexOf('\n'); at !== -1 && at < offset; at = text.indexOf('\n', at + 1)) {
    line++;
  }
  return line;
}

/** The paths that a pattern of an Include means: *, ? and […] in names. None when nothing is there. */
export function expandPattern(pattern: string, files: Files): string[] {
  if (!/[*?[]/.test(pattern)) return [pattern];
  let paths = [''];
  for (const part of pattern.split('/').filter((part) => part !== '')) {
    paths = /[*?[]/.test(part)
      ? paths.flatMap((path) => matching(path, part, files))
      : paths.map((path) => `${path}/${part}`);
  }
  return paths.filter((path) => exists(path, files));
}

function matching(directory: string, pattern: string, files: Files): string[] {
  const expression = new RegExp(`^${globExpression(pattern)}$`);
  const names = files.list(directory === '' ? '/' : directory) ?? [];
  return names
    .filter((name) => expression.test(name) && (!name.startsWith('.') || pattern.startsWith('.')))
    .sort()
    .map((name) => `${directory}/${name}`);
}

function exists(path: string, files: Files): boolean {
  const at = path.lastIndexOf('/');
  return files.list(path.slice(0, at) || '/')?.includes(path.slice(at + 1)) ?? false;
}

/** As the shell's patterns, in a name; a [ without ] is itself. */
export function globExpression(pattern: string): string {
  return pattern.replace(/\*|\?|\[[!^]?[^\]\\]+\]|[\s\S]/g, (part) => {
    if (part === '*') return '[^/]*';
    if (part === '?') return '[^/]';
    if (part.length === 1) return escapeExpression(part);
    const isNegated = part[1] === '!' || part[1] === '^';
    const inside = part.slice(isNegated ? 2 : 1, -1);
    if (/^-|-$|(.)-(.)/.test(inside) && !isOrdered(inside)) return escapeExpression(part);
    return `[${isNegated ? '^' : ''}${inside.replace(/[\^[]/g, '\\$&')}]`;
  });
}

function isOrdered(inside: string): boolean {
  return [...inside.matchAll(/(.)-(.)/g)].every(([, from = '', to = '']) => from <= to);
}

export function escapeExpression(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
