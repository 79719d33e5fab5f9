// SPDX-License-Identifier: Apache-2.0
// usher backend: who among the servlet engines behind a class gets requests.
import { type Command, InvalidArgumentError } from 'commander';
import type { Activation } from '../../control/messages.ts';
import type { Context } from '../context.ts';
import { type ManagerOptions, withExamples, withManagerOptions } from '../options.ts';
import { connectTo } from '../runtime-dir.ts';
import { printable } from '../units.ts';

export function addBackend(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('backend <class> <backend>'))
    .summary('give a backend of a class requests, or none')
    .description(
      'ACTIVATION is active; disabled: only requests of sessions that live there; stopped: none. ' +
        'It holds until it is changed again, also over a restart of the manager.',
    )
    .argument('<activation>', 'active, disabled or stopped', parseActivation)
    .action(
      async (name: string, backend: string, activation: Activation, options: ManagerOptions) => {
        const client = connectTo(options, context);
        const changed = await client.backend({ class: name, backend, activation });
        if (options.json) context.out(`${JSON.stringify(changed)}\n`);
        else context.out(`${printable(name)}: ${printable(backend)} is ${activation}\n`);
      },
    );
  withExamples(command, [
    ['usher backend shop 10.0.0.5:8009 disabled', 'no new sessions there'],
    ['usher backend shop 10.0.0.5:8009 active', 'as before'],
  ]);
}

function parseActivation(text: string): Activation {
  if (text === 'active' || text === 'disabled' || text === 'stopped') return text;
  throw new InvalidArgumentError('expected active, disabled or stopped.');
}
