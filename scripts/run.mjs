// SPDX-License-Identifier: Apache-2.0
// How the scripts start other programs, and where the checkout is.

import { spawn, spawnSync } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

export const root = fileURLToPath(new URL('..', import.meta.url)).replace(/\/$/, '');

/** Runs a command with its output shown; throws when it fails. */
export function run(command, args, options = {}) {
  const { status, error, signal } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    ...options,
  });
  if (error) throw new Error(`${command} did not start: ${error.message}`);
  if (status !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${signal ?? status}`);
}

/** Runs a command to its end and gives back what it printed on both channels, and its status. */
export function capture(command, args, options = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      ...options,
    });
    const chunks = [];
    child.stdout.on('data', (chunk) => chunks.push(chunk));
    child.stderr.on('data', (chunk) => chunks.push(chunk));
    child.on('error', (error) => resolve({ status: 127, output: `${command}: ${error.message}` }));
    child.on('close', (status, signal) =>
      resolve({ status: status ?? signal, output: Buffer.concat(chunks).toString() }),
    );
  });
}

/** The path of a program that an npm package brings. */
export function npmProgram(path) {
  return `${root}/node_modules/${path}`;
}

/** Whether a script was started itself, and not imported by another. */
export function isMain(url) {
  const started = process.argv[1];
  return started !== undefined && realpathSync(started) === fileURLToPath(url);
}
