// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { includedFiles, usesIn as usesInApache } from './apache.ts';
import { usesIn as usesInNginx } from './nginx.ts';

t.test('nginx: what is of ours, and nothing else', async (t) => {
  const dump = `nginx: the configuration file is ok
# configuration file /etc/nginx/nginx.conf:
load_module modules/ngx_http_echo_module.so;
load_module /usr/local/lib/usher/build/ngx_http_usher_module.so;
http {
    # usher_app php command=php-cgi;
    log_format load '$remote_addr $usher_state'; # the state
    include usher_of_the_house.conf;
    set $usher 1;
# configuration file /etc/nginx/sites-enabled/a b:

usher_app php
    command=php-cgi;
server { location / { root /x;usher_pass php; } }
server { location / { proxy_pass http://usher_pass.example; } }
}
`;
  t.same(
    usesInNginx(dump).map(({ file, line }) => [file, line]),
    [
      ['/etc/nginx/nginx.conf', 2],
      ['/etc/nginx/nginx.conf', 5],
      ['/etc/nginx/sites-enabled/a b', 2],
      ['/etc/nginx/sites-enabled/a b', 4],
    ],
  );
});

t.test('Apache', async (t) => {
  const dump = `Included configuration files:
  (*) /etc/apache2/apache2.conf
    (146) /etc/apache2/mods-enabled/usher.load
    (225) /etc/apache2/sites-enabled/a b.conf
Syntax OK
`;
  const [main = '', load = '', site = ''] = includedFiles(dump);
  t.same(
    [main, load, site],
    [
      '/etc/apache2/apache2.conf',
      '/etc/apache2/mods-enabled/usher.load',
      '/etc/apache2/sites-enabled/a b.conf',
    ],
  );
  const texts: Record<string, string> = {
    [main]:
      'Include a\n#AppClass php\n<IfModule mod_usher.c>\n<IfModule mod_mime.c>\nAppClass a\n</IfModule>\n</IfModule>\nFcgidMaxProcesses 4\n',
    [load]: 'LoadModule usher_module /usr/local/lib/usher/build/mod_usher.so\n',
    [site]:
      '<Location /a>\n  usherPass php\n</Location>\n<IfModule !mod_usher.c>\nAppClass b\n</IfModule>\n<IfModule mod_fcgid.c>\nFcgidWrapper a\n</IfModule>\n',
  };
  const read = (path: string): string[] => (texts[path] ?? '').split('\n');
  const uses = (ignored: string[]): unknown =>
    usesInApache([main, load, site], read, new Set(ignored)).map(({ file, line }) => [file, line]);
  t.same(uses([load]), [
    [main, 8],
    [site, 2],
    [site, 5],
  ]);
  t.same(uses([]), [
    [main, 8],
    [load, 1],
    [site, 2],
    [site, 5],
  ]);
  texts[load] += 'LoadModule fcgid_module a.so\n';
  t.same(
    uses([load]),
    [
      [site, 2],
      [site, 5],
    ],
    'mod_fcgid knows its own directives',
  );
});
