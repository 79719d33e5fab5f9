// SPDX-License-Identifier: Apache-2.0
// usher upgrade: launcher and manager begin anew with what is installed now; programs go on.
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { installed } from '../installed.ts';
import { type ManagerOptions, parseSeconds, withExamples, withManagerOptions } from '../options.ts';
import { connectTo } from '../runtime-dir.ts';

interface UpgradeOptions extends ManagerOptions {
  /** Seconds. */
  timeout: number;
}

export function addUpgrade(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('upgrade'))
    .summary('replace launcher and manager by what is installed now; programs go on')
    .option('--timeout <seconds>', 'give up waiting after this time', parseSeconds, 30)
    .action(async (options: UpgradeOptions) => {
      const client = connectTo(options, context);
      const request = { layoutVersion: await installedLayout(context) };
      const { before, after } = await client.upgrade(request, options.timeout * 1000);
      if (options.json) context.out(`${JSON.stringify({ before, after })}\n`);
      else {
        const from = `manager ${before.pid} (version ${before.version})`;
        context.out(`replaced ${from} by manager ${after.pid} (version ${after.version})\n`);
      }
    });
  withExamples(command, [['usher upgrade', 'after a new version was installed']]);
}

/** Told by a process of its own: the command line does not load the addon. */
async function installedLayout(context: Context): Promise<number> {
  const usherd = installed('bin/usherd');
  const { exitCode, output } = await context.capture(process.execPath, [usherd, '--layout']);
  if (exitCode !== 0) {
    throw new Error(`${usherd} --layout ended with ${exitCode}: usher doctor tells what is wrong`);
  }
  return Number(output);
}
