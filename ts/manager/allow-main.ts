// SPDX-License-Identifier: Apache-2.0
// `usherd --allow FILE`: run once by a launcher that is root, before the manager, which is not.
import { readFileSync } from 'node:fs';
import { parseDialect } from '../config/dialect.ts';
import { native } from '../native/native.ts';
import { allowList } from './allow.ts';

/** The manager says what is wrong with it (EX_CONFIG). */
const EXIT_CONFIG = 78;

const file = process.argv[3] ?? '';
try {
  process.stdout.write(allowList(parseDialect(readFileSync(file, 'utf8'), file, native)));
} catch (error) {
  if (!(error instanceof Error) || error.name !== 'ConfigError') throw error;
  process.exitCode = EXIT_CONFIG;
}
