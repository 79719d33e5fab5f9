// SPDX-License-Identifier: Apache-2.0
// A page of the manual as its tests read it: fenced blocks, and what the text around them says of them.
//
//   ```sh                  commands; each must succeed
//   ```console             lines "$ COMMAND", each followed by what it prints; … stands for what varies
//   `/path/to/a.file`      a paragraph of its own before a block: the block is that file
//   *Not run by the tests: why.*     a paragraph before a block of commands
//   ## nginx, ## … with Apache …     what stands below is for that server only

import { readFileSync } from 'node:fs';

export type Server = 'nginx' | 'Apache';

export interface Block {
  language: string;
  text: string;
  /** Of its first line, the fence not counted. */
  line: number;
  /** What the page says it is the contents of. */
  path: string | undefined;
  /** Why the tests do not run it. */
  notRun: string | undefined;
  /** Undefined: for both. */
  server: Server | undefined;
}

export interface Page {
  /** In the checkout: docs/cli.md. */
  name: string;
  blocks: Block[];
}

/** One command of a console block, and what it is to print; '': it succeeds, whatever it prints. */
export interface Step {
  command: string;
  output: string;
  line: number;
}

function serverOf(trail: string[]): Server | undefined {
  const words = trail.join(' ');
  const isNginx = /\bnginx\b/.test(words);
  const isApache = /\bApache\b/.test(words);
  if (isNginx === isApache) return undefined;
  return isNginx ? 'nginx' : 'Apache';
}

export function readPage(root: string, name: string): Page {
  const lines = readFileSync(`${root}/${name}`, 'utf8').split('\n');
  const blocks: Block[] = [];
  /** Headings of level two and deeper that stand above, by level. */
  let trail: string[] = [];
  let path: string | undefined;
  let notRun: string | undefined;
  for (let at = 0; at < lines.length; at += 1) {
    const line = lines[at] ?? '';
    const fence = /^```+/.exec(line)?.[0];
    if (fence !== undefined) {
      const end = lines.indexOf(fence, at + 1);
      if (end < 0) throw new Error(`${name}:${at + 1}: a block without an end`);
      const text = lines.slice(at + 1, end).join('\n');
      const language = line.slice(fence.length).trim();
      blocks.push({ language, text, line: at + 2, path, notRun, server: serverOf(trail) });
      [path, notRun] = [undefined, undefined];
      at = end;
      continue;
    }
    const heading = /^(##+) (.*)$/.exec(line);
    if (heading) {
      const [, marks = '', words = ''] = heading;
      trail = [...trail.slice(0, marks.length - 2), words];
    }
    if (line === '') continue;
    const marked = /^\*Not run by the tests: (.*)\.\*$/.exec(line);
    notRun = marked ? marked[1] : /^`\/[^`]+`$/.test(line) ? notRun : undefined;
    path = /^`(\/[^` ]+)`$/.exec(line)?.[1] ?? (marked ? path : undefined);
  }
  return { name, blocks };
}

export const isCommands = ({ language, path }: Block): boolean =>
  path === undefined && (language === 'sh' || language === 'console');

/** The commands of a console block; throws when it does not begin with one. */
export function stepsOf(block: Block): Step[] {
  const steps: { command: string[]; output: string[]; line: number }[] = [];
  for (const [index, text] of block.text.split('\n').entries()) {
    const last = steps.at(-1);
    if (text.startsWith('$ ')) {
      steps.push({ command: [text.slice(2)], output: [], line: block.line + index });
    } else if (last?.command.at(-1)?.endsWith('\\') && last.output.length === 0) {
      last.command.push(text);
    } else if (last) {
      last.output.push(text);
    } else {
      throw new Error(`line ${block.line}: a console block begins with "$ COMMAND"`);
    }
  }
  return steps.map(({ command, output, line }) => ({
    command: command.join('\n'),
    output: output.join('\n').trimEnd(),
    line,
  }));
}

/** What output may be: … in a line stands for anything there, … alone for any lines. */
export function pattern(output: string): RegExp {
  const quote = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
  const lines = output
    .split('\n')
    .map((line) =>
      line.trim() === '…'
        ? '(?:.*\n)*?'
        : `${line.trimEnd().split(/ *… */).map(quote).join('.*')} *\n`,
    );
  return new RegExp(`^${lines.join('')}$`);
}
