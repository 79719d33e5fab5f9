// SPDX-License-Identifier: Apache-2.0
// What commands that change one class have in common: CLASS, --no-wait, --timeout, what they print.
import type { Command } from 'commander';
import type { ControlClient } from '../control/client.ts';
import type { ClassAsked, ClassChanged } from '../control/messages.ts';
import type { Context } from './context.ts';
import { type ManagerOptions, parseSeconds, withExamples, withManagerOptions } from './options.ts';
import { connectTo } from './runtime-dir.ts';
import { printable } from './units.ts';

interface ClassOptions extends ManagerOptions {
  wait: boolean;
  /** Seconds. */
  timeout: number;
}

export interface ClassCommand {
  name: string;
  summary: string;
  ask(client: ControlClient, request: ClassAsked, timeoutMs: number): Promise<ClassChanged>;
  /** One line for people. */
  say(changed: ClassChanged): string;
  /** The same when it was only begun. */
  begun: string;
  examples: [line: string, purpose: string][];
}

export function addClassCommand(program: Command, context: Context, command: ClassCommand): void {
  const added = withManagerOptions(program.command(`${command.name} <class>`))
    .summary(command.summary)
    .option('--no-wait', 'return when it has begun')
    .option('--timeout <seconds>', 'give up waiting after this time', parseSeconds, 120)
    .action(async (name: string, options: ClassOptions) => {
      const client = connectTo(options, context);
      const request = { class: name, wait: options.wait };
      const changed = await command.ask(client, request, options.timeout * 1000);
      if (options.json) context.out(`${JSON.stringify({ ...changed, isDone: options.wait })}\n`);
      else
        context.out(`${printable(name)}: ${options.wait ? command.say(changed) : command.begun}\n`);
    });
  withExamples(added, command.examples);
}

/** "pid 4, pid 5", "none". */
export function showPids(pids: readonly number[]): string {
  return pids.length === 0 ? 'none' : pids.map((pid) => `pid ${pid}`).join(', ');
}
