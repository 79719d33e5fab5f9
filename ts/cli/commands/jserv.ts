// SPDX-License-Identifier: Apache-2.0
// usher jserv FILE: the directive that runs what a jserv.properties describes.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { type JservProperties, parseJservProperties } from '../../config/jserv-properties.ts';
import type { Context } from '../context.ts';
import { withExamples } from '../options.ts';

type Server = 'apache' | 'nginx';

interface Options {
  server: Server;
  name: string;
}

export function addJserv(program: Command, context: Context): void {
  const command = program
    .command('jserv <file>')
    .summary('translate a jserv.properties')
    .description(
      'Prints the directive that starts the servlet engine which FILE describes (-protocol ajp12). ' +
        'What has no counterpart is told on standard error.',
    )
    .addOption(
      new Option(
        '--server <server>',
        'for whose configuration; usher.conf is written like Apache’s',
      )
        .choices(['apache', 'nginx'])
        .default('apache'),
    )
    .option('--name <name>', 'of the class', 'jserv')
    .action((file: string, { server, name }: Options) => {
      const path = resolve(file);
      const properties = parseJservProperties(readFileSync(path, 'utf8'), path);
      context.out(`${directive(properties, server, name)}\n`);
      for (const line of remarks(properties)) context.err(`usher: ${file}: ${line}\n`);
    });
  withExamples(command, [
    ['usher jserv /etc/jserv/jserv.properties', 'the directive on standard output'],
  ]);
}

function directive(properties: JservProperties, server: Server, name: string): string {
  const { command, env, copiedEnv, bindAddress, port, secretKeyFile } = properties;
  const host = bindAddress === null || bindAddress === 'localhost' ? '127.0.0.1' : bindAddress;
  const options: [name: string, value: string][] = [
    ['protocol', 'ajp12'],
    ['command', command.map(quoteWord).join(' ')],
    ['host', `${host.includes(':') ? `[${host}]` : host}:${port}`],
    ...[...env, ...copiedEnv].map((one): [string, string] => ['initial-env', one]),
    ...(secretKeyFile === null ? [] : [['secret-file', secretKeyFile] as [string, string]]),
  ];
  if (server === 'apache') {
    const lines = options.map(([option, value]) => `-${option} ${quote(value)}`);
    return [`AppClass ${quote(name)}`, ...lines].join(' \\\n    ');
  }
  const lines = options.map(([option, value]) => {
    return quote(`${option.replaceAll('-', '_')}=${value}`);
  });
  return `${[`usher_app ${quote(name)}`, ...lines].join('\n    ')};`;
}

function remarks({ copiesAllEnv, zones, secretKeyFile }: JservProperties): string[] {
  return [
    ...(copiesAllEnv
      ? ['wrapper.env.copyall: engines get what -initial-env says; name each variable there']
      : []),
    ...(zones.size > 0
      ? [
          `zones=${[...zones.keys()].join(',')}: for each "ApJServMount PATH /ZONE" add -zone PATH=ZONE (nginx: zone=PATH=ZONE)`,
        ]
      : []),
    ...(secretKeyFile === null
      ? []
      : [`${secretKeyFile} must belong to root and be readable for nobody else (mode 0600)`]),
  ];
}

/** As COMMAND is split. */
function quoteWord(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}

/** As both servers read a word. */
function quote(word: string): string {
  if (/^[\w@%+=:,./[\]-]+$/.test(word)) return word;
  return `"${word.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
