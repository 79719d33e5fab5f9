// SPDX-License-Identifier: Apache-2.0
// What the demonstration serves, and the two configurations that serve it.

import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { root } from '../scripts/run.mjs';

const isRoot = process.getuid() === 0;
const apps = `${root}/integration-tests/apps`;

const pages = [
  { path: '/page.php', about: 'PHP: php-cgi as a named class, started at its first request' },
  { path: '/perl.fcgi', about: 'Perl with CGI::Fast: any executable below the document root' },
  { path: '/python.fcgi', about: 'Python without any library' },
  { path: '/c.fcgi', about: 'C with libfcgi; try ?sleep=500&text=slept, many at once' },
  { path: '/words.cgi', about: 'a plain CGI program in Perl, one process for each request' },
  { path: '/git', about: 'gitweb over FastCGI' },
  { path: '/map', about: 'a map drawn by MapServer' },
  { path: '/broken.fcgi', about: 'a program that cannot start: 503, and usher status says why' },
];

/** Makes the files. */
export function makeSite(ports) {
  const directory = mkdtempSync(join(tmpdir(), 'usher-demo-'));
  chmodSync(directory, 0o755); // programs run as the web servers' user
  const docs = join(directory, 'docs');
  const runtimeDir = join(directory, 'run');
  for (const name of ['docs', 'apache', 'nginx', 'map', 'git']) mkdirSync(join(directory, name));

  const programs = {
    'page.php': `${apps}/page.php`,
    'perl.fcgi': `${apps}/form.pl`,
    'python.fcgi': `${apps}/hello.py`,
    'c.fcgi': `${root}/build/apps/echo`,
    'words.cgi': `${apps}/words.cgi`,
    'broken.fcgi': `${apps}/exits-with-stderr`,
  };
  for (const [name, source] of Object.entries(programs)) {
    copyFileSync(source, join(docs, name));
    chmodSync(join(docs, name), name.endsWith('.php') ? 0o644 : 0o755);
  }
  writeFileSync(join(docs, 'index.html'), indexPage());
  for (const name of ['mapserver.conf', 'places.map']) {
    copyFileSync(`${apps}/${name}`, join(directory, 'map', name));
  }
  makeRepository(directory);

  const place = { directory, docs, runtimeDir, ports };
  const servers = [
    {
      name: 'Apache',
      port: ports.apache,
      command: ['/usr/sbin/apache2', '-DFOREGROUND', '-f', join(directory, 'apache', 'httpd.conf')],
    },
    {
      name: 'nginx',
      port: ports.nginx,
      command: [
        '/usr/sbin/nginx',
        ...['-p', join(directory, 'nginx'), '-c', join(directory, 'nginx', 'nginx.conf')],
        ...['-e', join(directory, 'nginx', 'error.log')],
      ],
    },
  ];
  writeFileSync(join(directory, 'apache', 'httpd.conf'), apacheConfiguration(place));
  writeFileSync(join(directory, 'nginx', 'nginx.conf'), nginxConfiguration(place));
  return { directory, runtimeDir, pages, servers };
}

/** A small repository for gitweb: the texts of this project. */
function makeRepository(directory) {
  const work = join(directory, 'git', 'demo');
  const git = (...args) =>
    execFileSync(
      'git',
      ['-C', work, '-c', 'user.name=Usher', '-c', 'user.email=usher@localhost', ...args],
      {
        stdio: 'ignore',
      },
    );
  mkdirSync(work);
  git('init', '--initial-branch=main');
  for (const name of ['README.md', 'ARCHITECTURE.md']) {
    copyFileSync(join(root, name), join(work, name));
    git('add', name);
    git('commit', '-m', `Add ${name}`);
  }
  writeFileSync(join(work, '.git', 'description'), 'the texts of Usher\n');
  writeFileSync(
    join(directory, 'git', 'gitweb.conf'),
    `our $projectroot = '${join(directory, 'git')}';\nour $site_name = 'Usher demonstration';\n1;\n`,
  );
  // gitweb runs as another user, and git asks whose repository it is.
  writeFileSync(join(directory, 'git', 'gitconfig'), '[safe]\n\tdirectory = *\n');
}

