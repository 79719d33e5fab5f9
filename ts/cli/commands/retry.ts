// SPDX-License-Identifier: Apache-2.0
// usher retry: tries a class that failed to start again now, instead of when its back-off ends.
import type { Command } from 'commander';
import { addClassCommand, showPids } from '../class-command.ts';
import type { Context } from '../context.ts';

export function addRetry(program: Command, context: Context): void {
  addClassCommand(program, context, {
    name: 'retry',
    summary: 'start a class that failed again now',
    ask: (client, request, timeoutMs) => client.retry(request, timeoutMs),
    say: ({ pids }) => `running: ${showPids(pids)}`,
    begun: 'retrying',
    examples: [['usher retry php', 'when what kept it from starting was put right']],
  });
}
