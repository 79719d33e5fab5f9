// SPDX-License-Identifier: Apache-2.0
// The module for the web server that is installed: the one that was built, or built anew where that no
// longer fits and there is what to build it from.
import { existsSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import type { Host } from './host.ts';
import { modules } from './package-files.ts';
import type { WebServer } from './servers/server.ts';
import { InstallError, type Tell } from './steps.ts';

const sources = { nginx: 'nginx/config', apache: 'apache/mod_usher.c' } as const;
const outputLines = 15;

/** @throws InstallError when there is none in the end, with what to do. */
export async function ensureModule(
  server: WebServer,
  host: Host,
  isDryRun: boolean,
  tell: Tell,
): Promise<void> {
  const path = join(host.source, 'build', modules[server.kind]);
  const loaded = { action: 'check', what: `loads ${path}`, subject: server.version } as const;
  const fault = await faultOf(path, server);
  if (fault === null) {
    tell(loaded);
    return;
  }
  if (!hasSources(server, host)) throw new InstallError(withRemedy(fault, server));
  tell({ action: 'build', what: `for ${server.version}, as ${firstLine(fault)}`, subject: path });
  if (isDryRun) return;
  await rebuild(path, server, host);
  tell(loaded);
}

/** The former file is out of the way, or a build would take it for what it has made; it comes back when that fails. */
async function rebuild(path: string, server: WebServer, host: Host): Promise<void> {
  const aside = `${path}.former`;
  if (existsSync(path)) renameSync(path, aside);
  const script = join(host.source, 'scripts/build.mjs');
  const { status, output } = await host.run(host.node, [script, 'native'], host.source);
  const end = output.trimEnd().split('\n').slice(-outputLines).join('\n');
  const fault = status === 0 ? await faultOf(path, server) : `building it failed:\n${end}`;
  if (fault === null) {
    rmSync(aside, { force: true });
    return;
  }
  if (existsSync(aside)) renameSync(aside, path);
  throw new InstallError(withRemedy(fault, server));
}

async function faultOf(path: string, server: WebServer): Promise<string | null> {
  return existsSync(path) ? server.checkModule(path) : `${path} is missing`;
}

function hasSources({ kind }: WebServer, { source }: Host): boolean {
  const needed = ['scripts/build.mjs', 'CMakeLists.txt', 'node_modules/cmake-js', sources[kind]];
  return needed.every((path) => existsSync(join(source, path)));
}

function firstLine(text: string): string {
  return text.split('\n')[0] ?? '';
}

function withRemedy(fault: string, { version, buildPackages }: WebServer): string {
  const packages = ['build-essential', 'cmake', ...buildPackages].join(' ');
  return (
    `there is no module for ${version}: ${fault}\nTo build it: apt-get install ${packages}, ` +
    'then in the folder of the sources of Usher: npm run setup && bin/usher install'
  );
}
