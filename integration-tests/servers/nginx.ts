// SPDX-License-Identifier: Apache-2.0
// nginx with our module: the part of its configuration that all tests share, and how it is run.

import { nginxModule } from './checkout.ts';
import { commandLine } from './processes.ts';
import { files, type Place, type WebServer } from './web-server.ts';

const program = '/usr/sbin/nginx';
const workers = 2;

function configuration(place: Place, text: string): string {
  const { dir, runtimeDir, user, group } = place;
  const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  return `
${user ? `user ${user} ${group};` : ''}
load_module ${nginxModule};
pid ${files.pid(place)};
error_log ${files.errorLog(place)} info;
worker_processes ${workers};
events { worker_connections 1024; }
http {
  log_format usher '"$request" $status class=$usher_class state=$usher_state '
                   'wait_ms=$usher_wait_ms';
  access_log ${files.accessLog(place)} usher;
${temporary.map((name) => `  ${name}_temp_path ${dir}/${name};`).join('\n')}
  default_type text/plain;
  usher_runtime_dir ${runtimeDir};
${text}
}
`;
}

/** A worker takes this name when it is about to serve. */
export const hasNginxWorkers = (children: readonly number[]): boolean =>
  children.filter((pid) => commandLine(pid).includes('worker process')).length >= workers;

const command = (place: Place): string[] => [
  program,
  ...['-p', place.dir],
  ...['-c', files.configuration(place)],
  ...['-e', files.errorLog(place)],
];

export const nginx: WebServer = {
  name: 'nginx',
  kind: 'nginx',
  hasHttp2: true,
  configuration,
  startCommand: command,
  checkCommand: (place) => [...command(place), '-t'],
  hasBegun: hasNginxWorkers,
  reloadSignal: 'SIGHUP',
  endingSignals: { TERM: 'SIGTERM', graceful: 'SIGQUIT', KILL: 'SIGKILL' },
};

/** What `include fastcgi_params` means in the tests: the parameters of the file that nginx ships. */
export const fastcgiParams = `
fastcgi_param  QUERY_STRING       $query_string;
fastcgi_param  REQUEST_METHOD     $request_method;
fastcgi_param  CONTENT_TYPE       $content_type;
fastcgi_param  CONTENT_LENGTH     $content_length;
fastcgi_param  SCRIPT_NAME        $fastcgi_script_name;
fastcgi_param  REQUEST_URI        $request_uri;
fastcgi_param  DOCUMENT_URI       $document_uri;
fastcgi_param  DOCUMENT_ROOT      $document_root;
fastcgi_param  SERVER_PROTOCOL    $server_protocol;
fastcgi_param  REQUEST_SCHEME     $scheme;
fastcgi_param  GATEWAY_INTERFACE  CGI/1.1;
fastcgi_param  SERVER_SOFTWARE    nginx/$nginx_version;
fastcgi_param  REMOTE_ADDR        $remote_addr;
fastcgi_param  REMOTE_PORT        $remote_port;
fastcgi_param  SERVER_ADDR        $server_addr;
fastcgi_param  SERVER_PORT        $server_port;
fastcgi_param  SERVER_NAME        $server_name;
fastcgi_param  REDIRECT_STATUS    200;
`;
