// SPDX-License-Identifier: Apache-2.0
// Apache httpd with our module under one of its process models: the part of its configuration that
// all tests share, and how it is run.

import { apacheModule } from './checkout.ts';
import { files, type Place, type WebServer } from './web-server.ts';

const program = '/usr/sbin/apache2';
const modules = '/usr/lib/apache2/modules';

const loaded = 'authz_core alias mime dir env headers setenvif rewrite include http2'.split(' ');

/** Or httpd ends workers that have nothing to do for a second, and tests look which have died. */
const keepsWorkers = 'MaxSpareServers 300';

function configuration(mpm: string, place: Place, text: string): string {
  const { dir, docs, runtimeDir, ports, user, group } = place;
  const names = [`mpm_${mpm}`, ...loaded.filter((name) => mpm !== 'prefork' || name !== 'http2')];
  return `
ServerRoot ${dir}
DefaultRuntimeDir ${dir}
PidFile ${files.pid(place)}
ErrorLog ${files.errorLog(place)}
LogLevel info
ServerName 127.0.0.1
${mpm === 'prefork' ? keepsWorkers : ''}
${names.map((name) => `LoadModule ${name}_module ${modules}/mod_${name}.so`).join('\n')}
LoadModule usher_module ${apacheModule}
${user ? `User ${user}\nGroup ${group}` : ''}
Listen 127.0.0.1:${ports[0]}
LogFormat "\\"%r\\" %>s class=%{usher_class}n state=%{usher_state}n wait_ms=%{usher_wait_ms}n" usher
CustomLog ${files.accessLog(place)} usher
TypesConfig /dev/null
AddType text/html .html
DocumentRoot ${docs}
<Directory ${docs}>
  Require all granted
</Directory>
UsherRuntimeDir ${runtimeDir}
${text}
`;
}

const command = (place: Place): string[] => [
  program,
  ...['-d', place.dir],
  ...['-f', files.configuration(place)],
];

const apache = (mpm: 'event' | 'prefork'): WebServer => ({
  name: `Apache ${mpm}`,
  kind: 'apache',
  hasHttp2: mpm === 'event',
  configuration: (place, text) => configuration(mpm, place, text),
  startCommand: (place) => [...command(place), '-k', 'start'],
  checkCommand: (place) => [...command(place), '-t'],
  hasBegun: (_children, log) => log.includes('resuming normal operations'),
  reloadSignal: 'SIGUSR1',
  endingSignals: { TERM: 'SIGTERM', graceful: 'SIGWINCH', KILL: 'SIGKILL' },
});

export const apacheEvent = apache('event');
export const apachePrefork = apache('prefork');
