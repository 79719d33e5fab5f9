// SPDX-License-Identifier: Apache-2.0
// usher install SERVER…, usher uninstall SERVER…
import { isAbsolute, resolve } from 'node:path';
import { Argument, type Command, InvalidArgumentError, Option } from 'commander';
import { type Host, thisHost } from '../../install/host.ts';
import { install } from '../../install/install.ts';
import type { ManagerMode, ServerKind } from '../../install/manifest.ts';
import type { Report, Tell } from '../../install/steps.ts';
import { endText, stepText } from '../../install/text.ts';
import { uninstall } from '../../install/uninstall.ts';
import { type Context, UsageError } from '../context.ts';
import { packageFolder } from '../installed.ts';
import { withExamples } from '../options.ts';

const kinds = ['nginx', 'apache'];

interface Shared {
  root: string;
  dryRun: boolean;
  json?: true;
}

interface InstallWords extends Shared {
  prefix?: string;
  manager?: ManagerMode;
  node?: string;
}

interface UninstallWords extends Shared {
  all: boolean;
  stop: boolean;
  force: boolean;
}

export function addInstall(program: Command, context: Context): void {
  const command = program
    .command('install')
    .addArgument(new Argument('<server...>', 'for which web servers').choices(kinds))
    .summary('install or upgrade for the web servers of this host')
    .description(
      `Puts the package where all users can read it and only root can write, the module built for the
installed web server and its configuration where the server looks for them, and the service.
Run again it upgrades, and leaves alone what somebody has changed. What fails undoes everything.`,
    )
    .option('--prefix <dir>', 'where the package goes (default: /usr/local/lib/usher)', parseFolder)
    .addOption(
      new Option(
        '--manager <mode>',
        'started by the web server, or usher.service (default: external where systemd runs)',
      ).choices(['embedded', 'external']),
    )
    .option(
      '--node <file>',
      'Node for the manager (default: one that all users can run)',
      parseFolder,
    );
  withSharedOptions(command).action(async (servers: ServerKind[], options: InstallWords) => {
    const interruption = new AbortController();
    const stop = (signal: NodeJS.Signals): void =>
      interruption.abort(new Error(`ended by ${signal}`));
    process.on('SIGINT', stop).on('SIGTERM', stop).on('SIGHUP', stop);
    readerMayGo();
    try {
      const report = await install(
        {
          servers: [...new Set(servers)],
          prefix: options.prefix ?? null,
          root: options.root,
          isStaged: options.root !== '/',
          manager: options.manager ?? null,
          node: options.node ?? null,
          isDryRun: options.dryRun,
          signal: interruption.signal,
          tell: teller(options, context),
        },
        host(context),
      );
      tellEnd(report, 'installed', options, context);
    } finally {
      process.off('SIGINT', stop).off('SIGTERM', stop).off('SIGHUP', stop);
    }
  });
  withExamples(command, [
    ['usher install nginx --dry-run', 'what it would do'],
    ['usher install nginx apache', 'for both web servers'],
    ['usher install apache --manager embedded', 'without a service of its own'],
  ]);
}

export function addUninstall(program: Command, context: Context): void {
  const command = program
    .command('uninstall')
    .addArgument(new Argument('[server...]', 'for which web servers').choices(kinds))
    .summary('undo usher install')
    .description(
      `Takes away what "usher install" has put there, except what somebody has changed. With the last web
server package, service and command line go as well.`,
    )
    .option('--all', 'for all web servers', false)
    .option('--stop', 'end the manager and everything it runs', false)
    .option('--force', 'also where a configuration still uses Usher, or a manager runs', false);
  withSharedOptions(command).action(async (servers: ServerKind[], options: UninstallWords) => {
    readerMayGo();
    if (options.all === servers.length > 0)
      throw new UsageError('name nginx, apache or both, or say --all');
    const report = await uninstall(
      {
        servers: options.all ? null : [...new Set(servers)],
        root: options.root,
        isStaged: options.root !== '/',
        isDryRun: options.dryRun,
        stops: options.stop,
        isForced: options.force,
        tell: teller(options, context),
      },
      host(context),
    );
    if (report !== null) tellEnd(report, 'uninstalled', options, context);
    else if (options.json) context.out(`${JSON.stringify({ schema: 1, isInstalled: false })}\n`);
    else context.out('nothing is installed: nothing was changed\n');
  });
  withExamples(command, [
    ['usher uninstall apache', 'nginx keeps Usher'],
    ['usher uninstall --all --stop', 'everything, and what runs'],
  ]);
}

function withSharedOptions(command: Command): Command {
  return command
    .option('--root <dir>', 'make files below DIR only, for packages and images', parseFolder, '/')
    .option('--dry-run', 'only say what would be done', false)
    .option('--json', 'print JSON');
}

/** Other commands end then; half-way through this would be the worst place. */
function readerMayGo(): void {
  process.stdout.removeAllListeners('error').on('error', () => undefined);
}

function parseFolder(value: string): string {
  const path = resolve(value);
  if (!isAbsolute(value))
    throw new InvalidArgumentError(`expected an absolute path, such as ${path}`);
  return path;
}

function host(context: Context): Host {
  return {
    ...thisHost(packageFolder, context.env),
    uid: context.uid,
    runtimeDirs: (pids) =>
      context
        .managers()
        .filter(({ pid }) => pids.includes(pid))
        .map(({ runtimeDir }) => runtimeDir),
  };
}

function teller({ json, dryRun }: Shared, context: Context): Tell {
  return (step) => {
    if (!json) context.out(stepText(step, dryRun));
  };
}

function tellEnd(report: Report, verb: string, { json }: Shared, context: Context): void {
  context.out(
    json ? `${JSON.stringify({ schema: 1, ...report }, null, 2)}\n` : endText(report, verb),
  );
}
