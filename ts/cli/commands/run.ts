// SPDX-License-Identifier: Apache-2.0
// usher run FILE: manager and instances of a usher.conf in the foreground, without a web server.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { checkFile } from '../check-file.ts';
import { type Context, exitCodes, SilentExit } from '../context.ts';
import { installed } from '../installed.ts';
import { type CommonOptions, withCommonOptions, withExamples } from '../options.ts';
import { findRuntimeDir } from '../runtime-dir.ts';

export function addRun(program: Command, context: Context): void {
  const command = withCommonOptions(program.command('run'))
    .argument('<file>', 'a usher.conf')
    .summary('run the classes of a usher.conf in the foreground, without a web server')
    .action(async (file: string, options: CommonOptions) => {
      const launcher = installed('build/usher-launcher');
      if (!context.exists(launcher)) {
        throw new Error(`${launcher} is missing: run "npm run setup"`);
      }
      const checked = await checkFile(file, context);
      const chosen = options.runtimeDir ?? context.env.USHER_RUNTIME_DIR ?? checked.runtimeDir;
      const words = [
        ...['--mode', 'run', '--runtime-dir', findRuntimeDir(chosen, context)],
        ...['--config', resolve(file)],
        ...['--node', process.execPath, '--usherd', installed('bin/usherd')],
        ...(checked.log === undefined ? [] : ['--log', checked.log]),
      ];
      const { exitCode } = await context.foreground(launcher, words);
      if (exitCode !== 0) throw new SilentExit(exitCodes.failed);
    });
  withExamples(command, [['usher run /etc/usher.conf', 'until Ctrl-C']]);
}
