// SPDX-License-Identifier: Apache-2.0
// Programs of usher/runtime, each as one file that the servers' users may read and run.

import { type ChildProcess, spawn } from 'node:child_process';
import { build } from 'esbuild';
import { apps } from './checkout.ts';
import { eventually } from './eventually.ts';
import { accepts, type Site } from './site.ts';

/** Its path, below the site's directory. @param app One of apps/ */
export async function runtimeProgram(
  site: Site,
  name = 'bin/runtime.mjs',
  app = 'runtime.mjs',
): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [`${apps}/${app}`],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    write: false,
    logLevel: 'silent',
  });
  const text = outputFiles[0]?.text ?? '';
  return site.file(name, `#!${process.execPath}\n${text}`, 0o755);
}

/** Runs it as an administrator would, with its own listeners at these ports; it ends with the test. */
export async function runProgram(
  site: Site,
  program: string,
  listen: string,
  ports: readonly number[],
): Promise<ChildProcess> {
  const child = spawn(program, {
    env: { ...process.env, USHER_LISTEN: listen },
    stdio: ['ignore', 'inherit', 'inherit'],
  });
  site.t.teardown(async () => {
    child.kill('SIGTERM');
    await eventually('the program to end', () => child.exitCode !== null || child.signalCode);
  });
  for (const port of ports) await eventually(`port ${port}`, () => accepts(port));
  return child;
}
