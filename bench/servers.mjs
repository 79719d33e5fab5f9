// SPDX-License-Identifier: Apache-2.0
// The five ways to the same program: stock nginx, nginx with Usher, Apache with mod_proxy_fcgi, with
// mod_fcgid, with Usher. Within a server the configurations differ by the way alone.

import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync } from 'node:fs';
import { root } from '../scripts/run.mjs';
import { families, installed, programOf } from './machine.mjs';
import { eventually, freePort, launcherOf, user, usherStatus } from './site.mjs';
import { wrk } from './wrk.mjs';

const paths = installed();

/** Of nginx's configuration. */
export const loadUsher = `load_module ${root}/build/ngx_http_usher_module.so;`;

// ---- nginx

function nginxConfiguration({ dir, port, workers, modules = '', http = '', location }) {
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
${user && `user ${user} ${user};`}
${modules}
daemon off;
pid ${dir}/pid;
error_log ${dir}/error.log warn;
worker_processes ${workers};
events { worker_connections 1024; }
http {
  access_log off;
  keepalive_requests 1000000000;
${temporary.map((name) => `  ${name}_temp_path ${dir}/${name};`).join('\n')}
${http}
  server {
    listen 127.0.0.1:${port};
    root ${dir}/docs;
    include ${paths.fastcgiParams};
${location}
  }
}
`;
}

// ---- Apache

function apacheConfiguration({ dir, port, workers, threads, modules, text }) {
  const own = ['mpm_event', 'authz_core', 'alias', 'mime', ...modules];
  return `
ServerRoot ${dir}
DefaultRuntimeDir ${dir}
PidFile ${dir}/pid
ErrorLog ${dir}/error.log
LogLevel warn
ServerName 127.0.0.1
${own.map((name) => `LoadModule ${name}_module ${modulePath(name)}`).join('\n')}
${user && `User ${user}\nGroup ${user}`}
Listen 127.0.0.1:${port}
TypesConfig /dev/null
ServerLimit ${workers}
StartServers ${workers}
ThreadsPerChild ${threads}
ThreadLimit ${threads}
MaxRequestWorkers ${workers * threads}
MinSpareThreads 1
MaxSpareThreads ${workers * threads}
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 60
DocumentRoot ${dir}/docs
# As Debian has it: else each request looks for .htaccess in each directory above its file.
<Directory />
  Options FollowSymLinks
  AllowOverride None
  Require all denied
</Directory>
<Directory ${dir}/docs>
  Require all granted
</Directory>
${text}
`;
}

function modulePath(name) {
  return name === 'usher' ? `${root}/build/mod_usher.so` : `${paths.apacheModules}/mod_${name}.so`;
}

// ---- starting one

const kinds = {
  nginx: {
    configuration: nginxConfiguration,
    command: (dir) => [paths.nginx, ['-p', dir, '-c', `${dir}/conf`, '-e', `${dir}/error.log`]],
  },
  apache: {
    configuration: apacheConfiguration,
    command: (dir) => [paths.apache, ['-d', dir, '-f', `${dir}/conf`, '-DFOREGROUND']],
  },
};

/** Starts a server in the site's directory `name`; `text` fills in what its kind needs. */
export async function startServer(site, kind, name, settings, text) {
  const dir = `${site.dir}/${name}`;
  const port = await freePort();
  mkdirSync(`${dir}/docs`, { recursive: true });
  chmodSync(dir, 0o755);
  const configuration = kinds[kind].configuration({ dir, port, ...settings, ...text });
  site.write(`${name}/conf`, configuration);
  const pid = site.start(name, ...kinds[kind].command(dir));
  await site.accepts(name, port);
  return { name, dir, port, pid, configuration };
}

/** Copies of the program that share one socket, `name`.sock; their process ids. */
export function startProgram(site, program, processes, args = [], name = 'program') {
  const socket = `${site.dir}/${name}.sock`;
  const pidFile = `${site.dir}/${name}.pids`;
  const asUser = user ? ['-u', user, '-g', user] : [];
  const { status, stderr } = spawnSync(
    paths.spawnFcgi,
    [
      ...['-s', socket, '-M', '0666', '-F', String(processes), '-P', pidFile],
      ...[...asUser, '--', program, ...args],
    ],
    { encoding: 'utf8', stdio: ['ignore', 'ignore', 'pipe'] },
  );
  const pids = status === 0 ? readFileSync(pidFile, 'utf8').trim().split(/\s+/).map(Number) : [];
  for (const pid of pids) site.watch(pid, program);
  if (status !== 0) throw new Error(`spawn-fcgi ended with ${status}: ${stderr}`);
  return { socket, pids };
}

/** Waits until the class of this name has all its instances ready. */
export async function instancesReady(runtimeDir, name, processes) {
  await eventually(`${processes} instances of ${name} are ready`, () => {
    const known = usherStatus(runtimeDir)?.classes.find((candidate) => candidate.name === name);
    return known?.instances.filter(({ state }) => state === 'ready').length === processes;
  });
}

/**
 * Those of the five with the ids in `only`, or all. Each: `ancestors` of all processes that work for it, and
 * with Usher its `runtimeDir`. The program is at /echo.
 * @param alone Both web servers without any program too: /echo is a file that holds what the program says
 *   to `text=hello`. So they tell what a way that costs nothing would leave.
 * @param app program (its file), processes, concurrency, options: more of its class, as `{nginx, apache}`
 */
export async function startAll(site, { workers, threads, only, alone = false, ...rest }) {
  const app = { program: site.program('echo.fcgi'), concurrency: 1, options: {}, ...rest };
  const { program, processes } = app;
  const isWanted = (id) => only?.includes(id) ?? (alone || !id.endsWith('-alone'));
  const stock = ['nginx-stock', 'apache-proxy'].some(isWanted)
    ? startProgram(site, program, processes)
    : undefined;
  const servers = [];
  const add = async (id, label, kind, text, { pids: others = [], runtimeDir } = {}) => {
    const server = await startServer(site, kind, id, { workers, threads }, text);
    const ancestors = [server.pid, ...others];
    if (runtimeDir !== undefined) {
      await instancesReady(runtimeDir, 'echo', processes);
      ancestors.push(launcherOf(runtimeDir));
    }
    servers.push({ ...server, id, label, program, ancestors, runtimeDir });
  };
  const file = site.write('echo.txt', 'hello');
  const start = {
    'nginx-alone': (id) =>
      add(id, 'nginx alone, a file', 'nginx', { location: `location /echo { alias ${file}; }` }),
    'apache-alone': (id) =>
      add(id, 'Apache alone, a file', 'apache', {
        modules: [],
        text: `Alias /echo ${file}\n<Files echo.txt>\n  Require all granted\n</Files>`,
      }),
    'nginx-stock': (id) => add(id, 'nginx fastcgi_pass', 'nginx', stockNginx(stock.socket), stock),
    'nginx-usher'(id) {
      const runtimeDir = site.runtimeDir('nginx-run');
      return add(id, 'nginx + Usher', 'nginx', usherNginx(runtimeDir, app), { runtimeDir });
    },
    'apache-proxy': (id) =>
      add(id, 'Apache mod_proxy_fcgi', 'apache', proxyApache(stock.socket), stock),
    'apache-usher'(id) {
      const runtimeDir = site.runtimeDir('apache-run');
      const text = usherApache(runtimeDir, site.dir, app);
      return add(id, 'Apache + Usher', 'apache', text, { runtimeDir });
    },
    'apache-fcgid': (id) => add(id, 'Apache mod_fcgid', 'apache', fcgidApache(site.dir, app)),
  };
  for (const [id, begin] of Object.entries(start)) if (isWanted(id)) await begin(id);
  return servers;
}

const stockNginx = (socket) => ({
  location: `location /echo { fastcgi_pass unix:${socket}; }`,
});

const usherNginx = (runtimeDir, { program, processes, concurrency, options }) => ({
  modules: loadUsher,
  http: `usher_runtime_dir ${runtimeDir};
usher_app echo command=${program} processes=${processes} concurrency=${concurrency} ${options.nginx ?? ''};`,
  location: 'location /echo { usher_pass echo; }',
});

const proxyApache = (socket) => ({
  modules: ['proxy', 'proxy_fcgi'],
  text: `ProxyPass /echo unix:${socket}|fcgi://127.0.0.1/echo`,
});

