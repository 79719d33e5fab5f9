// SPDX-License-Identifier: Apache-2.0
// usher explain: why a class cannot start, or how its last start went.
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { showExplanation } from '../explain-text.ts';
import { type ManagerOptions, withManagerOptions } from '../options.ts';
import { connectTo } from '../runtime-dir.ts';

export function addExplain(program: Command, context: Context): void {
  withManagerOptions(program.command('explain <class-or-id>'))
    .summary('show why a class cannot start, or how a start went')
    .addHelpText(
      'after',
      `
The id of a start stands in the web server's error log and in its answer 503.

Examples:
  usher explain /srv/www/app.fcgi
  usher explain k41x2mz3q --json`,
    )
    .action(async (of: string, options: ManagerOptions) => {
      const client = connectTo(options, context);
      const explanation = await client.explain(of);
      if (options.json) context.out(`${JSON.stringify(explanation, null, 2)}\n`);
      else context.out(showExplanation(explanation, context.now()));
    });
}
