// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- cgi [--rounds N] [--seconds S] …`: how many requests a second of a small CGI
// program, in C and in Perl, are answered by way of Usher, fcgiwrap and mod_cgid, with as many of it at
// once. mod_cgid has no limit of its own: under it there are as many as connections.

import { root } from '../scripts/run.mjs';
import { contest, takeOf } from './contest.mjs';
import * as machine from './machine.mjs';
import { instancesReady, loadUsher, startProgram, startServer } from './servers.mjs';
import { eventually, launcherOf } from './site.mjs';

const defaults = {
  programs: 8, // at once
  gateways: 1, // of Usher, who share them
  workers: 2, // processes of the web server
};

const goals = [
  { of: 'nginx-usher', to: 'nginx-fcgiwrap', atLeast: 1.0, aim: 1.3 },
  { of: 'apache-usher', to: 'apache-cgid' },
];

const programs = [
  { id: 'c', label: 'C', file: `${root}/build/bench/page` },
  { id: 'perl', label: 'Perl', file: `${root}/bench/page.pl` },
];
const page = ({ port }, id) => ({ port, method: 'GET', path: `/${id}`, length: 1000 });

const paths = machine.installed();

// ---- the servers

function nginxFcgiwrap(all, socket) {
  return {
    location: all
      .map(
        ({ id, path }) => `location /${id} {
  fastcgi_pass unix:${socket};
  include ${paths.fastcgiParams};
  fastcgi_param SCRIPT_FILENAME ${path};
}`,
      )
      .join('\n'),
  };
}

const share = ({ programs: count, gateways }) => Math.ceil(count / gateways);

function nginxUsher(all, runtimeDir, settings) {
  const app = ({ id, path }) =>
    `usher_app ${id} command=${path} protocol=cgi processes=${settings.gateways} concurrency=${share(settings)};`;
  return {
    modules: loadUsher,
    http: `usher_runtime_dir ${runtimeDir};
${all.map(app).join('\n')}`,
    location: all.map(({ id }) => `location /${id} { usher_pass ${id}; }`).join('\n'),
  };
}

function apacheUsher(all, runtimeDir, settings) {
  const app = ({ id, path }) => `AppClass ${id} -command ${path} -protocol cgi \
-processes ${settings.gateways} -concurrency ${share(settings)}
<Location /${id}>
  UsherPass ${id}
</Location>`;
  return {
    modules: ['usher'],
    text: [`UsherRuntimeDir ${runtimeDir}`, ...all.map(app)].join('\n'),
  };
}

function apacheCgid(all, dir) {
  return {
    modules: ['cgid'],
    text: `ScriptSock ${dir}/cgid.sock
${all.map(({ id, path }) => `ScriptAlias /${id} ${path}`).join('\n')}
<Directory ${dir}>
  Require all granted
</Directory>`,
  };
}

async function startAll(site, all, settings) {
  const server = { workers: settings.workers, threads: 2 * settings.connections };
  const fcgiwrap = machine.found('fcgiwrap');
  const { socket, pids } = startProgram(site, fcgiwrap, 1, ['-c', String(settings.programs)]);
  const children = () => machine.families(pids).length > settings.programs;
  await eventually(`fcgiwrap has ${settings.programs} processes`, children);
  for (const pid of machine.families(pids)) site.watch(pid, fcgiwrap);
  const servers = [];
  const add = async (id, label, kind, text, { pids: others = [], runtimeDir } = {}) => {
    const started = await startServer(site, kind, id, server, text);
    if (runtimeDir !== undefined) {
      for (const program of all) await instancesReady(runtimeDir, program.id, settings.gateways);
      others.push(launcherOf(runtimeDir));
    }
    servers.push({ ...started, id, label, runtimeDir, ancestors: [started.pid, ...others] });
  };
  const nginxDir = site.runtimeDir('nginx-run');
  const apacheDir = site.runtimeDir('apache-run');
  await add('nginx-fcgiwrap', 'nginx + fcgiwrap', 'nginx', nginxFcgiwrap(all, socket), { pids });
  await add('nginx-usher', 'nginx + Usher', 'nginx', nginxUsher(all, nginxDir, settings), {
    runtimeDir: nginxDir,
  });
  await add('apache-cgid', 'Apache mod_cgid', 'apache', apacheCgid(all, site.dir));
  await add('apache-usher', 'Apache + Usher', 'apache', apacheUsher(all, apacheDir, settings), {
    runtimeDir: apacheDir,
  });
  return servers;
}

/** @param args As of a contest, and --of, ids of programs with commas between them. */
export function run(args) {
  const { of, rest } = takeOf(
    args,
    programs.map(({ id }) => id),
  );
  let all;
  return contest('cgi', rest, {
    defaults,
    title: ({ connections, programs: count, gateways, workers }) =>
      `${connections} connections; ${count} programs at once; ${gateways} gateways; ` +
      `${workers} workers of the server`,
    async start(site, settings) {
      all = programs.map(({ id, label, file }) => ({
        id,
        label,
        path: site.program(`page-${id}`, file),
      }));
      return { servers: await startAll(site, all, settings) };
    },
    cases: () =>
      all
        .filter(({ id }) => of.includes(id))
        .map(({ id, label }) => ({
          id,
          label: `${label} program`,
          ask: (server) => page(server, id),
          goals,
        })),
    notes: ['(gateway: with the programs that it starts; mod_cgid has that in its server)'],
  });
}