function nginxConfiguration({ directory, docs, runtimeDir, ports }) {
  const own = join(directory, 'nginx');
  return `# nginx with Usher: the demonstration.
load_module ${root}/build/ngx_http_usher_module.so;
daemon off;
${isRoot ? 'user www-data;' : ''}
worker_processes 2;
pid ${own}/nginx.pid;
error_log ${own}/error.log notice;
events {}
http {
    ${['client_body', 'fastcgi', 'proxy', 'scgi', 'uwsgi'].map((name) => `${name}_temp_path ${own}/${name};`).join('\n    ')}
    types { text/html html; }
    log_format usher '$request_uri $status $usher_class $usher_state $usher_wait_ms';
    access_log ${own}/access.log usher;

    usher_runtime_dir ${runtimeDir};
    usher_dashboard 127.0.0.1:${ports.dashboard};
    usher_app php command=php-cgi on_demand=4 idle_stop=60;
    usher_app gitweb "command=/usr/lib/cgi-bin/gitweb.cgi --fcgi" on_demand=2 idle_stop=60;
    usher_app mapserver command=/usr/lib/cgi-bin/mapserv on_demand=2 idle_stop=60 stop_timeout=1
              initial_env=MAPSERVER_CONFIG_FILE=${directory}/map/mapserver.conf;
    usher_config idle_stop=60 max_class_processes=8;

    fastcgi_param QUERY_STRING $query_string;
    fastcgi_param REQUEST_METHOD $request_method;
    fastcgi_param CONTENT_TYPE $content_type;
    fastcgi_param CONTENT_LENGTH $content_length;
    fastcgi_param REQUEST_URI $request_uri;
    fastcgi_param DOCUMENT_ROOT $document_root;
    fastcgi_param SERVER_PROTOCOL $server_protocol;
    fastcgi_param GATEWAY_INTERFACE CGI/1.1;
    fastcgi_param SERVER_SOFTWARE nginx/$nginx_version;
    fastcgi_param REMOTE_ADDR $remote_addr;
    fastcgi_param SERVER_NAME 127.0.0.1;
    fastcgi_param SERVER_PORT $server_port;
    fastcgi_param REDIRECT_STATUS 200;
    fastcgi_param SCRIPT_NAME $fastcgi_script_name;
    fastcgi_param PATH_INFO $fastcgi_path_info;
    fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
    # Programs built on libfcgi or CGI::Fast see these, and no environment, at each request.
    fastcgi_param GITWEB_CONFIG ${directory}/git/gitweb.conf;
    fastcgi_param GIT_CONFIG_GLOBAL ${directory}/git/gitconfig;
    fastcgi_param PATH /usr/local/bin:/usr/bin:/bin;
    fastcgi_param MS_MAPFILE ${directory}/map/places.map;

    server {
        listen 127.0.0.1:${ports.nginx};
        root ${docs};
        location ~ \\.php$ { usher_pass php; }
        location ~ \\.fcgi(/|$) {
            fastcgi_split_path_info ^(.+?\\.fcgi)(/.*)$;
            usher_pass $document_root$fastcgi_script_name;
        }
        location ~ \\.cgi$ { usher_pass $document_root$fastcgi_script_name protocol=cgi; }
        location /git {
            fastcgi_split_path_info ^(/git)(/?.*)$;
            usher_pass gitweb;
        }
        location = /map {
            set $args mode=map;
            usher_pass mapserver;
        }
    }
}
`;
}

function apacheConfiguration({ directory, docs, runtimeDir, ports }) {
  const own = join(directory, 'apache');
  const modules = spawnSync('apxs', ['-q', 'LIBEXECDIR'], { encoding: 'utf8' }).stdout.trim();
  const load = (name) =>
    existsSync(`${modules}/mod_${name}.so`)
      ? `LoadModule ${name}_module ${modules}/mod_${name}.so`
      : '';
  return `# Apache httpd with Usher: the demonstration.
ServerRoot ${own}
DefaultRuntimeDir ${own}
PidFile ${own}/httpd.pid
Listen 127.0.0.1:${ports.apache}
ServerName 127.0.0.1
${['mpm_event', 'authz_core', 'mime', 'dir', 'env', 'rewrite'].map(load).join('\n')}
LoadModule usher_module ${root}/build/mod_usher.so
${isRoot ? 'User www-data\nGroup www-data' : ''}
ErrorLog ${own}/error.log
LogFormat "%U %>s %{usher_class}n %{usher_state}n %{usher_wait_ms}n" usher
CustomLog ${own}/access.log usher
TypesConfig /dev/null
AddType text/html .html
DocumentRoot ${docs}
DirectoryIndex index.html

UsherRuntimeDir ${runtimeDir}
AppClass php -command php-cgi -on-demand 4 -idle-stop 60
AppClass gitweb -command "/usr/lib/cgi-bin/gitweb.cgi --fcgi" -on-demand 2 -idle-stop 60
AppClass mapserver -command /usr/lib/cgi-bin/mapserv -on-demand 2 -idle-stop 60 -stop-timeout 1 \\
    -initial-env MAPSERVER_CONFIG_FILE=${directory}/map/mapserver.conf
FCGIConfig -idle-stop 60 -maxClassProcesses 8

<Directory ${docs}>
    Require all granted
    Options +ExecCGI
    AddHandler fastcgi-script .fcgi
    AddHandler usher-cgi .cgi
    <FilesMatch \\.php$>
        UsherPass php
    </FilesMatch>
</Directory>
# Programs built on libfcgi or CGI::Fast see these, and no environment, at each request.
<Location /git>
    Require all granted
    UsherPass gitweb
    SetEnv GITWEB_CONFIG ${directory}/git/gitweb.conf
    SetEnv GIT_CONFIG_GLOBAL ${directory}/git/gitconfig
</Location>
RewriteEngine on
RewriteRule ^/map$ /map?mode=map [PT]
<Location /map>
    Require all granted
    UsherPass mapserver
    SetEnv MS_MAPFILE ${directory}/map/places.map
</Location>
`;
}

function indexPage() {
  const rows = pages.map(
    ({ path, about }) => `<tr><td><a href="${path}">${path}</a><td>${about}</tr>`,
  );
  return `<!doctype html>
<meta charset="utf-8">
<title>Usher</title>
<style>
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1rem }
  td { padding: .2rem 1rem .2rem 0 } code { background: #eee; padding: 0 .3em }
</style>
<h1>Usher</h1>
<p>Nothing runs yet: each of these programs is started when somebody asks for it, and stopped after
a minute in which nobody does. Apache and nginx share them.</p>
<table>${rows.join('\n')}</table>
<p>To try: open one of them on both servers and compare the process ids; ask for
<code>/c.fcgi?sleep=500&amp;text=slept</code> twenty times at once and see how many copies run;
reload a server, or kill the manager (<code>usherd</code>), while you do; kill a program.
<code>usher status</code> shows what happens.</p>
`;
}
