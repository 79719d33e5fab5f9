// SPDX-License-Identifier: Apache-2.0
// What bin/usher starts.
import { existsSync } from 'node:fs';
import { capture, foreground } from './launch.ts';
import { findManagers } from './managers.ts';
import { runProgram } from './program.ts';
import { processTerminal } from './terminal.ts';
import { findMaster } from './web-server.ts';

process.exitCode = await runProgram(process.argv.slice(2), {
  out: (text) => process.stdout.write(text),
  err: (text) => process.stderr.write(text),
  env: process.env,
  uid: process.getuid?.() ?? -1,
  now: () => new Date(),
  exists: existsSync,
  findMaster,
  managers: () => findManagers(),
  terminal: process.stdout.isTTY ? processTerminal() : null,
  foreground,
  capture,
});
