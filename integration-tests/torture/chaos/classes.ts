// SPDX-License-Identifier: Apache-2.0
// What runs in a chaos: programs of four languages in classes of every kind, most of them shared by
// both servers.

import type { Site, Texts } from '../../servers/site.ts';
import { classLine } from '../configuration.ts';
import { type ClassOptions, programs } from '../programs.ts';

export interface ChaosClass {
  /** Between slashes, the paths it serves. */
  name: string;
  /** As status shows it. */
  key: string;
  /** Always has instances; else they come and go with the requests. */
  isKept: boolean;
  /** Somebody else runs its program. */
  isExternal: boolean;
  options: ClassOptions;
}

/** The file to which each program adds every request it takes. */
const notesOf = (site: Site): string => `NOTES=${site.dir}/notes`;

/** Classes that all servers share, their files placed below the first one's directory. */
export function sharedClasses(first: Site, externalPort: number): ChaosClass[] {
  const kept = (name: 'c' | 'perl' | 'node', more: ClassOptions): ChaosClass => {
    const program = programs[name];
    const command = program.command(program.place(first, name));
    const options = { command, concurrency: program.concurrency, ...more };
    return { name, key: name, isKept: true, isExternal: false, options };
  };
  return [
    kept('c', { processes: 3 }),
    kept('perl', { processes: 1, maxClassProcesses: 4 }),
    kept('node', { processes: 2 }),
    {
      name: 'php',
      key: 'php',
      isKept: false,
      isExternal: false,
      options: { command: 'php-cgi', 'on-demand': 4, 'idle-stop': 3, cwd: first.docs },
    },
    {
      name: 'outer',
      key: 'outer',
      isKept: true,
      isExternal: true,
      options: { host: `127.0.0.1:${externalPort}` },
    },
  ];
}

/** Classes of one server alone. */
export function ownClasses(site: Site): ChaosClass[] {
  const name = `own-${site.server.kind}`;
  const file = programs.c.place(site, name);
  const dynamic = site.program('docs/dynamic/page.php');
  return [
    {
      name,
      key: name,
      isKept: false,
      isExternal: false,
      options: { command: file, 'on-demand': 2, 'idle-stop': 1 },
    },
    {
      name: 'dynamic',
      key: dynamic,
      isKept: false,
      isExternal: false,
      options: { 'idle-stop': 2 },
    },
  ];
}

/**
 * The configuration of one server. A class with another mark is another configuration of it: its
 * instances are replaced.
 */
export function chaosTexts(
  first: Site,
  site: Site,
  classes: readonly ChaosClass[],
  marks: ReadonlyMap<string, number>,
): Texts {
  const line = (kind: 'nginx' | 'apache', { name, isExternal, options }: ChaosClass): string => {
    const mark = marks.get(name) ?? 0;
    const environment = { 'initial-env': [notesOf(first), `MARK=${mark}`] };
    if (name === 'dynamic') return classLine(kind, 'dynamic', '', { ...options, ...environment });
    if (isExternal) return classLine(kind, 'external', name, options);
    return classLine(kind, 'static', name, { ...options, ...environment });
  };
  const named = classes.filter(({ name }) => name !== 'dynamic');
  return {
    nginx: `usher_log ${first.dir}/usher.log;
${classes.map((one) => line('nginx', one)).join('\n')}
  server {
    listen 127.0.0.1:${site.port} backlog=4096;
    root ${site.docs};
    include fastcgi_params;
    fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
${named.map(({ name }) => `    location /${name}/ { usher_pass ${name}; }`).join('\n')}
    location /dynamic/ { usher_pass $document_root$uri; }
  }`,
    apache: `UsherLog ${first.dir}/usher.log
${classes.map((one) => line('apache', one)).join('\n')}
ListenBacklog 4096
ServerLimit 20
MaxRequestWorkers 500
${named.map(({ name }) => `<Location /${name}/>\n  UsherPass ${name}\n</Location>`).join('\n')}
<Directory ${site.docs}/dynamic>
  Options +ExecCGI
  SetHandler fastcgi-script
</Directory>`,
  };
}
