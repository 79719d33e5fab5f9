// SPDX-License-Identifier: Apache-2.0
import { build } from 'esbuild';

/** A program of these tests as one file that starts as quickly as a user's, from the sources as they are. */
export async function bundle(entry: URL, outfile: string): Promise<string> {
  await build({
    entryPoints: [entry.pathname],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
  });
  return outfile;
}
