// SPDX-License-Identifier: Apache-2.0
// A program: check-file FILE. Reads a usher.conf as the manager would; prints as JSON what a starter
// of the manager must know, or all that is wrong (exit code 2). Started by `usher run` and `usher config check`.
import { readFileSync } from 'node:fs';
import { native } from '../native/native.ts';
import { ConfigError } from './config-error.ts';
import { parseDialect } from './dialect.ts';

function check(file: string): { classes: number; runtimeDir?: string; log?: string } {
  const { classes, runtimeDir, log } = parseDialect(readFileSync(file, 'utf8'), file, native);
  return {
    classes: classes.length,
    ...(runtimeDir === undefined ? {} : { runtimeDir }),
    ...(log === undefined ? {} : { log }),
  };
}

try {
  process.stdout.write(`${JSON.stringify(check(process.argv[2] ?? ''))}\n`);
} catch (error) {
  const { syscall, message } = error as NodeJS.ErrnoException;
  const isUnreadable = syscall !== undefined;
  if (!(error instanceof ConfigError) && !isUnreadable) throw error;
  process.stderr.write(
    isUnreadable ? `cannot read ${process.argv[2]}: ${message}\n` : `${message}\n`,
  );
  process.exitCode = 2;
}
