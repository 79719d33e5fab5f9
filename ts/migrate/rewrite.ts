// SPDX-License-Identifier: Apache-2.0
// A configuration with some of its parts replaced. What does not change stays as it was written; an
// included file is written out where something in it changes, else stays an include.
import type { Source, Span } from './source.ts';

interface Edit {
  start: number;
  end: number;
  text: string;
}

export class Edits {
  readonly #bySource = new Map<Source, Edit[]>();

  /** @param text null = nothing, its line goes as well when it is alone on it. */
  replace(span: Span, text: string | null): void {
    const list = this.#listOf(span.source);
    const { start, end } = text === null ? wholeLine(span) : span;
    list.push({ start, end, text: text ?? '' });
  }

  /** Puts lines before those of the span. */
  insertBefore({ source, start }: Span, text: string): void {
    this.#listOf(source).push({ start, end: start, text });
  }

  /** Puts text behind an offset. */
  insertAt(source: Source, offset: number, text: string): void {
    this.#listOf(source).push({ start: offset, end: offset, text });
  }

  has(source: Source): boolean {
    return this.#bySource.has(source);
  }

  /** Parts of the text; in those that lie inside of others nothing is changed any more. */
  apply(source: Source, more: Edit[]): string {
    const { text } = source;
    const all = [...(this.#bySource.get(source) ?? []), ...more].sort(
      (a, b) => a.start - b.start || insertionFirst(a, b) || b.end - a.end,
    );
    let written = '';
    let at = 0;
    for (const edit of all) {
      if (edit.start < at) continue;
      written += text.slice(at, edit.start) + edit.text;
      at = edit.end;
    }
    return written + text.slice(at);
  }

  #listOf(source: Source): Edit[] {
    const list = this.#bySource.get(source) ?? [];
    this.#bySource.set(source, list);
    return list;
  }
}

/** A file as both parsers make it, reduced to what rewriting needs. */
export interface RewritableFile {
  source: Source;
  includes: { span: Span; files: RewritableFile[] }[];
}

/** @param include The line that includes one file. */
export function rewrite(
  file: RewritableFile,
  edits: Edits,
  include: (path: string) => string,
): string {
  const inlined = file.includes
    .filter(({ files }) => files.some((one) => isChanged(one, edits)))
    .map(({ span, files }) => ({
      start: span.start,
      end: span.end,
      text: files.map((one) => written(one, edits, include)).join('\n'),
    }));
  return edits.apply(file.source, inlined);
}

function written(file: RewritableFile, edits: Edits, include: (path: string) => string): string {
  if (!isChanged(file, edits)) return include(file.source.path);
  return `# ---- ${file.source.path}\n${rewrite(file, edits, include).trimEnd()}\n# ---- end of ${file.source.path}`;
}

function isChanged(file: RewritableFile, edits: Edits): boolean {
  if (edits.has(file.source)) return true;
  return file.includes.some(({ files }) => files.some((one) => isChanged(one, edits)));
}

function insertionFirst(a: Edit, b: Edit): number {
  return Number(a.start !== a.end) - Number(b.start !== b.end);
}

/** The span with its indentation and newline, when nothing else is on its lines. */
function wholeLine({ source: { text }, start, end }: Span): { start: number; end: number } {
  const begin = text.lastIndexOf('\n', start - 1) + 1;
  if (text.slice(begin, start).trim() !== '') return { start, end };
  const rest = /^[ \t\r]*(?:\n|$)/.exec(text.slice(end));
  return rest === null ? { start, end } : { start: begin, end: end + rest[0].length };
}