// Both map the URL to the program's file, so that httpd's own walk to it is the same.
const programAt = (dir, program, text) => `Alias /echo ${program}
<Directory ${dir}>
  Require all granted
${text}
</Directory>`;

const usherApache = (runtimeDir, dir, { program, processes, concurrency, options }) => ({
  modules: ['usher'],
  text: `UsherRuntimeDir ${runtimeDir}
AppClass echo -command ${program} -processes ${processes} -concurrency ${concurrency} ${options.apache ?? ''}
${programAt(dir, program, '  UsherPass echo')}`,
});

const fcgidApache = (dir, { program, processes }) => ({
  modules: ['fcgid'],
  text: `FcgidIPCDir ${dir}/apache-fcgid/ipc
FcgidProcessTableFile ${dir}/apache-fcgid/table
FcgidMaxProcesses ${processes}
FcgidMaxProcessesPerClass ${processes}
FcgidMinProcessesPerClass ${processes}
FcgidMaxRequestsPerProcess 0
FcgidIdleTimeout 0
FcgidProcessLifeTime 0
${programAt(dir, program, '  Options +ExecCGI\n  SetHandler fcgid-script')}`,
});

/** mod_fcgid starts its processes one by one, when requests have waited. */
export async function startProcesses(server, what, { processes }) {
  const running = () =>
    families(server.ancestors).filter((pid) => programOf(pid) === server.program).length;
  for (let tries = 0; tries < 10 && running() < processes; tries++) {
    await wrk(what, { connections: 4 * processes }, 1);
  }
  if (running() !== processes) {
    throw new Error(`${server.label} has ${running()} processes of ${processes}`);
  }
}
