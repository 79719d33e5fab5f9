// SPDX-License-Identifier: Apache-2.0
// Puts the table that build/options-table prints from options.def into docs/options.md:
//   npm run build:native && node scripts/options-table.mjs
// native/test/options_test.c fails while the two differ.

import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './run.mjs';

const page = join(root, 'docs/options.md');
const begin = '<!-- options table: begin -->\n';
const end = '<!-- options table: end -->\n';

const text = readFileSync(page, 'utf8');
const from = text.indexOf(begin) + begin.length;
const to = text.indexOf(end);
if (from < begin.length || to < from) throw new Error(`${page} has lost its table's marks`);

const program = process.argv[2] ?? join(root, 'build/options-table');
const table = execFileSync(program, { encoding: 'utf8' });
writeFileSync(page, text.slice(0, from) + table + text.slice(to));
