// SPDX-License-Identifier: Apache-2.0
// usher config check FILE: would `usher run` take it?
import type { Command } from 'commander';
import { checkFile } from '../check-file.ts';
import type { Context } from '../context.ts';
import { type CommonOptions, withCommonOptions, withExamples } from '../options.ts';

export function addConfigCheck(program: Command, context: Context): void {
  const config = program.command('config').summary('work on configuration files');
  const command = withCommonOptions(config.command('check'))
    .argument('<file>', 'a usher.conf')
    .summary('check a usher.conf without starting anything')
    .action(async (file: string, options: CommonOptions) => {
      const checked = await checkFile(file, context);
      if (options.json) context.out(`${JSON.stringify(checked)}\n`);
      else context.out(`${file}: ${checked.classes} classes, no error\n`);
    });
  withExamples(command, [['usher config check /etc/usher.conf', 'before a reload']]);
}
