// SPDX-License-Identifier: Apache-2.0
// Which configurations of web servers there are: those that were named, else of running servers and at
// the usual places; and how each server is asked what it thinks of its own.
import { dirname, join, resolve } from 'node:path';
import { apacheArgs, nginxArgs } from '../cli/web-server.ts';
import type { ServerKind } from '../migrate/model.ts';
import { type Files, MigrateError } from '../migrate/source.ts';
import { type ConfigurationFacts, readApacheFacts, readNginxFacts } from './configuration-facts.ts';
import { attempt, codeOf, type Host, isDenied, textOf, wordsOf } from './host.ts';
import { argument, mastersOf, type RunningProcess, seesAnother } from './processes.ts';
import type { Wanted } from './report.ts';

export interface Configuration {
  kind: ServerKind;
  path: string;
  /** null = the server does not run with it. */
  master: RunningProcess | null;
  /** The command that tests it; null = no such server is installed. */
  test: { program: string; args: string[]; env: NodeJS.ProcessEnv } | null;
  facts: ConfigurationFacts | null;
  /** Why there are no facts: it begins with file and line where one is wrong. */
  unreadable: string | null;
  /** … only because it is not ours to see; or the file has gone, and the server runs on. */
  isDenied: boolean;
  isGone: boolean;
}

const usualPlaces: Readonly<Record<ServerKind, readonly string[]>> = {
  nginx: ['/etc/nginx/nginx.conf', '/usr/local/nginx/conf/nginx.conf'],
  apache: [
    ...['/etc/apache2/apache2.conf', '/etc/httpd/conf/httpd.conf'],
    '/usr/local/apache2/conf/httpd.conf',
  ],
};
const folders = ['/usr/sbin', '/usr/local/sbin', '/usr/bin', '/usr/local/bin'];
const programs: Readonly<Record<ServerKind, readonly string[]>> = {
  nginx: [...folders.map((folder) => `${folder}/nginx`), '/usr/local/nginx/sbin/nginx'],
  apache: [
    ...folders.flatMap((folder) => [`${folder}/apache2`, `${folder}/httpd`]),
    '/usr/local/apache2/bin/httpd',
  ],
};

export function findProgram(host: Host, kind: ServerKind): string | null {
  return programs[kind].find((path) => attempt(() => host.stat(path))?.kind === 'file') ?? null;
}

/** @param registered Configuration files that web servers have registered in the chosen directory. */
export function findConfigurations(
  host: Host,
  wanted: Wanted,
  processes: readonly RunningProcess[],
  registered: ReadonlySet<string>,
): Configuration[] {
  return (['nginx', 'apache'] as const).flatMap((kind) => {
    const running = new Map(
      mastersOf(processes, kind)
        .map((master) => [configurationOf(host, kind, master), master] as const)
        .filter(([path, { pid }]) => path === null || !seesAnother(host, pid, path)),
    );
    const paths = wanted[kind].length > 0 ? wanted[kind] : usualOnes(kind);
    return [...new Set(paths)].map((path) =>
      readConfiguration(host, kind, path, running.get(path) ?? null),
    );

    function usualOnes(of: ServerKind): string[] {
      const theirs = [...running.keys()].filter((path): path is string => path !== null);
      const meant = theirs.filter((path) => wanted.runtimeDir === null || registered.has(path));
      return [...usualPlaces[of].filter((path) => exists(host, path)), ...meant];
    }
  });
}

function exists(host: Host, path: string): boolean {
  return attempt(() => host.stat(path)) !== null;
}

/** null = its arguments do not say, and its usual place is not there. */
function configurationOf(host: Host, kind: ServerKind, master: RunningProcess): string | null {
  const usual = usualPlaces[kind].find((path) => exists(host, path)) ?? null;
  if (kind === 'nginx') {
    const args = nginxArgs(master.words.join(' '));
    const path = argument(args, '-c');
    return path === null ? usual : resolve(argument(args, '-p') ?? '/', path);
  }
  const path = argument(master.words, '-f');
  return path === null ? usual : resolve(argument(master.words, '-d') ?? '/', path);
}

function readConfiguration(
  host: Host,
  kind: ServerKind,
  path: string,
  master: RunningProcess | null,
): Configuration {
  const env = kind === 'apache' ? apacheEnvironment(host, path, master) : { ...host.env };
  const program = master?.program?.replace(/ \(deleted\)$/, '') ?? findProgram(host, kind);
  const args = testArguments(kind, path, master);
  const test = program === null ? null : { program, args, env };
  const read = { kind, path, master, test };
  try {
    const facts =
      kind === 'nginx'
        ? readNginxFacts(path, filesOf(host))
        : readApacheFacts(path, filesOf(host), {
            env,
            serverRoot: argument(master?.words ?? [], '-d'),
            defines: (master?.words ?? []).filter((_, i, words) => words[i - 1] === '-D'),
          });
    return { ...read, facts, unreadable: null, isDenied: false, isGone: false };
  } catch (error) {
    const isExpected = error instanceof MigrateError || codeOf(error) !== '';
    if (!isExpected) throw error;
    const isGone = master !== null && codeOf(error) === 'ENOENT';
    const unreadable = (error as Error).message;
    return { ...read, facts: null, unreadable, isDenied: isDenied(error), isGone };
  }
}

function testArguments(kind: ServerKind, path: string, master: RunningProcess | null): string[] {
  if (master === null) return kind === 'nginx' ? ['-t', '-q', '-c', path] : ['-t', '-f', path];
  if (kind === 'apache') return [...apacheArgs(master.words.slice(1)), '-t'];
  return [...nginxArgs(master.words.join(' ')), '-t', '-q'];
}

/** Debian's apachectl reads envvars before it starts httpd; who asks httpd itself has to. */
function apacheEnvironment(
  host: Host,
  path: string,
  master: RunningProcess | null,
): NodeJS.ProcessEnv {
  const own = wordsOf(host, `/proc/${master?.pid ?? 'none'}/environ`).map(
    (pair): [string, string] => {
      const at = pair.indexOf('=');
      return [pair.slice(0, at), pair.slice(at + 1)];
    },
  );
  if (own.length > 0) return Object.fromEntries(own);
  const text = textOf(host, join(dirname(path), 'envvars')) ?? '';
  const pairs = [...text.matchAll(/^\s*export\s+(\w+)=(\S*)/gm)];
  const variables = pairs.map(([, name = '', value = '']): [string, string] => [
    name,
    value.replace(/\$\{?SUFFIX\}?/g, '').replace(/^(["'])(.*)\1$/, '$2'),
  ]);
  return { ...host.env, ...Object.fromEntries(variables) };
}

function filesOf(host: Host): Files {
  return {
    read: (path) => host.bytes(path).toString('utf8'),
    list: (directory) => attempt(() => host.list(directory)),
  };
}

export const serverNames: Readonly<Record<ServerKind, string>> = {
  nginx: 'nginx',
  apache: 'Apache httpd',
};
