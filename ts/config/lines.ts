// SPDX-License-Identifier: Apache-2.0
// From the text of usher.conf or of a registration file to lines of words, as httpd.conf has them:
// blanks separate, "…" and '…' quote with \ before the quote or another \, # at a line's beginning
// comments it out, \ at its end continues it. Native code writes such lines
// (native/registration/dialect.c).
import { ConfigError } from './config-error.ts';

export interface Line {
  /** At least one. */
  words: string[];
  /** An open quote, a quote inside a word or a control character: the words are a guess then. */
  error: ConfigError | null;
  file: string;
  /** Where it begins; 1 = first. */
  line: number;
  /** "file:line" where the administrator wrote it: from a comment "# at FILE:LINE" before it, else here. */
  source: string;
}

export function readLines(text: string, file: string): Line[] {
  const lines: Line[] = [];
  let writtenAt: string | undefined;
  for (const { content, line } of joinContinued(text)) {
    if (/^[ \t]*#/.test(content)) {
      writtenAt = /^# at (.+:\d+)$/.exec(content)?.[1] ?? writtenAt;
      continue;
    }
    const source = writtenAt ?? `${file}:${line}`;
    const read = readWords(content, { file, line, source });
    if (read.words.length === 0) continue;
    lines.push({ ...read, file, line, source });
    writtenAt = undefined;
  }
  return lines;
}

function* joinContinued(text: string): Generator<{ content: string; line: number }> {
  let content = '';
  let begin = 0;
  for (const [index, physical] of text.split(/\r?\n/).entries()) {
    if (content === '') begin = index + 1;
    const isComment = content === '' && /^[ \t]*#/.test(physical);
    if (physical.endsWith('\\') && !isComment) {
      content += physical.slice(0, -1);
      continue;
    }
    yield { content: content + physical, line: begin };
    content = '';
  }
  if (content !== '') yield { content, line: begin };
}

type Place = Pick<Line, 'file' | 'line' | 'source'>;

function readWords(content: string, place: Place): Pick<Line, 'words' | 'error'> {
  try {
    return { words: splitWords(content, place), error: null };
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    return { words: content.trim().split(/[ \t]+/), error };
  }
}

/** @throws ConfigError for what `Line.error` lists. */
function splitWords(content: string, place: Place): string[] {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const control = /[\x00-\x08\x0a-\x1f\x7f]/.exec(content);
  if (control !== null) {
    const code = control[0].charCodeAt(0).toString(16).padStart(2, '0');
    throw new ConfigError(place, `a control character (0x${code}) in the line`);
  }
  const words: string[] = [];
  const token = /[ \t]*(?:"((?:\\.|[^"\\])*)"|'((?:\\.|[^'\\])*)'|([^ \t"']+))(?=[ \t]|$)/y;
  const end = content.trimEnd().length;
  while (token.lastIndex < end) {
    const position = token.lastIndex;
    const match = token.exec(content);
    if (match === null) {
      const rest = content.slice(position).trim();
      const column = content.indexOf(rest, position) + 1;
      throw new ConfigError(place, whatIsWrong(rest, column));
    }
    const [, double, single, plain] = match;
    if (double !== undefined) words.push(double.replace(/\\(["\\])/g, '$1'));
    else if (single !== undefined) words.push(single.replace(/\\(['\\])/g, '$1'));
    else if (plain !== undefined) words.push(plain);
  }
  return words;
}

/** Where, and not the text: what stands there may be a secret, and errors go to logs. */
function whatIsWrong(rest: string, column: number): string {
  const quote = rest[0];
  const at = `at column ${column}`;
  if (quote !== '"' && quote !== "'") {
    return `a quote inside the word ${at}; quote the whole word`;
  }
  const isClosed = new RegExp(`^${quote}(?:\\\\.|[^${quote}\\\\])*${quote}`).test(rest);
  return isClosed
    ? `no blank after the closing quote of the word ${at}`
    : `the quote ${at} is not closed`;
}
