// SPDX-License-Identifier: Apache-2.0
// usher restart: replaces the instances of a class, new ones first, without losing a request.
import type { Command } from 'commander';
import { addClassCommand, showPids } from '../class-command.ts';
import type { Context } from '../context.ts';

export function addRestart(program: Command, context: Context): void {
  addClassCommand(program, context, {
    name: 'restart',
    summary: 'replace the instances of a class, the new ones first',
    ask: (client, request, timeoutMs) => client.restart(request, timeoutMs),
    say: ({ pids, replaced }) =>
      replaced.length === 0 && pids.length === 0
        ? 'nothing was running'
        : `replaced ${showPids(replaced)}; running: ${showPids(pids)}`,
    begun: 'restarting',
    examples: [
      ['usher restart php', 'after a change that the program does not see by itself'],
      ['usher restart /srv/www/app.fcgi --no-wait', 'return when it has begun'],
    ],
  });
}
