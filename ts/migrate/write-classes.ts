// SPDX-License-Identifier: Apache-2.0
// The directives that define classes, in either server's spelling, and how both quote a word.
import type { Model, Option, ProgramClass } from './model.ts';
import { showPlace } from './source.ts';

/** Options that nginx has directives of its own for. */
export const notForNginx: ReadonlySet<string> = new Set([
  'idle-timeout',
  'flush',
  'pass-header',
  'nph',
]);

const widest = 96;

/** As both servers read a word. */
export function quote(word: string): string {
  if (/^[\w@%+=:,./[\]-]+$/.test(word)) return word;
  return `"${word.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

export function apacheClasses(model: Model, base: string): string[] {
  const lines = model.classes.flatMap((one) => {
    const directive = one.kind === 'static' ? 'AppClass' : 'ExternalAppClass';
    return [
      ...origin(one, base),
      ...broken([`${directive} ${quote(one.name)}`, ...apacheOptions(one.options)], ' \\'),
    ];
  });
  const { options } = model.dynamic;
  return options.length === 0
    ? lines
    : [...lines, ...broken(['FCGIConfig', ...apacheOptions(options)], ' \\')];
}

export function apacheOptions(options: readonly Option[]): string[] {
  return options.map(([name, value]) => (value === true ? `-${name}` : `-${name} ${quote(value)}`));
}

export function nginxClasses(model: Model, base: string): string[] {
  const lines = model.classes.flatMap((one) => {
    const directive = one.kind === 'static' ? 'usher_app' : 'usher_external_app';
    return [
      ...origin(one, base),
      ...ended(broken([`${directive} ${quote(one.name)}`, ...nginxOptions(one.options)], '')),
    ];
  });
  const options = nginxOptions(model.dynamic.options);
  return options.length === 0
    ? lines
    : [...lines, ...ended(broken(['usher_config', ...options], ''))];
}

function nginxOptions(options: readonly Option[]): string[] {
  return options
    .filter(([name]) => !notForNginx.has(name))
    .map(([name, value]) => quote(value === true ? snake(name) : `${snake(name)}=${value}`));
}

function snake(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`).replaceAll('-', '_');
}

function origin({ sources }: ProgramClass, base: string): string[] {
  const places = sources.map((span) => showPlace(span, base)).sort();
  return [`# ${[...new Set(places)].slice(0, 4).join(', ')}`];
}

/** On one line, or one word a line. */
function broken(words: string[], continuation: string): string[] {
  const line = words.join(' ');
  if (line.length <= widest) return [line];
  const last = words.length - 1;
  return words.map(
    (word, at) => `${at === 0 ? '' : '    '}${word}${at === last ? '' : continuation}`,
  );
}

function ended(lines: string[]): string[] {
  return lines.map((line, at) => (at === lines.length - 1 ? `${line};` : line));
}

export function indent(lines: readonly string[], by = '    '): string[] {
  return lines.map((line) => (line === '' ? '' : by + line));
}
