// SPDX-License-Identifier: Apache-2.0
// usher dashboard: the read-only page, until Ctrl-C. What speaks to browsers is a child without rights
// and without the control socket; we ask the manager for it.
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type Command, Option } from 'commander';
import type { ControlClient } from '../../control/client.ts';
import { isLoopback, readListen } from '../../control/loopback.ts';
import { answerReader, type Begun, errorAnswer } from '../../control/reader.ts';
import { type Context, UsageError } from '../context.ts';
import { installed } from '../installed.ts';
import { type ManagerOptions, withExamples, withManagerOptions } from '../options.ts';
import { connectTo } from '../runtime-dir.ts';
import { type User, unprivilegedUser } from '../unprivileged.ts';

interface DashboardOptions extends ManagerOptions {
  listen: string;
  allowRemote?: true;
}

export function addDashboard(program: Command, context: Context): void {
  const listen = new Option('--listen <address:port>', 'where').default('127.0.0.1:8082');
  const command = withManagerOptions(program.command('dashboard'))
    .summary('show classes, instances, charts and events as a web page, until Ctrl-C')
    .description('A read-only page. Started by root it serves as an unprivileged user.')
    .addOption(listen)
    .option('--allow-remote', 'let it listen where other machines come in: it asks for no password')
    .action(async (options: DashboardOptions) => {
      checkListen(options);
      const client = connectTo(options, context);
      await client.ping();
      const user = context.uid === 0 ? unprivilegedUser() : null;
      const { child, begun } = start(client, options, user);
      const first = await begun;
      if ('failed' in first) throw new Error(`no dashboard at ${options.listen}: ${first.failed}`);
      const who = user === null ? '' : ` as user ${user.name}`;
      if (options.json) context.out(`${JSON.stringify({ url: first.listening })}\n`);
      else context.out(`${first.listening} (${client.socketPath}${who}); Ctrl-C ends it\n`);
      await ended(child);
    });
  withExamples(command, [
    ['usher dashboard', 'at http://127.0.0.1:8082/'],
    ['usher dashboard --listen [::1]:9000', 'elsewhere on this machine'],
    ['ssh -L 8082:127.0.0.1:8082 HOST usher dashboard', 'of another host, in the browser here'],
  ]);
}

function checkListen({ listen, allowRemote }: DashboardOptions): void {
  const place = readListen(listen);
  if (place === null) throw new UsageError(`--listen ${listen}: expected ADDRESS:PORT`);
  if (isLoopback(place.host) || allowRemote) return;
  throw new UsageError(
    `--listen ${listen}: whoever can reach it would see what runs here; say --allow-remote if that is meant`,
  );
}

function start(
  client: ControlClient,
  { listen, allowRemote }: DashboardOptions,
  user: User | null,
): { child: ChildProcess; begun: Promise<Begun> } {
  const child = fork(
    installed('dist/dashboard/main.js'),
    [listen, ...(allowRemote ? ['any-host'] : [])],
    {
      ...(user === null ? {} : { uid: user.uid, gid: user.gid }),
      cwd: '/',
      env: { PATH: process.env.PATH ?? '' },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    },
  );
  const begun = new Promise<Begun>((resolve) => {
    child.once('error', ({ message }) => resolve({ failed: message }));
    child.once('exit', (status, signal) => resolve({ failed: `it ended (${signal ?? status})` }));
    const answer = (url: string) =>
      client.read(url).catch((error: Error) => errorAnswer(503, 'no-manager', error.message));
    answerReader(child, answer, resolve);
  });
  return { child, begun };
}

/** By a signal to us, or by itself. */
async function ended(child: ChildProcess): Promise<void> {
  const stop = (): void => {
    child.kill();
  };
  const signals: NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP'];
  for (const signal of signals) process.on(signal, stop);
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  for (const signal of signals) process.off(signal, stop);
}
