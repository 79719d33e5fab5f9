// SPDX-License-Identifier: Apache-2.0
// Programs that the command line starts.
import { spawn } from 'node:child_process';
import { constants } from 'node:os';

/** How a program ended: its status, or 128 + the signal that killed it, as a shell says it. */
export interface Ending {
  exitCode: number;
}

const passedOn: NodeJS.Signals[] = ['SIGTERM', 'SIGHUP'];

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
