// SPDX-License-Identifier: Apache-2.0
// Programs that the command line starts, and where they stand in the installation.
import { spawn } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { constants } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Installation, installationFile } from '../install/package-files.ts';

/** How a program ended: its status, or 128 + the signal that killed it, as a shell says it. */
export interface Ending {
  exitCode: number;
}

const passedOn: NodeJS.Signals[] = ['SIGTERM', 'SIGHUP'];

/** The folder of the package that this is: two above ts/cli and dist/cli. */
export const packageFolder = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** The same by the name that lasts: where it is installed that is a link, which the next version turns. */
const lastingFolder = lastingName(packageFolder);

function lastingName(folder: string): string {
  try {
    const text = readFileSync(join(folder, installationFile), 'utf8');
    const { prefix } = JSON.parse(text) as Installation;
    return realpathSync(prefix) === folder ? prefix : folder;
  } catch {
    return folder; // a checkout, or a copy below --root
  }
}

/** The file at `path` below the installation's folder. */
export function installed(path: string): string {
  return join(lastingFolder, path);
}

export function foreground(program: string, args: string[]): Promise<Ending> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: 'inherit' });
    const pass = (signal: NodeJS.Signals): void => {
      child.kill(signal);
    };
    // A terminal's Ctrl-C reaches the child itself: we only must not end before it does.
    const onInterrupt = (): void => {
      if (!process.stdin.isTTY) child.kill('SIGINT');
    };
    for (const signal of passedOn) process.on(signal, pass);
    process.on('SIGINT', onInterrupt);
    const forget = (): void => {
      for (const signal of passedOn) process.off(signal, pass);
      process.off('SIGINT', onInterrupt);
    };
    child.once('error', (error) => {
      forget();
      reject(error);
    });
    child.once('exit', (status, signal) => {
      forget();
      resolve({ exitCode: toExitCode(status, signal) });
    });
  });
}

export function capture(program: string, args: string[]): Promise<Ending & { output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.once('error', reject);
    child.once('close', (status, signal) => {
      resolve({ exitCode: toExitCode(status, signal), output });
    });
  });
}

function toExitCode(status: number | null, signal: NodeJS.Signals | null): number {
  return status ?? 128 + (signal === null ? 0 : constants.signals[signal]);
}
