// SPDX-License-Identifier: Apache-2.0
// Configurations as public documentation has them, in cases/, and what becomes of each for either
// server: expected/SERVER.conf, and SERVER.txt, the report. USHER_WRITE_GOLDEN=1 writes them anew.
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { type Migrated, migrate } from '../migrate.ts';
import type { ServerKind } from '../model.ts';
import { showReport } from '../report.ts';
import type { Files } from '../source.ts';

const folder = fileURLToPath(new URL('cases', import.meta.url));

/** Where the cases seem to be. */
const seemingly = '/etc/migrate';

/** The first file is the server's. */
const inputs: Record<string, string[]> = {
  wordpress: ['nginx.conf', 'www.conf'],
  spawn: ['nginx.conf', 'start.sh', 'fcgiwrap.service'],
};

export const cases = readdirSync(folder).sort();

/** Files of a text each, by path. */
export function inMemory(texts: Readonly<Record<string, string>>): Files {
  const paths = Object.keys(texts);
  return {
    read: (path) => {
      const text = texts[path];
      if (text === undefined) throw new Error('there is no such file');
      return text;
    },
    list: (directory) => {
      const start = directory === '/' ? '/' : `${directory}/`;
      const names = paths
        .filter((path) => path.startsWith(start))
        .map((path) => path.slice(start.length).split('/')[0] ?? '');
      return names.length === 0 ? null : [...new Set(names)];
    },
  };
}

function readCase(name: string): Files {
  const texts: Record<string, string> = {};
  for (const file of readdirSync(`${folder}/${name}`, { recursive: true }) as string[]) {
    const path = `${folder}/${name}/${file}`;
    if (file.startsWith('expected') || statSync(path).isDirectory()) continue;
    texts[`${seemingly}/${file}`] = readFileSync(path, 'utf8');
    if (name === 'jserv') texts[`/etc/jserv/${file}`] = readFileSync(path, 'utf8');
  }
  return inMemory(texts);
}

export function migrateCase(name: string, to: ServerKind): Migrated {
  const files = inputs[name] ?? ['httpd.conf'];
  return migrate(
    {
      files: files.map((file) => `${seemingly}/${file}`),
      to,
      serverRoot: seemingly,
      secretDirectory: '/etc/usher',
      modules: { apache: 'modules/mod_usher.so', nginx: 'modules/ngx_http_usher_module.so' },
    },
    readCase(name),
  );
}

/** What was made, and what is expected, by file. */
export function golden(
  name: string,
  to: ServerKind,
): { file: string; made: string; expected: string }[] {
  const { text, report } = migrateCase(name, to);
  const made = { [`${to}.conf`]: text, [`${to}.txt`]: showReport(report) };
  return Object.entries(made).map(([file, text]) => {
    const path = `${folder}/${name}/expected/${file}`;
    if (process.env.USHER_WRITE_GOLDEN === '1') {
      mkdirSync(`${folder}/${name}/expected`, { recursive: true });
      writeFileSync(path, text);
    }
    return { file, made: text, expected: existsSync(path) ? readFileSync(path, 'utf8') : '' };
  });
}
