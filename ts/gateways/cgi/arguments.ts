// SPDX-License-Identifier: Apache-2.0
// The gateway's command line, which the launcher compares with what the web server allows:
//   [--limit NAME=N …] (--program PROG ARG… | --path-check suexec|roots --root DIR …)
import { accessSync, constants, statSync } from 'node:fs';
import { join } from 'node:path';

export interface Arguments {
  /** The one program of the class with its arguments; null: whatever file a request names. */
  command: readonly string[] | null;
  /** For usher-forker, as they came. */
  forkerArgs: readonly string[];
}

const usage =
  'usage: [--limit NAME=N …] (--program PROG ARG… | --path-check suexec|roots --root DIR …)';

/** Where a program without a slash is looked for, as the launcher does. */
const programFolders = ['/usr/local/bin', '/usr/bin', '/bin'];

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch {
    return false;
  }
}

/** A name that is nowhere stays: each request is answered with why. */
function locate(program: string): string {
  if (program.includes('/')) return program;
  const paths = programFolders.map((folder) => join(folder, program));
  return paths.find(isProgram) ?? (paths[0] as string);
}

/** Process arguments are decoded as UTF-8; programs get bytes, a Latin-1 character each. */
function toBytes(text: string): string {
  return Buffer.from(text, 'utf8').toString('latin1');
}

/** @throws Error with the usage for anything else */
export function parseArguments(argv: readonly string[]): Arguments {
  const forkerArgs: string[] = [];
  let hasRoot = false;
  for (let at = 0; at < argv.length; at += 2) {
    const name = argv[at] as string;
    const value = argv[at + 1];
    if (value === undefined) throw new Error(`${name}: a value is missing; ${usage}`);
    if (name === '--program') {
      if (hasRoot) throw new Error(`--program beside --root; ${usage}`);
      return { command: [locate(value), ...argv.slice(at + 2)].map(toBytes), forkerArgs };
    }
    if (!['--limit', '--path-check', '--root'].includes(name)) {
      throw new Error(`${name} is unknown; ${usage}`);
    }
    hasRoot ||= name === '--root';
    forkerArgs.push(name, value);
  }
  if (!hasRoot) throw new Error(`neither --program nor --root; ${usage}`);
  return { command: null, forkerArgs };
}
