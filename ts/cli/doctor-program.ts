// SPDX-License-Identifier: Apache-2.0
// Starts the program that looks, and ends it when it takes too long: a file system that does not answer
// holds up whoever asks it.
import { spawn } from 'node:child_process';
import { extname } from 'node:path';
import { createInterface } from 'node:readline';
import {
  type Finding,
  type Report,
  reportSchema,
  type Told,
  type Wanted,
} from '../doctor/report.ts';
import { installed } from './installed.ts';

const deadlineMs = 10_000;

/** `failure`: it could not look at all, and says why. */
export type Examined = { report: Report } | { failure: string; exitCode: number };

/** @param uid Of who asks. @param program For tests: what is run in its place. */
export function examine(
  wanted: Wanted,
  uid: number,
  env: NodeJS.ProcessEnv,
  { program = ownProgram(), withinMs = deadlineMs } = {},
): Promise<Examined> {
  const told: Told[] = [];
  let errors = '';
  const { NODE_OPTIONS: _, ...rest } = env;
  const child = spawn(process.execPath, [...program, JSON.stringify(wanted)], {
    env: rest,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: withinMs,
    killSignal: 'SIGKILL',
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errors += text;
  });
  createInterface({ input: child.stdout }).on('line', (line) =>
    told.push(JSON.parse(line) as Told),
  );
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => {
      const report = reportOf(told, uid);
      if (report === null)
        resolve({ failure: errors.trim() || 'it was ended', exitCode: status ?? 1 });
      else resolve({ report });
    });
  });
}

function ownProgram(): string[] {
  const extension = extname(import.meta.url);
  const loader = extension === '.ts' ? ['--import=tsx'] : [];
  return [...loader, installed(`${extension === '.ts' ? 'ts' : 'dist'}/doctor/main${extension}`)];
}

/** In the order of the checks; null = it had not begun. */
export function reportOf(told: readonly Told[], uid: number): Report | null {
  const begun = told.find((one) => one.type === 'begun');
  if (begun === undefined) return null;
  const done = new Set(told.flatMap((one) => (one.type === 'done' ? [one.check] : [])));
  const found = told.flatMap((one) => (one.type === 'found' ? [one.finding] : []));
  const findings = begun.checks.flatMap((check): Finding[] => {
    const own = found.filter((one) => one.check === check);
    if (done.has(check)) return own;
    const what = 'it was ended: something here answers too slowly (a file system, a server)';
    return [...own, { check, status: 'skipped', what }];
  });
  const number = (wanted: string): number =>
    findings.filter(({ status }) => status === wanted).length;
  const { version, runtimeDirs } = begun;
  return {
    ...{ schema: reportSchema, version, runtimeDirs, uid },
    ...{ errors: number('error'), warnings: number('warning'), findings },
  };
}
