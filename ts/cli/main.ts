// SPDX-License-Identifier: Apache-2.0
// What bin/usher starts. What few commands need is loaded when they do.
import { existsSync } from 'node:fs';
import { exitCodes } from './context.ts';
import { findManagers } from './managers.ts';
import { runProgram } from './program.ts';
import { processTerminal } from './terminal.ts';

// Who reads has seen enough (`usher logs -f app | head`), or the disk is full.
process.stdout.on('error', ({ message, code }: NodeJS.ErrnoException) => {
  if (code !== 'EPIPE') process.stderr.write(`usher: ${message}\n`);
  process.exit(exitCodes.failed);
});

process.exitCode = await runProgram(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
  uid: process.getuid?.() ?? -1,
  now: () => new Date(),
  exists: existsSync,
  findMaster: async (...of) => (await import('./web-server.ts')).findMaster(...of),
  managers: () => findManagers(),
  terminal: process.stdout.isTTY ? processTerminal() : null,
  foreground: async (...command) => (await import('./launch.ts')).foreground(...command),
  capture: async (...command) => (await import('./launch.ts')).capture(...command),
});
