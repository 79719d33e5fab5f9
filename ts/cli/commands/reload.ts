// SPDX-License-Identifier: Apache-2.0
// usher reload: what was changed in the configuration of web servers and in usher.conf, taken over now.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Command } from 'commander';
import type { ControlClient } from '../../control/client.ts';
import type { ServerStatus, Status } from '../../control/messages.ts';
import { checkFile } from '../check-file.ts';
import { type Context, exitCodes, SilentExit } from '../context.ts';
import { type ManagerOptions, parseSeconds, withExamples, withManagerOptions } from '../options.ts';
import { connectTo } from '../runtime-dir.ts';
import { printable } from '../units.ts';
import { type MasterFound, reloadWith } from '../web-server.ts';

interface ReloadOptions extends ManagerOptions {
  wait: boolean;
  /** Seconds. */
  timeout: number;
}

interface ServerReload {
  server: string;
  /** "reloaded", "signalled" (nobody waited) or "failed". */
  outcome: 'reloaded' | 'signalled' | 'failed';
  text: string;
}

interface Changes {
  added: string[];
  changed: string[];
  removed: string[];
}

const POLL_MS = 100;
const UP_TO_DATE_MS = 500;

export function addReload(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('reload'))
    .summary('take over changed configurations: of the web servers and of usher.conf')
    .description(
      'Checks the configuration of each registered web server with its own program and has its master ' +
        'reload gracefully (nginx: HUP, Apache: USR1); reads usher.conf again where the manager has one. ' +
        'Says what changed. A server with a mistake in its configuration is left as it is.',
    )
    .option('--no-wait', 'do not wait until the servers have registered anew')
    .option('--timeout <seconds>', 'for each server to register anew', parseSeconds, 30)
    .action(async (options: ReloadOptions) => {
      const client = connectTo(options, context);
      const { runtimeDir } = client;
      const before = await client.status();
      const { configuration } = before.manager;
      if (configuration !== null) await checkFile(configuration, context);
      const servers: ServerReload[] = [];
      for (const server of before.servers) {
        const master = await context.findMaster(runtimeDir, server);
        servers.push(await reloadServer(client, server, master, options));
      }
      await client.reload();
      if (options.wait && servers.some(({ outcome }) => outcome === 'reloaded')) {
        await sleep(UP_TO_DATE_MS); // a class that is left by all servers takes a moment to be removed
      }
      const changes = compare(before, await client.status());
      report({ configuration, servers, changes }, options, context);
      if (servers.some(({ outcome }) => outcome === 'failed'))
        throw new SilentExit(exitCodes.failed);
    });
  withExamples(command, [
    ['usher reload', 'after a change in httpd.conf, nginx.conf or usher.conf'],
    ['usher reload --json', 'what changed, for programs'],
  ]);
}

async function reloadServer(
  client: ControlClient,
  server: ServerStatus,
  master: MasterFound | null,
  options: ReloadOptions,
): Promise<ServerReload> {
  const { name } = server;
  if (master === null) {
    const text = `no master of ours was found, of nginx or Apache: be its user (root), or reload it yourself`;
    return { server: name, outcome: 'failed', text };
  }
  const failure = await reloadWith(master);
  if (failure !== null) return { server: name, outcome: 'failed', text: failure };
  const text = `${master.signal} to pid ${master.pid}`;
  if (!options.wait) return { server: name, outcome: 'signalled', text };
  if (await registersAnew(client, server, options.timeout * 1000)) {
    return { server: name, outcome: 'reloaded', text };
  }
  const late = `${text}, but it has not registered anew within ${options.timeout} s: see its error log`;
  return { server: name, outcome: 'failed', text: late };
}

async function registersAnew(
  client: ControlClient,
  { name, generation }: ServerStatus,
  timeoutMs: number,
): Promise<boolean> {
  const deadline = Date.now() + timeoutMs;
  while (Date.now() < deadline) {
    const { servers } = await client.status();
    const now = servers.find((server) => server.name === name);
    if (now !== undefined && now.generation > generation) return true;
    await sleep(POLL_MS);
  }
  return false;
}

function compare(before: Status, after: Status): Changes {
  const former = new Map(before.classes.map(({ name, options }) => [name, options]));
  const current = after.classes.filter(({ state }) => state !== 'removed');
  const names = new Set(current.map(({ name }) => name));
  return {
    added: current.filter(({ name }) => !former.has(name)).map(({ name }) => name),
    changed: current
      .filter(({ name, options }) => former.has(name) && former.get(name) !== options)
      .map(({ name }) => name),
    removed: before.classes.filter(({ name }) => !names.has(name)).map(({ name }) => name),
  };
}

function report(
  done: { configuration: string | null; servers: ServerReload[]; changes: Changes },
  { json }: ManagerOptions,
  context: Context,
): void {
  if (json) {
    context.out(`${JSON.stringify(done, null, 2)}\n`);
    return;
  }
  const { configuration, servers, changes } = done;
  if (configuration !== null) context.out(`${printable(configuration)}: read\n`);
  for (const { server, outcome, text } of servers) {
    context.out(`${server}: ${outcome}${outcome === 'failed' ? `: ${text}` : ` (${text})`}\n`);
  }
  if (configuration === null && servers.length === 0) {
    context.out('no web server is registered, and there is no usher.conf: nothing to reload\n');
  }
  const lines = Object.entries(changes).filter(([, names]) => names.length > 0);
  for (const [what, names] of lines) context.out(`${what}: ${names.map(printable).join(', ')}\n`);
  if (lines.length === 0) context.out('no class has changed\n');
}
