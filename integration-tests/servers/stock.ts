// SPDX-License-Identifier: Apache-2.0
// Web servers as the distribution ships them, without anything of ours: clients of public addresses.

import { fastcgiParams, hasNginxWorkers } from './nginx.ts';
import { files, type Place, type WebServer } from './web-server.ts';

const nginxProgram = '/usr/sbin/nginx';
const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];

const nginxCommand = (place: Place): string[] => [
  nginxProgram,
  ...['-p', place.dir],
  ...['-c', files.configuration(place)],
  ...['-e', files.errorLog(place)],
];

/** `text` stands inside the one server section. */
export const stockNginx: WebServer = {
  name: 'stock nginx',
  kind: 'nginx',
  hasHttp2: true,
  configuration: (place, text) => `
${place.user ? `user ${place.user} ${place.group};` : ''}
pid ${files.pid(place)};
error_log ${files.errorLog(place)} info;
worker_processes 2;
events { worker_connections 1024; }
http {
  access_log ${files.accessLog(place)};
${temporary.map((name) => `  ${name}_temp_path ${place.dir}/${name};`).join('\n')}
  server {
    listen 127.0.0.1:${place.ports[0]};
${fastcgiParams}
${text}
  }
}
`,
  startCommand: nginxCommand,
  checkCommand: (place) => [...nginxCommand(place), '-t'],
  hasBegun: hasNginxWorkers,
  reloadSignal: 'SIGHUP',
  endingSignals: { TERM: 'SIGTERM', graceful: 'SIGQUIT', KILL: 'SIGKILL' },
};

const apacheModules = '/usr/lib/apache2/modules';
const loadedModules = 'mpm_event authz_core env setenvif proxy proxy_ajp jk'.split(' ');

const apacheCommand = (place: Place): string[] => [
  '/usr/sbin/apache2',
  ...['-d', place.dir],
  ...['-f', files.configuration(place)],
];

/** One process, so that connections to an engine are in one pool. */
export const stockApache: WebServer = {
  name: 'stock Apache',
  kind: 'apache',
  hasHttp2: false,
  configuration: (place, text) => `
ServerRoot ${place.dir}
DefaultRuntimeDir ${place.dir}
PidFile ${files.pid(place)}
ErrorLog ${files.errorLog(place)}
LogLevel info
ServerName 127.0.0.1
${loadedModules.map((name) => `LoadModule ${name}_module ${apacheModules}/mod_${name}.so`).join('\n')}
${place.user ? `User ${place.user}\nGroup ${place.group}` : ''}
StartServers 1
ServerLimit 1
ThreadsPerChild 16
MaxRequestWorkers 16
Listen 127.0.0.1:${place.ports[0]}
LogFormat "\\"%r\\" %>s" plain
CustomLog ${files.accessLog(place)} plain
DocumentRoot ${place.docs}
${text}
`,
  startCommand: (place) => [...apacheCommand(place), '-k', 'start'],
  checkCommand: (place) => [...apacheCommand(place), '-t'],
  hasBegun: (_children, log) => log.includes('resuming normal operations'),
  reloadSignal: 'SIGUSR1',
  endingSignals: { TERM: 'SIGTERM', graceful: 'SIGWINCH', KILL: 'SIGKILL' },
};

const lighttpdCommand = (place: Place): string[] => [
  '/usr/sbin/lighttpd',
  ...['-f', files.configuration(place)],
];

export const lighttpd: WebServer = {
  name: 'lighttpd',
  kind: 'nginx', // only says which of a test's texts is for it
  hasHttp2: true,
  configuration: (place, text) => `
server.modules = ("mod_fastcgi")
server.document-root = "${place.docs}"
server.bind = "127.0.0.1"
server.port = ${place.ports[0]}
server.pid-file = "${files.pid(place)}"
server.errorlog = "${files.errorLog(place)}"
${place.user ? `server.username = "${place.user}"\nserver.groupname = "${place.group}"` : ''}
${text}
`,
  startCommand: lighttpdCommand,
  checkCommand: (place) => [...lighttpdCommand(place), '-tt'],
  hasBegun: () => true, // one process is all of it
  reloadSignal: 'SIGUSR1',
  endingSignals: { TERM: 'SIGTERM', graceful: 'SIGINT', KILL: 'SIGKILL' },
};
