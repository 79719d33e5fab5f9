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
      'listen=tcp:9000',
      'arg=/bin/echo',
      'arg=-c',
      'arg=/etc/x',
      'cwd=/',
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

t.test('gateways: with all that decides what they may run', async (t) => {
  const path = 'env=PATH=/usr/local/bin:/usr/bin:/bin';
  t.same(
    allowed(`
AppClass /srv/env.cgi -protocol cgi -user u -limit core=0 -limit nofile=1K -priority 3
AppClass git -protocol cgi -command "/bin/echo 'a b'" -user u -allow-setuid
AppClass files -protocol cgi -user u -limit cpu=9
ExternalAppClass shop -protocol ajp -host a:8009 -secret-file "/etc/a b" -user v -group w -log /l
ExternalAppClass old -protocol ajp -host a:8007 -user v
ExternalAppClass db -host 127.0.0.1:1
FCGIConfig -dynamicRoot /one
FCGIConfig -dynamicRoot /two -path-check roots
`),
    [
      ...['program', 'gateway=cgi', 'arg=--limit', 'arg=core=0', 'arg=--limit', 'arg=nofile=1K'],
      ...['arg=--program', 'arg=/srv/env.cgi', 'cwd=/', path, 'user=u', 'nice=3'],
      ...['program', 'gateway=cgi', 'arg=--program', 'arg=/bin/echo', 'arg=a b', 'cwd=/', path],
      ...['user=u', 'setuid=1'],
      ...['program', 'gateway=cgi', 'arg=--limit', 'arg=cpu=9', 'arg=--path-check', 'arg=roots'],
      ...['arg=--root', 'arg=/one', 'arg=--root', 'arg=/two', 'cwd=/', path, 'user=u'],
      ...['program', 'gateway=ajp', 'secret=/etc/a b', 'cwd=/', path, 'user=v', 'group=w'],
      ...['log=/l', 'program', 'gateway=ajp', 'cwd=/', path, 'user=v'],
    ],
  );
});

t.test('servlet engines: one for each address, with what the class says of them', async (t) => {
  const path = 'env=PATH=/usr/local/bin:/usr/bin:/bin';
  const engine = ['program', 'service=1', 'arg=/bin/echo', 'arg=run', 'cwd=/w', path, 'env=A=1'];
  engine.push('env=USHER_PROTOCOL=ajp');
  const owner = ['user=u', 'group=g', 'nice=3', 'limit=core=0', 'log=/l', 'setuid=1'];
  t.same(
    allowed(`
AppClass shop -protocol ajp -command "/bin/echo run" -host 127.0.0.1:8009,route=a -down h:1 \\
  -backup [::1]:08010,weight=2,route=b -host unix:/run/shop.sock -cwd /w -user u -group g \\
  -initial-env A=1 -priority 3 -limit core=0 -log /l -allow-setuid -secret-file /etc/s
`),
    [
      ...['program', 'gateway=ajp', 'secret=/etc/s', 'cwd=/', path, 'user=u', 'group=g'],
      ...engine,
      ...['env=USHER_ADDRESS=127.0.0.1:8009', 'env=USHER_HOST=127.0.0.1', 'env=USHER_PORT=8009'],
      ...['env=USHER_ROUTE=a', ...owner],
      ...[...engine, 'env=USHER_ADDRESS=unix:/run/shop.sock', ...owner],
      ...[...engine, 'env=USHER_ADDRESS=[::1]:08010', 'env=USHER_HOST=::1', 'env=USHER_PORT=8010'],
      ...['env=USHER_ROUTE=b', ...owner],
    ],
  );
});

t.test(
  'a gateway for files goes by the roots, whether it is said before or after them',
  async (t) => {
    t.same(
      allowed('UsherRoot /a\nAppClass files -protocol cgi -user u\nUsherRoot /b').slice(0, 9),
      [
        ...['program', 'gateway=cgi', 'arg=--path-check', 'arg=suexec'],
        ...['arg=--root', 'arg=/a', 'arg=--root', 'arg=/b', 'cwd=/'],
      ],
    );
  },
);

t.test('what would end a line is escaped', async (t) => {
  const list = allowList({
    broken: [],
    roots: [],
    ...{ metrics: [], dashboards: [] },
    classes: [{ scope: 'static', name: '/a', source: '', options: { initialEnv: ['A=x\ny\\z'] } }],
  });
  t.match(list, /^env=A=x\\ny\\\\z$/m);
});
