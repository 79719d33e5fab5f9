// SPDX-License-Identifier: Apache-2.0
// Command lines in scripts, unit files of systemd and files of /etc/default: words, and the variables
// that are set before them. Nothing is executed; what a shell would have to find out stays as it stands.
import type { Source, Span } from './source.ts';

export interface CommandLine {
  words: string[];
  /** NAME=value before the program, or exported or set for the whole file. */
  env: ReadonlyMap<string, string>;
  span: Span;
}

/** What a unit of systemd says; keys as they are written. */
export interface Unit {
  settings: ReadonlyMap<string, { value: string; span: Span }[]>;
}

interface Line {
  text: string;
  span: Span;
}

/** Lines, continued ones joined, without comments. */
function readLines(source: Source): Line[] {
  const lines: Line[] = [];
  const { text } = source;
  const physical = /(?:\\\r?\n|[^\n])*/g;
  let line = 1;
  while (physical.lastIndex < text.length) {
    const start = physical.lastIndex;
    const content = physical.exec(text)?.[0] ?? '';
    const end = start + content.length;
    if (!/^\s*#/.test(content)) {
      lines.push({ text: content.replace(/\\\r?\n/g, ' '), span: { source, start, end, line } });
    }
    line += content.split('\n').length;
    physical.lastIndex = end + 1;
  }
  return lines.filter(({ text }) => text.trim() !== '');
}

export function readCommands(source: Source): CommandLine[] {
  const variables = new Map<string, string>();
  const exported = new Map<string, string>();
  const commands: CommandLine[] = [];
  for (const { text, span } of readLines(source)) {
    for (const words of splitCommands(text, variables)) {
      const isExport = words[0] === 'export';
      const rest = isExport ? words.slice(1) : words;
      const own = rest.slice(0, countAssignments(rest)).map(assignment);
      const program = rest.slice(own.length);
      if (program.length === 0 || isExport) {
        for (const [name, value] of own) {
          variables.set(name, value);
          if (isExport || variables.has(name)) exported.set(name, value);
        }
        continue;
      }
      commands.push({ words: afterWrappers(program), env: new Map([...exported, ...own]), span });
    }
  }
  return commands;
}

export function readUnit(source: Source): Unit {
  const settings = new Map<string, { value: string; span: Span }[]>();
  for (const { text, span } of readLines(source)) {
    const at = text.indexOf('=');
    if (at < 1 || text.trim().startsWith('[') || text.trim().startsWith(';')) continue;
    const key = text.slice(0, at).trim();
    const list = settings.get(key) ?? [];
    list.push({ value: text.slice(at + 1).trim(), span });
    settings.set(key, list);
  }
  return { settings };
}

/** Words of a line, one list for each command of it. */
export function splitCommands(
  text: string,
  variables: ReadonlyMap<string, string> = new Map(),
): string[][] {
  const commands: string[][] = [[]];
  const token = /\s+|[;&|]+|#.*$|(?:'[^']*'|"(?:\\.|[^"\\])*"|\\.|[^\s;&|'"\\])+|./gy;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [part] = match;
    if (/^\s/.test(part) || part.startsWith('#')) continue;
    if (/^[;&|]/.test(part)) commands.push([]);
    else commands.at(-1)?.push(unquote(part, variables));
  }
  return commands.filter((words) => words.length > 0);
}

function unquote(part: string, variables: ReadonlyMap<string, string>): string {
  return part.replace(
    /'([^']*)'|"((?:\\.|[^"\\])*)"|\\(.)|(\$(?:\w+|\{\w+\}))/g,
    (whole, single?: string, double?: string, escaped?: string, variable?: string) => {
      if (single !== undefined) return single;
      if (double !== undefined) return replace(double, variables).replace(/\\([$"\\`])/g, '$1');
      if (escaped !== undefined) return escaped;
      return replace(variable ?? whole, variables);
    },
  );
}

function replace(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$(?:(\w+)|\{(\w+)\})/g, (whole, plain?: string, braced?: string) => {
    return variables.get(plain ?? braced ?? '') ?? whole;
  });
}

function countAssignments(words: readonly string[]): number {
  const first = words.findIndex((word) => !/^[A-Za-z_]\w*=/.test(word));
  return first === -1 ? words.length : first;
}

function assignment(word: string): [string, string] {
  const at = word.indexOf('=');
  return [word.slice(0, at), word.slice(at + 1)];
}

/** exec, nohup, env and the like, and what stands before ExecStart's program, are not the program. */
function afterWrappers(words: string[]): string[] {
  let rest = words;
  while (['exec', 'nohup', 'setsid', 'sudo', '/usr/bin/env', 'env'].includes(rest[0] ?? '')) {
    rest = rest.slice(1);
  }
  return rest.length === 0 ? words : rest;
}
