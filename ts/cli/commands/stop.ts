// SPDX-License-Identifier: Apache-2.0
// usher stop: ends every instance, the manager and its launcher.
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { type ManagerOptions, parseSeconds, withExamples, withManagerOptions } from '../options.ts';
import { connectTo } from '../runtime-dir.ts';

interface StopOptions extends ManagerOptions {
  force: boolean;
  wait: boolean;
  /** Seconds. */
  timeout: number;
}

export function addStop(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('stop'))
    .summary('stop the manager and everything it runs')
    .option('--force', 'kill at once: do not let requests end', false)
    .option('--no-wait', 'return when stopping has begun')
    .option('--timeout <seconds>', 'give up waiting after this time', parseSeconds, 60)
    .action(async (options: StopOptions) => {
      const client = connectTo(options, context);
      const stopping = await client.stop({ force: options.force });
      if (options.wait) await client.gone(options.timeout * 1000);
      if (options.json) {
        context.out(`${JSON.stringify({ ...stopping, isDone: options.wait })}\n`);
        return;
      }
      const what = `manager ${stopping.pid} with ${stopping.instances} instances`;
      context.out(options.wait ? `stopped ${what}\n` : `stopping ${what}\n`);
    });
  withExamples(command, [
    ['usher stop', 'requests get some seconds to end'],
    ['usher stop --force', 'at once'],
  ]);
}
