// SPDX-License-Identifier: Apache-2.0
// Pool files of php-fpm: sections, NAME = value, NAME[key] = value.
import { MigrateError, type Source, type Span } from './source.ts';

export interface PoolSetting {
  value: string;
  span: Span;
}

export interface Pool {
  name: string;
  span: Span;
  settings: Map<string, PoolSetting>;
  /** env, php_value and its kind: key by key. */
  lists: Map<string, Map<string, PoolSetting>>;
}

/** @throws MigrateError naming file and line. */
export function parsePools(source: Source): { pools: Pool[]; global: Pool } {
  const global = newPool('global', { source, start: 0, end: 0, line: 1 });
  const pools: Pool[] = [];
  let current = global;
  let start = 0;
  for (const [index, raw] of source.text.split('\n').entries()) {
    const span = { source, start, end: start + raw.length, line: index + 1 };
    start = span.end + 1;
    const text = raw.trim();
    if (text === '' || text.startsWith(';') || text.startsWith('#')) continue;
    const section = /^\[([^\]]+)\]/.exec(text)?.[1];
    if (section !== undefined) {
      current = section === 'global' ? global : newPool(section, span);
      if (current !== global) pools.push(current);
      continue;
    }
    readSetting(current, text, span);
  }
  return { pools, global };
}

function newPool(name: string, span: Span): Pool {
  return { name, span, settings: new Map(), lists: new Map() };
}

function readSetting(pool: Pool, text: string, span: Span): void {
  const match = /^([\w.]+)(?:\[([^\]]*)\])?\s*=\s*(.*)$/.exec(text);
  if (match === null) {
    const at = { file: span.source.path, line: span.line };
    throw new MigrateError(at, 'expected NAME = value or [pool]');
  }
  const [, name = '', key, raw = ''] = match;
  const value = withoutQuotes(raw).replaceAll('$pool', pool.name);
  if (key === undefined) {
    pool.settings.set(name, { value, span });
    return;
  }
  const list = pool.lists.get(name) ?? new Map<string, PoolSetting>();
  list.set(key, { value, span });
  pool.lists.set(name, list);
}

function withoutQuotes(raw: string): string {
  const quoted = /^"((?:\\.|[^"\\])*)"|^'([^']*)'/.exec(raw);
  if (quoted !== null) return (quoted[1] ?? quoted[2] ?? '').replace(/\\(["\\])/g, '$1');
  return raw.replace(/\s;.*$/, '').trim();
}
