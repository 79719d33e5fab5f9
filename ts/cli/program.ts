// SPDX-License-Identifier: Apache-2.0
// The commands of `usher`, and from what happens to an exit code.
import { readFileSync } from 'node:fs';
import { Command, CommanderError } from 'commander';
import { NoManagerError, RequestFailedError } from '../control/client.ts';
import { type Context, exitCodes, SilentExit, UsageError } from './context.ts';
import { installed } from './installed.ts';

type Add = (program: Command, context: Context) => void;
type Loader = () => Promise<Add>;

/** By their names, in the order of the help. Each is loaded when it is called, so that none costs another
 * command's start, and all for a list of them. */
const commands: Readonly<Record<string, Loader>> = {
  status: async () => (await import('./commands/status.ts')).addStatus,
  explain: async () => (await import('./commands/explain.ts')).addExplain,
  top: async () => (await import('./commands/top.ts')).addTop,
  logs: async () => (await import('./commands/logs.ts')).addLogs,
  restart: async () => (await import('./commands/restart.ts')).addRestart,
  retry: async () => (await import('./commands/retry.ts')).addRetry,
  scale: async () => (await import('./commands/scale.ts')).addScale,
  backend: async () => (await import('./commands/backend.ts')).addBackend,
  request: async () => (await import('./commands/request.ts')).addRequest,
  reload: async () => (await import('./commands/reload.ts')).addReload,
  'reopen-logs': async () => (await import('./commands/reopen-logs.ts')).addReopenLogs,
  stop: async () => (await import('./commands/stop.ts')).addStop,
  upgrade: async () => (await import('./commands/upgrade.ts')).addUpgrade,
  run: async () => (await import('./commands/run.ts')).addRun,
  dashboard: async () => (await import('./commands/dashboard.ts')).addDashboard,
  doctor: async () => (await import('./commands/doctor.ts')).addDoctor,
  config: async () => (await import('./commands/config-check.ts')).addConfigCheck,
  migrate: async () => (await import('./commands/migrate.ts')).addMigrate,
  jserv: async () => (await import('./commands/jserv.ts')).addJserv,
  snapshot: async () => (await import('./commands/snapshot.ts')).addSnapshot,
  install: async () => (await import('./commands/install.ts')).addInstall,
  uninstall: async () => (await import('./commands/install.ts')).addUninstall,
};

/**
 * Runs one command line.
 * @param words Without node and the program.
 * @returns The exit code: 0 done, 1 failed, 2 usage, 3 no manager.
 */
export async function runProgram(words: string[], context: Context): Promise<number> {
  try {
    const program = await makeProgram(context, called(words[0]));
    await program.parseAsync(words, { from: 'user' });
    return exitCodes.done;
  } catch (error) {
    return report(error, words, context);
  }
}

export async function makeProgram(
  context: Context,
  loaders: readonly Loader[] = Object.values(commands),
): Promise<Command> {
  const program = new Command('usher')
    .description('Talks to the manager of FastCGI programs behind Apache httpd and nginx.')
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      writeOut: context.out,
      writeErr: context.err,
      outputError: (text, write) => write(text.replace(/^error: /, 'usher: ')),
    })
    .showHelpAfterError('usher: --help, also after a command, says what is allowed');
  for (const load of loaders) (await load())(program, context);
  return program;
}

/** All of them where the first word is not one of them. */
function called(word = ''): Loader[] {
  const load = Object.hasOwn(commands, word) ? commands[word] : undefined;
  return load === undefined ? Object.values(commands) : [load];
}

/** Tells people on standard error, and with --json programs on standard output. */
function report(error: unknown, words: readonly string[], context: Context): number {
  if (error instanceof SilentExit) return error.exitCode;
  const isUsage = error instanceof CommanderError; // it has told people
  if (isUsage && error.exitCode === 0) return exitCodes.done;
  const message = error instanceof Error ? error.message : String(error);
  if (!isUsage) context.err(`usher: ${message}\n`);
  if (error instanceof NoManagerError) context.err(`usher: ${whereManagersAre}\n`);
  const { code, exitCode } = kindOf(error);
  if (words.includes('--json')) {
    context.out(
      `${JSON.stringify({ error: { code, message: message.replace(/^error: /, '') } })}\n`,
    );
  }
  return exitCode;
}

const whereManagersAre =
  'a manager is started by its web server, by "usher run FILE" or by systemd; ' +
  'if it is elsewhere: --runtime-dir DIR';

function kindOf(error: unknown): { code: string; exitCode: number } {
  if (error instanceof UsageError || error instanceof CommanderError) {
    return { code: 'usage', exitCode: exitCodes.usage };
  }
  if (error instanceof NoManagerError) return { code: 'no-manager', exitCode: exitCodes.noManager };
  const code = error instanceof RequestFailedError ? error.code : 'failed';
  return { code, exitCode: exitCodes.failed };
}

function packageVersion(): string {
  const { version } = JSON.parse(readFileSync(installed('package.json'), 'utf8')) as {
    version: string;
  };
  return version;
}
