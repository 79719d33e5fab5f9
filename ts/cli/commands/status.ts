// SPDX-License-Identifier: Apache-2.0
// usher status: what runs, and why something does not.
import type { Command } from 'commander';
import { ControlClient } from '../../control/client.ts';
import type { Context } from '../context.ts';
import { type CommonOptions, withCommonOptions } from '../options.ts';
import { findRuntimeDir } from '../runtime-dir.ts';
import { showStatus } from '../status-text.ts';

export function addStatus(program: Command, context: Context): void {
  withCommonOptions(program.command('status'))
    .summary('show servers, classes, instances and the last failures')
    .action(async (options: CommonOptions) => {
      const client = new ControlClient(findRuntimeDir(options.runtimeDir, context));
      const status = await client.status();
      if (options.json) context.out(`${JSON.stringify(status, null, 2)}\n`);
      else context.out(showStatus(status, context.now()));
    });
}
