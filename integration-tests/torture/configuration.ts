// SPDX-License-Identifier: Apache-2.0
// The configuration of a tortured server in both spellings: some classes of one program, each below a
// path of its own.

import type { Site, Texts } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';
import type { ClassOptions, Program } from './programs.ts';

export interface TorturedClass {
  /** Names the class and, between slashes, the paths it serves. */
  name: string;
  /** What the program's file is, to be replaced or asked about. */
  file: string;
}

const quoted = (word: string): string => (/\s/.test(word) ? `"${word}"` : word);

/** -maxClassProcesses 8 is max_class_processes=8 in nginx. */
function nginxName(name: string): string {
  return name
    .replaceAll('-', '_')
    .replace(/[A-Z]+/g, (letters) => `_${letters}`)
    .toLowerCase();
}

interface Word {
  name: string;
  value: string | undefined;
}

/** Each option with each of its values, in the order given. */
function flat(options: ClassOptions): Word[] {
  return Object.entries(options).flatMap(([name, value]): Word[] => {
    if (value === true) return [{ name, value: undefined }];
    if (typeof value === 'object') return value.map((one) => ({ name, value: one }));
    return [{ name, value: `${value}` }];
  });
}

const directives = {
  static: { nginx: 'usher_app', apache: 'AppClass' },
  external: { nginx: 'usher_external_app', apache: 'ExternalAppClass' },
  dynamic: { nginx: 'usher_config', apache: 'FCGIConfig' },
};

/** The directive that defines a class; `name` is empty for dynamic ones, which have none. */
export function classLine(
  server: WebServer['kind'],
  kind: keyof typeof directives,
  name: string,
  options: ClassOptions,
): string {
  const words = flat(options).map(({ name: option, value }) => {
    if (server === 'nginx') {
      const spelled = nginxName(option);
      return value === undefined ? spelled : quoted(`${spelled}=${value}`);
    }
    return value === undefined ? `-${option}` : `-${option} ${quoted(value)}`;
  });
  const line = [directives[kind][server], name, ...words].filter(Boolean).join(' ');
  return server === 'nginx' ? `  ${line};` : line;
}

export function configurationFor(
  site: Site,
  program: Program,
  classes: readonly TorturedClass[],
  own: ClassOptions,
): Texts {
  const kind = program.engines === undefined ? 'static' : 'external';
  const optionsOf = ({ file }: TorturedClass): ClassOptions => ({
    ...(kind === 'static'
      ? { command: program.command(file), concurrency: program.concurrency }
      : {}),
    ...program.options,
    ...own,
  });
  const lines = (server: WebServer['kind']): string =>
    classes.map((one) => classLine(server, kind, one.name, optionsOf(one))).join('\n');
  return {
    nginx: `${lines('nginx')}
  server {
    listen 127.0.0.1:${site.port} backlog=4096;
    root ${site.docs};
    client_max_body_size 10m;
    include fastcgi_params;
    fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
${classes.map(({ name }) => `    location /${name}/ { usher_pass ${name}; }`).join('\n')}
  }`,
    apache: `${lines('apache')}
ListenBacklog 4096
ServerLimit 20
MaxRequestWorkers 500
${classes.map(({ name }) => `<Location /${name}/>\n  UsherPass ${name}\n</Location>`).join('\n')}`,
  };
}
