// SPDX-License-Identifier: Apache-2.0
// usher doctor: what is wrong with an installation, and what to do about it.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { type Context, SilentExit } from '../context.ts';
import { examine } from '../doctor-program.ts';
import { showReport } from '../doctor-text.ts';
import { type CommonOptions, withCommonOptions, withExamples } from '../options.ts';
import { paintFor } from '../paint.ts';

interface DoctorOptions extends CommonOptions {
  nginx: string[];
  apache: string[];
  only: string[];
}

/** A wrong command line is 2 as well: it prints no report. */
const exitCode = { error: 1, warning: 2 } as const;

export function addDoctor(program: Command, context: Context): void {
  const command = withCommonOptions(program.command('doctor'))
    .summary('check the installation, configurations and what runs')
    .description(
      'Looks at the installation, the configurations of the web servers, the runtime directory, the manager and\neach class, and says what to do about what it finds. It changes and starts nothing. Run it as root to see all.\n\nExit code: 0 all is well, 1 an error, 2 warnings only.',
    )
    .option(
      '--nginx <file...>',
      'configurations of nginx (default: the usual place, and what runs)',
      [],
    )
    .option('--apache <file...>', 'configurations of Apache httpd', [])
    .option('--only <check...>', 'only these checks, by their names', [])
    .action(async (options: DoctorOptions) => {
      const chosen = options.runtimeDir ?? context.env.USHER_RUNTIME_DIR;
      const wanted = {
        runtimeDir: chosen ? resolve(chosen) : null,
        nginx: options.nginx.map((path) => resolve(path)),
        apache: options.apache.map((path) => resolve(path)),
        only: options.only,
      };
      const examined = await examine(wanted, context.uid, context.env);
      if ('failure' in examined) {
        context.err(`usher doctor: ${examined.failure}\n`);
        throw new SilentExit(examined.exitCode);
      }
      const { report } = examined;
      if (options.json) context.out(`${JSON.stringify(report, null, 2)}\n`);
      else context.out(showReport(report, paintFor(context)));
      if (report.errors > 0) throw new SilentExit(exitCode.error);
      if (report.warnings > 0) throw new SilentExit(exitCode.warning);
    });
  withExamples(command, [
    ['sudo usher doctor', 'all of it'],
    ['usher doctor --nginx ./nginx.conf --runtime-dir ./run', 'a server of your own'],
    ['usher doctor --only class-program class-state', 'what keeps programs from starting'],
  ]);
}
