// SPDX-License-Identifier: Apache-2.0
// usher snapshot PROGRAM: has a start-up snapshot of a program of usher/runtime made. A process of its own
// does it, so that the command line loads no bundler.
import { extname, resolve } from 'node:path';
import type { Command } from 'commander';
import { type Context, exitCodes, SilentExit } from '../context.ts';
import { installed } from '../installed.ts';
import { parseSeconds, withExamples } from '../options.ts';
import { showBytes } from '../units.ts';

interface SnapshotOptions {
  executable?: string;
  depends: string[];
  nodeOption: string[];
  timeout: number;
  ifStale?: true;
  check?: true;
  json?: true;
}

/** What ts/runtime/snapshot/main.ts prints; with --check the reason only. */
interface Built {
  snapshot: string;
  bytes: number;
  isNew: boolean;
  reason: string | null;
  warnings: string[];
}

export function addSnapshot(program: Command, context: Context): void {
  const command = program
    .command('snapshot')
    .argument('<program>', 'a program that calls serve() of usher/runtime: .ts, .js, .mjs, .cjs …')
    .summary('keep an initialised program in a file that it starts from')
    .option('--executable <file>', 'also write a file that starts it so, for CGI')
    .option('--depends <file>', 'its change makes the snapshot stale; may be repeated', collect, [])
    .option(
      '--node-option <option>',
      'of Node, for snapshot and program; may be repeated',
      collect,
      [],
    )
    .option('--timeout <seconds>', 'of the initialisation', parseSeconds, 120)
    .option('--if-stale', 'only when there is none that can be used')
    .option('--check', 'make nothing; exit code 1 when there is none that can be used')
    .option('--json', 'print JSON')
    .action(async (file: string, options: SnapshotOptions) => {
      const order = {
        program: resolve(file),
        ...(options.executable === undefined ? {} : { executable: resolve(options.executable) }),
        depends: options.depends.map((path) => resolve(path)),
        nodeOptions: options.nodeOption,
        timeoutMs: options.timeout * 1000,
        onlyIfStale: options.ifStale === true,
        isCheck: options.check === true,
      };
      const words = [makerProgram(), JSON.stringify(order)];
      const { exitCode, output } = await context.capture(process.execPath, words);
      if (exitCode !== 0) throw new SilentExit(exitCodes.failed); // it has said why
      const built = JSON.parse(output) as Built;
      if (options.json) context.out(output);
      else if (options.check)
        context.out(`${file}: ${built.reason ?? 'its snapshot can be used'}\n`);
      else say(built, context);
      if (options.check && built.reason !== null) throw new SilentExit(exitCodes.failed);
    });
  withExamples(command, [
    ['usher snapshot app.ts', 'beside the program'],
    ['usher snapshot app.ts --check', 'exit code 1 when it is stale'],
  ]);
}

function say(built: Built, context: Context): void {
  for (const warning of built.warnings) context.err(`usher: ${warning}\n`);
  const size = showBytes(built.bytes);
  context.out(`${built.snapshot}: ${size}${built.isNew ? '' : ', made before'}\n`);
}

function collect(value: string, former: string[]): string[] {
  return [...former, value];
}

/** dist/runtime/snapshot/main.js, or its source when we run from source. */
function makerProgram(): string {
  const extension = extname(import.meta.url);
  return installed(`${extension === '.ts' ? 'ts' : 'dist'}/runtime/snapshot/main${extension}`);
}
