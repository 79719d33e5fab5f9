// SPDX-License-Identifier: Apache-2.0
// Servers with the modules of build-asan/ (`node scripts/build.mjs asan`), when USHER_TEST_SANITIZED is
// 1: what they are started with, and what the sanitizers had to say.

import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';

export const isSanitized = process.env.USHER_TEST_SANITIZED === '1';

/** Everybody's: workers write there as their own user. */
let reports: string | undefined;

function reportsDirectory(): string {
  if (reports === undefined) {
    reports = mkdtempSync(`${tmpdir()}/usher-reports-`);
    chmodSync(reports, 0o777);
  }
  return reports;
}

/** The runtime has to come first into a server that was built without it. */
function runtimeLibrary(): string {
  return execFileSync('gcc', ['-print-file-name=libasan.so'], { encoding: 'utf8' }).trim();
}

/** What UndefinedBehaviorSanitizer says stands in the logs, and what the launcher's sanitizers say. */
const said: string[] = [];

/** Looks through the logs of a server that ends. */
export function noteReports(title: string, log: string): void {
  if (!isSanitized) return;
  const lines = log.split('\n').filter((line) => /runtime error:|ERROR: \w+Sanitizer/.test(line));
  said.push(...lines.map((line) => `${title}: ${line}`));
}

/** The head of a server's command. */
export function sanitizedCommand(): string[] {
  if (!isSanitized) return [];
  const directory = reportsDirectory();
  const address = [
    `log_path=${directory}/asan`,
    'detect_leaks=1',
    // The servers' own code keeps no frame pointers: only the slow way shows who allocated.
    'fast_unwind_on_malloc=0',
    'malloc_context_size=12',
    'quarantine_size_mb=32',
    'exitcode=0', // the process that starts a server ends without giving everything back
  ];
  return [
    '/usr/bin/env',
    `LD_PRELOAD=${runtimeLibrary()}`,
    `ASAN_OPTIONS=${address.join(':')}`,
    'UBSAN_OPTIONS=print_stacktrace=1',
  ];
}

interface Leak {
  objects: number;
  stack: string;
}

function leaksIn(text: string): Leak[] {
  const pattern =
    /(?:Direct|Indirect) leak of \d+ byte\(s\) in (\d+) object\(s\)[^\n]*\n((?: +#.*\n)+)/g;
  return [...text.matchAll(pattern)].map(([, objects, stack = '']) => ({
    objects: Number(objects),
    stack,
  }));
}

/** A module that was unloaded before the end has no name any more. */
function isOurs({ stack }: Leak): boolean {
  return /usher|<unknown module>/.test(stack);
}

/**
 * What was reported since the last call. A server ends without giving everything back; what it has
 * taken `often` times without need is a leak.
 */
export function takeReports(often: number): string[] {
  const noted = said.splice(0);
  if (reports === undefined) return noted;
  const texts = readdirSync(reports).map((name) => [
    name,
    readFileSync(`${reports}/${name}`, 'utf8'),
  ]);
  rmSync(reports, { recursive: true });
  reports = undefined;
  const found = texts.flatMap(([name = '', text = '']) => {
    if (!text.includes('LeakSanitizer')) return [`${name}:\n${text}`];
    return leaksIn(text)
      .filter((leak) => isOurs(leak) && leak.objects >= often)
      .map(({ objects, stack }) => `${name}: ${objects} objects leaked, allocated from\n${stack}`);
  });
  return [...noted, ...found];
}
