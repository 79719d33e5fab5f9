// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- php [--rounds N] [--seconds S] …`: PHP pages by php-cgi under Usher and under mod_fcgid,
// beside as many processes of php-fpm, by nginx's fastcgi_pass and by mod_proxy_fcgi.

import { existsSync } from 'node:fs';
import { contest } from './contest.mjs';
import { families, found, installed } from './machine.mjs';
import { instancesReady, loadUsher, startServer } from './servers.mjs';
import { eventually, launcherOf, user } from './site.mjs';
import { wrk } from './wrk.mjs';

const defaults = { processes: 4, workers: 2, connections: 32 };

const goals = [
  { of: 'nginx-usher', to: 'nginx-fpm' },
  { of: 'apache-usher', to: 'apache-fpm' },
  { of: 'apache-usher', to: 'apache-fcgid' },
];

const pages = [
  { id: 'short', label: 'a short page', length: 1000, text: "<?php echo str_repeat('x', 1000);\n" },
  {
    id: 'work',
    label: 'a page with some work: 200 rows of a table, sorted, escaped, filled in',
    length: 19_800,
    text: `<?php
$rows = [];
for ($i = 0; $i < 200; $i++) {
    $rows[md5((string) $i)] = ['name' => "<name $i>", 'value' => $i * $i];
}
ksort($rows);
foreach ($rows as $key => ['name' => $name, 'value' => $value]) {
    printf("%-32s%-47s%10d%9s\\n", $key, htmlspecialchars($name), $value, '');
}
`,
  },
];

/** php-cgi takes no pool of its own here: Usher and mod_fcgid start as many as they need. */
const environment = { PHP_FCGI_CHILDREN: '0', PHP_FCGI_MAX_REQUESTS: '1000000000' };

function fpmConfiguration(dir, processes) {
  return `[global]
error_log = ${dir}/fpm.log
daemonize = no
[www]
${user && `user = ${user}\ngroup = ${user}\nlisten.owner = ${user}`}
listen = ${dir}/fpm.sock
listen.backlog = 1024
pm = static
pm.max_children = ${processes}
`;
}

async function startFpm(site, processes) {
  const file = site.write('fpm.conf', fpmConfiguration(site.dir, processes));
  const program = found('php-fpm8.2', 'php-fpm');
  const asRoot = process.getuid() === 0 ? ['-R'] : [];
  const pid = site.start('fpm', program, ['-F', '-n', ...opcache(), ...asRoot, '-y', file]);
  const isReady = () =>
    existsSync(`${site.dir}/fpm.sock`) && families([pid]).length === processes + 1;
  await eventually('php-fpm is ready', isReady).catch((error) => {
    throw new Error(`${error.message}; it said: ${site.said('fpm')}`);
  });
  return pid;
}

/** The same settings for all, whatever php.ini of each says. */
const opcache = () => ['-d', 'zend_extension=opcache', '-d', 'opcache.enable=1'];

const script = (docs) => `include ${installed().fastcgiParams};
root ${docs};
fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;`;

function starts(site, { processes }, fpm) {
  const docs = `${site.dir}/php`;
  const php = [found('php-cgi'), '-n', ...opcache()].join(' ');
  const wrapper = site.write('php-cgi', `#!/bin/sh\nexec ${php}\n`, 0o755);
  const pass = (name) => `<FilesMatch \\.php$>\n  ${name}\n</FilesMatch>`;
  const root = `DocumentRoot ${docs}\n<Directory ${docs}>\n  Require all granted\n`;
  const asEnvironment = (write) => Object.entries(environment).map(write).join('\n');
  return {
    'nginx-fpm': {
      label: 'nginx + php-fpm',
      kind: 'nginx',
      ancestors: [fpm],
      text: () => ({
        location: `location / { fastcgi_pass unix:${site.dir}/fpm.sock; ${script(docs)} }`,
      }),
    },
    'nginx-usher': {
      label: 'nginx + Usher, php-cgi',
      kind: 'nginx',
      text: (dir) => ({
        modules: loadUsher,
        http: `usher_runtime_dir ${dir};
usher_app php "command=${php}" processes=${processes} ${Object.entries(environment)
          .map(([name, value]) => `initial_env=${name}=${value}`)
          .join(' ')};`,
        location: `location / { usher_pass php; ${script(docs)} }`,
      }),
    },
    'apache-fpm': {
      label: 'Apache + php-fpm',
      kind: 'apache',
      ancestors: [fpm],
      text: () => ({
        modules: ['proxy', 'proxy_fcgi'],
        text: `${root}${pass(`SetHandler "proxy:unix:${site.dir}/fpm.sock|fcgi://127.0.0.1"`)}\n</Directory>`,
      }),
    },
    'apache-usher': {
      label: 'Apache + Usher, php-cgi',
      kind: 'apache',
      text: (dir) => ({
        modules: ['usher'],
        text: `UsherRuntimeDir ${dir}
AppClass php -command "${php}" -processes ${processes} ${Object.entries(environment)
          .map(([name, value]) => `-initial-env ${name}=${value}`)
          .join(' ')}
${root}${pass('UsherPass php')}\n</Directory>`,
      }),
    },
    'apache-fcgid': {
      label: 'Apache + mod_fcgid, php-cgi',
      kind: 'apache',
      text: () => ({
        modules: ['fcgid'],
        text: `FcgidIPCDir ${site.dir}/apache-fcgid/ipc
FcgidProcessTableFile ${site.dir}/apache-fcgid/table
FcgidMaxProcessesPerClass ${processes}
FcgidMinProcessesPerClass ${processes}
FcgidMaxRequestsPerProcess 0
FcgidIdleTimeout 0
FcgidProcessLifeTime 0
${asEnvironment(([name, value]) => `FcgidInitialEnv ${name} ${value}`)}
${root}  Options +ExecCGI\n${pass(`SetHandler fcgid-script\n  FcgidWrapper ${wrapper} .php`)}\n</Directory>`,
      }),
    },
  };
}

async function startAll(site, settings) {
  for (const { id, text } of pages) site.write(`php/${id}.php`, text);
  const fpm = await startFpm(site, settings.processes);
  const servers = [];
  for (const [id, one] of Object.entries(starts(site, settings, fpm))) {
    const runtimeDir = id.endsWith('usher') ? site.runtimeDir(`${id}-run`) : undefined;
    const sizes = { workers: settings.workers, threads: 2 * settings.connections };
    const started = await startServer(site, one.kind, id, sizes, one.text(runtimeDir));
    const ancestors = [started.pid, ...(one.ancestors ?? [])];
    if (runtimeDir !== undefined) {
      await instancesReady(runtimeDir, 'php', settings.processes);
      ancestors.push(launcherOf(runtimeDir));
    }
    servers.push({ ...started, id, label: one.label, runtimeDir, ancestors });
  }
  return servers;
}

const ask = ({ port }, { id, length }) => ({ port, path: `/${id}.php`, length });

export function run(args) {
  return contest('php', args, {
    defaults,
    title: ({ connections, processes, workers }) =>
      `${connections} connections; ${processes} processes of PHP; ${workers} workers of the server`,
    start: async (site, settings) => ({ servers: await startAll(site, settings) }),
    // mod_fcgid starts its processes one by one, when requests have waited.
    prepare: (server, settings) => wrk(ask(server, pages[0]), settings, 2),
    cases: () =>
      pages.map((page) => ({
        ...{ id: page.id, label: page.label, goals },
        ask: (server) => ask(server, page),
      })),
    notes: ['(programs are in the gateway, those of mod_fcgid in the server; MB with them)'],
  });
}
