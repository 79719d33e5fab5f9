// SPDX-License-Identifier: Apache-2.0
// The options that every command takes.
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
