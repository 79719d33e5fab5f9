// SPDX-License-Identifier: Apache-2.0
// Stands for a compromised worker: a process that writes whatever it likes into all that workers of a
// server can write (native/test/scribble.c says what).

import { root } from './checkout.ts';
import type { Site } from './site.ts';
import { run } from './usher.ts';

export interface Scribbling {
  ms: number;
  seed: number;
  /** A class that is left alone. */
  spared?: string;
  /** Start requests for these are entered; "@N" is a key of N bytes. */
  keys: readonly string[];
}

/** What was done, one line each with how often. */
export async function scribble(site: Site, scribbling: Scribbling): Promise<string[]> {
  const { ms, seed, spared = '-', keys } = scribbling;
  const server = (await site.status()).servers[0]?.name;
  if (server === undefined) throw new Error('no server is registered');
  const program = `${root}/build/test/scribble_helper`;
  const words = [site.runtimeDir, server, `${ms}`, `${seed}`, spared, ...keys];
  const { status, output } = await run([program, ...words]);
  if (status !== 0) throw new Error(`scribble_helper ended with ${status}: ${output}`);
  return output.trimEnd().split('\n');
}
