// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import type { Host, Outcome } from '../host.ts';
import { linesOf, type Placement, type Use, type WebServer } from './server.ts';

/** @throws Error when there is none. */
export async function findApache(host: Host): Promise<WebServer> {
  const control = await firstThere(host, ['apache2ctl', 'apachectl'], ['-V']);
  const program = await firstThere(host, ['apache2', 'httpd'], ['-v']);
  if (control === null || program === null) {
    throw new Error('Apache httpd is not installed: apt-get install apache2');
  }
  const [, version = ''] = /^Server version: (\S+)/m.exec(program.output) ?? [];
  const [, folder = '/etc/apache2'] = /-D HTTPD_ROOT="([^"]*)"/.exec(control.output) ?? [];
  const isDebian = existsSync(`${folder}/mods-enabled`);
  return {
    kind: 'apache',
    version,
    buildPackages: ['apache2-dev'],
    placements: isDebian ? placements(folder) : [],
    configuration: `${folder}/mods-available/usher.conf`,
    byHand: isDebian
      ? null
      : `${folder} has no folder mods-enabled: put "LoadModule usher_module PREFIX/build/mod_usher.so" and what ` +
        'PREFIX/packaging/apache2/usher.conf says into its configuration',
    reload: host.hasSystemd ? 'systemctl reload apache2' : `${control.name} graceful`,
    checkModule: (path) => checkModule(path, program.name, folder, host),
    async checkConfiguration() {
      const { status, output } = await host.run(control.name, ['-t']);
      return status === 0 ? null : output.trim();
    },
    async uses(ignored) {
      const { status, output } = await host.run(control.name, ['-t', '-D', 'DUMP_INCLUDES']);
      return status === 0 ? usesIn(includedFiles(output), linesOf, ignored) : null;
    },
  };
}

async function firstThere(
  host: Host,
  names: string[],
  args: string[],
): Promise<(Outcome & { name: string }) | null> {
  for (const name of names) {
    const outcome = await host.run(name, args);
    if (outcome.status !== null) return { ...outcome, name };
  }
  return null;
}

function placements(folder: string): Placement[] {
  return ['usher.load', 'usher.conf'].flatMap((name): Placement[] => [
    {
      kind: 'file',
      path: `${folder}/mods-available/${name}`,
      source: `apache2/${name}`,
      what: name === 'usher.load' ? 'loads the module' : 'configuration',
    },
    {
      kind: 'link',
      path: `${folder}/mods-enabled/${name}`,
      target: `../mods-available/${name}`,
      what: 'enables it, as a2enmod does',
    },
  ]);
}

async function checkModule(
  path: string,
  program: string,
  folder: string,
  host: Host,
): Promise<string | null> {
  const scratch = mkdtempSync(join(tmpdir(), 'usher-check-'));
  try {
    const enabled = `${folder}/mods-enabled`;
    const models = existsSync(enabled)
      ? readdirSync(enabled).filter((name) => /^mpm_.*\.load$/.test(name))
      : []; // where there is none it is compiled in
    const text = `ServerRoot ${scratch}
ServerName check.invalid
DefaultRuntimeDir ${scratch}
PidFile ${scratch}/pid
ErrorLog ${scratch}/error.log
${models.map((name) => `Include ${enabled}/${name}\n`).join('')}LoadModule usher_module ${path}
UsherRuntimeDir ${scratch}/run
AppClass check -command /bin/true
`;
    writeFileSync(`${scratch}/httpd.conf`, text);
    const { status, output } = await host.run(program, ['-t', '-f', `${scratch}/httpd.conf`]);
    return status === 0 ? null : output.trim();
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

/** @param dump What -D DUMP_INCLUDES prints. */
export function includedFiles(dump: string): string[] {
  return [...dump.matchAll(/^\s*\((?:\*|\d+)\) (\/.*)$/gm)].map(([, path = '']) => path);
}

const ours = /^\s*(AppClass|ExternalAppClass|FCGIConfig|Usher\w+)\b/i;
const shared = /^\s*(FastCgi\w+|Fcgid\w+|FCGIWrapper)\b/i;
const loads = /^\s*LoadModule\s+(usher|fcgid|fastcgi)_module\b/i;
const section = /^\s*<(\/?)IfModule\b\s*"?([^\s">]*)/i;
/** What stands in their sections is passed over when the module has gone. */
const guards =
  /^(mod_usher\.c|usher_module|mod_fcgid\.c|fcgid_module|mod_fastcgi\.c|fastcgi_module)$/i;

/** Directives that other modules have as well count where those are not loaded. */
export function usesIn(
  files: string[],
  read: (path: string) => string[],
  ignored: ReadonlySet<string>,
): Use[] {
  const all = files.map((file) => ({ file, lines: read(file) }));
  const hasOther = all.some(({ lines }) =>
    lines.some((line) => /^(fcgid|fastcgi)$/i.test(loads.exec(line)?.[1] ?? '')),
  );
  return all
    .filter(({ file }) => !ignored.has(file))
    .flatMap(({ file, lines }) => usesOf(file, lines, hasOther));
}

function usesOf(file: string, lines: string[], hasOther: boolean): Use[] {
  const uses: Use[] = [];
  const guarded: boolean[] = [];
  lines.forEach((text, i) => {
    const [, end, name = ''] = section.exec(text) ?? [];
    if (end === '/') guarded.pop();
    else if (end === '') guarded.push(guards.test(basename(name)));
    else if (guarded.includes(true)) return;
    else if (
      ours.test(text) ||
      loads.exec(text)?.[1]?.toLowerCase() === 'usher' ||
      (!hasOther && shared.test(text))
    ) {
      uses.push({ file, line: i + 1, text: text.trim() });
    }
  });
  return uses;
}
