// SPDX-License-Identifier: Apache-2.0
// usher scale: how many instances a class has, whatever its policy thinks.
import { type Command, InvalidArgumentError } from 'commander';
import { showPids } from '../class-command.ts';
import { type Context, UsageError } from '../context.ts';
import { type ManagerOptions, parseSeconds, withExamples, withManagerOptions } from '../options.ts';
import { connectTo } from '../runtime-dir.ts';
import { printable } from '../units.ts';

interface ScaleOptions extends ManagerOptions {
  reset?: true;
  wait: boolean;
  /** Seconds. */
  timeout: number;
}

export function addScale(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('scale <class>'))
    .summary('give a class a fixed number of instances')
    .description(
      'From now on the class has so many instances: no more under load, no fewer when idle, whatever ' +
        '-processes, -maxClassProcesses and its policy say; -maxProcesses of all dynamic classes holds. ' +
        'It lasts over restarts of the manager, reloads and upgrades, until it is changed, undone by ' +
        '--reset, or everything is stopped. Instances that serve end their requests first.',
    )
    .argument('[instances]', 'a whole number from 1 on', parseCount)
    .option('--reset', 'as configured again')
    .option('--no-wait', 'return when it has begun')
    .option('--timeout <seconds>', 'give up waiting after this time', parseSeconds, 120)
    .action(async (name: string, count: number | undefined, options: ScaleOptions) => {
      const instances = wantedOf(count, options);
      const client = connectTo(options, context);
      const { wait, timeout } = options;
      const changed = await client.scale({ class: name, instances, wait }, timeout * 1000);
      if (options.json) {
        context.out(`${JSON.stringify({ ...changed, instances, isDone: wait })}\n`);
        return;
      }
      const running = `running: ${showPids(changed.pids)}`;
      const text = instances === null ? 'as configured again' : `${instances} instances`;
      context.out(`${printable(name)}: ${text}; ${wait ? running : 'scaling'}\n`);
    });
  withExamples(command, [
    ['usher scale php 8', 'eight instances, when they are ready'],
    ['usher scale php --reset', 'as many as its options and its policy say'],
  ]);
}

function wantedOf(count: number | undefined, { reset }: ScaleOptions): number | null {
  if ((count === undefined) !== (reset === true)) {
    throw new UsageError('give either a number of instances or --reset');
  }
  return count ?? null;
}

function parseCount(text: string): number {
  const count = Number(text);
  if (/^\d{1,6}$/.test(text) && count > 0) return count;
  throw new InvalidArgumentError('expected a whole number from 1 on.');
}
