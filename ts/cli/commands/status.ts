// SPDX-License-Identifier: Apache-2.0
// usher status: what runs, and why something does not. Where several managers run and none was chosen:
// which they are.
import type { Command } from 'commander';
import { ControlClient } from '../../control/client.ts';
import type { Context } from '../context.ts';
import type { ManagerFound } from '../managers.ts';
import { type ManagerOptions, withExamples, withManagerOptions } from '../options.ts';
import { paintFor } from '../paint.ts';
import { connectTo, runningManagers } from '../runtime-dir.ts';
import { showSince, showTable } from '../units.ts';

export function addStatus(program: Command, context: Context): void {
  const command = withManagerOptions(program.command('status'))
    .summary('show servers, classes, instances and the last failures')
    .description(
      'Shows what the manager runs. WANTED is what the policy wants, with "!" what usher scale said. ' +
        'Where several managers run and none is chosen, they are listed.',
    )
    .action(async (options: ManagerOptions) => {
      const managers = runningManagers(options.runtimeDir, context);
      if (managers.length > 1) return listManagers(managers, options, context);
      const client = connectTo(options, context);
      const asked = client.status();
      const [status, { showStatus }] = await Promise.all([asked, import('../status-text.ts')]);
      if (options.json) context.out(`${JSON.stringify(status, null, 2)}\n`);
      else context.out(showStatus(status, context.now(), paintFor(context)));
    });
  withExamples(command, [
    ['usher status', 'the manager that runs here'],
    ['usher status --json | jq .classes[].name', 'for programs'],
    ['usher status --runtime-dir /run/usher', 'one of several'],
  ]);
}

async function listManagers(
  managers: ManagerFound[],
  { json }: ManagerOptions,
  context: Context,
): Promise<void> {
  const found = await Promise.all(managers.map((one) => describe(one, context)));
  if (json) {
    context.out(`${JSON.stringify({ managers: found }, null, 2)}\n`);
    return;
  }
  const rows = found.map(({ runtimeDir, state }) => [runtimeDir, state]);
  const lines = showTable(rows).map((line) => `  ${line}`);
  context.out(`managers  choose one with --runtime-dir\n${lines.join('\n')}\n`);
}

async function describe(
  { runtimeDir, pid, uid }: ManagerFound,
  context: Context,
): Promise<{ runtimeDir: string; launcherPid: number; uid: number; state: string }> {
  const client = new ControlClient(runtimeDir, { timeoutMs: 2_000 });
  const state = await client.status().then(
    ({ manager, servers, classes }) =>
      `pid ${manager.pid}, version ${manager.version}, up ${showSince(manager.startedAt, context.now())}, ` +
      `${servers.length} servers, ${classes.length} classes`,
    (error: Error) => error.message,
  );
  return { runtimeDir, launcherPid: pid, uid, state };
}
