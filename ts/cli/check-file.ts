// SPDX-License-Identifier: Apache-2.0
// Has a usher.conf checked by the program that knows the dialect. A process of its own: the command
// line does not load the addon, and works (status, stop) where it cannot be loaded.
import { extname } from 'node:path';
import { type Context, exitCodes, SilentExit } from './context.ts';
import { installed } from './installed.ts';

/** What ts/config/check-file.ts prints. */
export interface CheckedFile {
  classes: number;
  runtimeDir?: string;
  log?: string;
}

/** @throws SilentExit when the file cannot be used: the program has said why. */
export async function checkFile(file: string, context: Context): Promise<CheckedFile> {
  const { exitCode, output } = await context.capture(process.execPath, [checkProgram(), file]);
  if (exitCode === 0) return JSON.parse(output) as CheckedFile;
  throw new SilentExit(exitCode === exitCodes.usage ? exitCodes.usage : exitCodes.failed);
}

/** dist/config/check-file.js, or its source when we run from source. */
function checkProgram(): string {
  const extension = extname(import.meta.url);
  return installed(`${extension === '.ts' ? 'ts' : 'dist'}/config/check-file${extension}`);
}
