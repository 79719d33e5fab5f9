// SPDX-License-Identifier: Apache-2.0
// usher reopen-logs: after somebody has moved the log away.
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { type ManagerOptions, withExamples, withManagerOptions } from '../options.ts';
import { connectTo } from '../runtime-dir.ts';
import { printable } from '../units.ts';

export function addReopenLogs(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('reopen-logs'))
    .summary('begin the log anew, after it was moved away')
    .description(
      'For logrotate: launcher and manager go on in a new file of the old name; no line is lost. ' +
        'SIGUSR1 to either of them does the same. Files of -log are begun anew by themselves.',
    )
    .action(async (options: ManagerOptions) => {
      const client = connectTo(options, context);
      const reopened = await client.reopenLogs();
      if (options.json) context.out(`${JSON.stringify(reopened)}\n`);
      else if (reopened.log !== null) context.out(`${printable(reopened.log)}: begun anew\n`);
      else context.out('the log goes to standard error (journald, say): there is nothing to do\n');
    });
  withExamples(command, [['usher reopen-logs', 'in postrotate of logrotate']]);
}
