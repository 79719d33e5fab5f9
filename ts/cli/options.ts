// SPDX-License-Identifier: Apache-2.0
// What every command takes and shows.
import { type Command, InvalidArgumentError } from 'commander';

export interface CommonOptions {
  runtimeDir?: string;
  json?: true;
}

/** Of commands that talk to a manager. */
export interface ManagerOptions extends CommonOptions {
  /** Seconds. */
  answerTimeout: number;
}

/** So long may a manager say nothing; it answers in milliseconds unless it is stopped or swamped. */
const ANSWER_S = 10;

export function withManagerOptions(command: Command): Command {
  return withCommonOptions(command).option(
    '--answer-timeout <seconds>',
    'give up on a manager that says nothing for this time',
    parseSeconds,
    ANSWER_S,
  );
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

export function parseSeconds(text: string): number {
  const seconds = Number(text);
  if (text.trim() !== '' && Number.isFinite(seconds) && seconds > 0) return seconds;
  throw new InvalidArgumentError('expected a number of seconds above 0.');
}
