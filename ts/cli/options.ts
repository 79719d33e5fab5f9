// SPDX-License-Identifier: Apache-2.0
// What every command takes and shows.
import type { Command } from 'commander';

export interface CommonOptions {
  runtimeDir?: string;
  json?: true;
}

export function withCommonOptions(command: Command): Command {
  return command
    .option('--runtime-dir <dir>', 'runtime directory of the manager (or USHER_RUNTIME_DIR)')
    .option('--json', 'print JSON');
}

/** Below the help of a command. @param examples Command lines, with what they are for. */
export function withExamples(
  command: Command,
  examples: [line: string, purpose: string][],
): Command {
  const width = Math.max(...examples.map(([line]) => line.length));
  const lines = examples.map(([line, purpose]) => `  ${line.padEnd(width)}  ${purpose}`);
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}
