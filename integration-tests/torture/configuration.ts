// SPDX-License-Identifier: Apache-2.0
// The configuration of a tortured server in both spellings: some classes of one program, each below a
// path of its own.

import type { Site, Texts } from '../servers/site.ts';
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

function nginxClass({ name }: TorturedClass, options: ClassOptions): string {
  const words = flat(options).map(({ name: option, value }) =>
    value === undefined ? nginxName(option) : quoted(`${nginxName(option)}=${value}`),
  );
  return `  usher_app ${name} ${words.join(' ')};`;
}

function apacheClass({ name }: TorturedClass, options: ClassOptions): string {
  const words = flat(options).map(({ name: option, value }) =>
    value === undefined ? `-${option}` : `-${option} ${quoted(value)}`,
  );
  return `AppClass ${name} ${words.join(' ')}`;
}

export function configurationFor(
  site: Site,
  program: Program,
  classes: readonly TorturedClass[],
  own: ClassOptions,
): Texts {
  const optionsOf = ({ file }: TorturedClass): ClassOptions => ({
    command: program.command(file),
    concurrency: program.concurrency,
    ...program.options,
    ...own,
  });
  return {
    nginx: `${classes.map((one) => nginxClass(one, optionsOf(one))).join('\n')}
  server {
    listen 127.0.0.1:${site.port} backlog=4096;
    root ${site.docs};
    client_max_body_size 10m;
    include fastcgi_params;
    fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
${classes.map(({ name }) => `    location /${name}/ { usher_pass ${name}; }`).join('\n')}
  }`,
    apache: `${classes.map((one) => apacheClass(one, optionsOf(one))).join('\n')}
ListenBacklog 4096
ServerLimit 20
MaxRequestWorkers 500
${classes.map(({ name }) => `<Location /${name}/>\n  UsherPass ${name}\n</Location>`).join('\n')}`,
  };
}
