// SPDX-License-Identifier: Apache-2.0
// usher migrate FILE…: the configuration of other modules in Usher's words.
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { type Migrated, migrate } from '../../migrate/migrate.ts';
import type { Secret, ServerKind } from '../../migrate/model.ts';
import { showReport } from '../../migrate/report.ts';
import type { Files } from '../../migrate/source.ts';
import { type Context, UsageError } from '../context.ts';
import { installed } from '../installed.ts';

interface Options {
  to?: ServerKind;
  from?: ServerKind;
  output?: string;
  secrets?: string;
  serverRoot?: string;
  define: string[];
  json?: boolean;
}

const secretDirectory = '/etc/usher';
const servers = ['apache', 'nginx'];

const description = `Writes what FILE says of FastCGI, CGI and AJP programs as Usher's configuration: an httpd.conf with
mod_fcgid, mod_fastcgi, mod_jk, mod_jserv, mod_proxy_fcgi or mod_proxy_ajp, or a nginx.conf with
fastcgi_pass. Files that start programs (scripts with spawn-fcgi or fcgiwrap, units of systemd,
pools of php-fpm) are given beside it: Usher starts these programs then.

For the same server the whole file is written, with nothing else changed in it; for the other one
classes and hosts, to be included. What is said of each line goes to standard error.`;

const examples = `
Examples:
  usher migrate /etc/apache2/apache2.conf --output /etc/apache2/apache2.conf.new
  usher migrate /etc/apache2/sites-available/shop.conf --to nginx
  usher migrate /etc/nginx/nginx.conf /etc/php/8.2/fpm/pool.d/www.conf
  usher migrate nginx.conf start-app.sh --to apache --json`;

export function addMigrate(program: Command, context: Context): void {
  program
    .command('migrate <file...>')
    .summary('translate configurations of other modules')
    .description(description)
    .addOption(
      new Option('--to <server>', 'for whom to write; default: the same server').choices(servers),
    )
    .addOption(
      new Option('--from <server>', 'whose configuration it is, where that is not clear').choices(
        servers,
      ),
    )
    .option('--output <file>', 'write the configuration there, not to standard output')
    .option(
      '--secrets <directory>',
      `write secrets into files there (default: say what belongs into ${secretDirectory})`,
    )
    .option(
      '--server-root <directory>',
      'relative paths are below it (default: ServerRoot, or the directory of FILE)',
    )
    .option('--define <name...>', 'as -D of httpd, NAME or NAME=VALUE', [])
    .option('--json', 'configuration and report as JSON, for programs')
    .addHelpText('after', examples)
    .action((paths: string[], options: Options) => run(paths, options, context));
}

function run(paths: string[], options: Options, context: Context): void {
  const output = options.output === undefined ? null : resolve(options.output);
  const absolute = paths.map((path) => resolve(path));
  if (output !== null && absolute.includes(output)) {
    throw new UsageError(
      `--output ${options.output}: it would replace what is read; name another file`,
    );
  }
  const result = migrate(
    {
      files: absolute,
      ...(options.from === undefined ? {} : { from: options.from }),
      ...(options.to === undefined ? {} : { to: options.to }),
      ...(options.serverRoot === undefined ? {} : { serverRoot: resolve(options.serverRoot) }),
      defines: options.define,
      env: context.env,
      secretDirectory: options.secrets === undefined ? secretDirectory : resolve(options.secrets),
      modules: {
        apache: installed('build/mod_usher.so'),
        nginx: installed('build/ngx_http_usher_module.so'),
      },
    },
    fileSystem,
  );
  if (options.secrets !== undefined) for (const secret of result.secrets) writeSecret(secret);
  if (output !== null) writeFileSync(output, result.text);
  tell(result, options, context);
}

function tell({ text, report }: Migrated, { json, output }: Options, context: Context): void {
  if (json) {
    const configuration =
      output === undefined ? { configuration: text } : { output: resolve(output) };
    context.out(`${JSON.stringify({ ...configuration, ...report }, null, 2)}\n`);
    return;
  }
  context.err(showReport(report));
  if (output === undefined) context.out(text);
}

/** @throws Error when there is a file of that name. */
function writeSecret({ path, value }: Secret): void {
  writeFileSync(path, `${value}\n`, { mode: 0o600, flag: 'wx' });
}

const fileSystem: Files = {
  read: (path) => readFileSync(path, 'utf8'),
  list: (directory) => {
    try {
      return statSync(directory).isDirectory() ? readdirSync(directory) : null;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EACCES') return null;
      throw new Error(`cannot read ${join(dirname(directory), '.')}`, { cause: error });
    }
  },
};
