// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { parseDialect } from '../config/dialect.ts';
import { native } from '../native/native.ts';
import { allowList } from './allow.ts';

function allowed(text: string): string[] {
  return allowList(parseDialect(text, 'usher.conf', native))
    .split('\n')
    .slice(0, -1);
}

t.test('a block for each program, with all that its start will say', async (t) => {
  t.same(
    allowed(`
AppClass php -command "/bin/echo -c /etc/x" -user www-data -group web -priority 5 -initial-env A=1 \\
  -limit nofile=64 -log /var/log/php.log -port 9000 -allow-setuid
ExternalAppClass db -host 127.0.0.1:1
AppClass /srv/a.fcgi -user u
`),
    [
      'program',
      'arg=/bin/echo',
      'arg=-c',
      'arg=/etc/x',
      'cwd=/',
      'listen=tcp:9000',
      'env=PATH=/usr/local/bin:/usr/bin:/bin',
      'env=A=1',
      'user=www-data',
      'group=web',
      'nice=5',
      'limit=nofile=64',
      'log=/var/log/php.log',
      'setuid=1',
      'program',
      'arg=/srv/a.fcgi',
      'cwd=/srv',
      'env=PATH=/usr/local/bin:/usr/bin:/bin',
      'user=u',
    ],
  );
});

t.test('what would end a line is escaped', async (t) => {
  const list = allowList({
    broken: [],
    roots: [],
    classes: [{ scope: 'static', name: '/a', source: '', options: { initialEnv: ['A=x\ny\\z'] } }],
  });
  t.match(list, /^env=A=x\\ny\\\\z$/m);
});
