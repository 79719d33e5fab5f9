// SPDX-License-Identifier: Apache-2.0
// What holds in a block of nginx.conf, with what it has from the blocks around it.
import type { NginxDirective } from './nginx-syntax.ts';

/** What a location says, with what it has from around it. */
export interface Level {
  nodes: readonly NginxDirective[];
  outer: Level | null;
}

/** The last directive of a name, of the innermost level that has one. */
export function inherited(level: Level, name: string): NginxDirective | undefined {
  const own = level.nodes.filter((node) => node.name === name).at(-1);
  return own ?? (level.outer === null ? undefined : inherited(level.outer, name));
}

/** fastcgi_param: those of the innermost level that has any. */
export function parametersOf(level: Level): NginxDirective[] {
  const own = level.nodes.filter(({ name }) => name === 'fastcgi_param');
  return own.length > 0 || level.outer === null ? own : parametersOf(level.outer);
}

export function parameter(level: Level, wanted: string): string | null {
  const found = parametersOf(level)
    .filter(({ words }) => words[0] === wanted)
    .at(-1);
  return found?.words[1] ?? null;
}
