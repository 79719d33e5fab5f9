// SPDX-License-Identifier: Apache-2.0
// The commands of `usher`, and from what happens to an exit code.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { NoManagerError } from '../control/client.ts';
import { addBackend } from './commands/backend.ts';
import { addConfigCheck } from './commands/config-check.ts';
import { addDashboard } from './commands/dashboard.ts';
import { addDoctor } from './commands/doctor.ts';
import { addExplain } from './commands/explain.ts';
import { addInstall, addUninstall } from './commands/install.ts';
import { addJserv } from './commands/jserv.ts';
import { addLogs } from './commands/logs.ts';
import { addMigrate } from './commands/migrate.ts';
import { addReload } from './commands/reload.ts';
import { addReopenLogs } from './commands/reopen-logs.ts';
import { addRequest } from './commands/request.ts';
import { addRestart } from './commands/restart.ts';
import { addRetry } from './commands/retry.ts';
import { addRun } from './commands/run.ts';
import { addScale } from './commands/scale.ts';
import { addSnapshot } from './commands/snapshot.ts';
import { addStatus } from './commands/status.ts';
import { addStop } from './commands/stop.ts';
import { addTop } from './commands/top.ts';
import { addUpgrade } from './commands/upgrade.ts';
import { type Context, exitCodes, SilentExit, UsageError } from './context.ts';
import { installed } from './launch.ts';

const commands = [
  ...[addStatus, addExplain, addTop, addLogs, addRestart, addRetry, addScale, addBackend],
  ...[addRequest, addReload, addReopenLogs, addStop, addUpgrade, addRun, addDashboard],
  ...[addDoctor, addConfigCheck, addMigrate, addJserv, addSnapshot, addInstall, addUninstall],
];

/**
 * Runs one command line.
 * @param words Without node and the program.
 * @returns The exit code: 0 done, 1 failed, 2 usage, 3 no manager.
 */
export async function runProgram(words: string[], context: Context): Promise<number> {
  const program = new Command('usher')
    .description('Talks to the manager of FastCGI programs behind Apache httpd and nginx.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({ writeOut: context.out, writeErr: context.err });
  for (const add of commands) add(program, context);
  try {
    await program.parseAsync(words, { from: 'user' });
    return exitCodes.done;
  } catch (error) {
    return report(error, context);
  }
}

function report(error: unknown, context: Context): number {
  if (error instanceof SilentExit) return error.exitCode;
  if (error instanceof CommanderError) {
    return error.exitCode === 0 ? exitCodes.done : exitCodes.usage; // it has printed its message
  }
  context.err(`usher: ${error instanceof Error ? error.message : String(error)}\n`);
  if (error instanceof UsageError) return exitCodes.usage;
  if (!(error instanceof NoManagerError)) return exitCodes.failed;
  context.err(
    'usher: a manager is started by its web server, by "usher run FILE" or by systemd; ' +
      'if it is elsewhere: --runtime-dir DIR\n',
  );
  return exitCodes.noManager;
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(installed('package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}
