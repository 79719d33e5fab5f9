// SPDX-License-Identifier: Apache-2.0
// Whatever a configuration says: readers fail with file and line only, what is printed can be read
// again, nothing is left without a word, and no secret gets out.
import fc from 'fast-check';
import t from 'tap';
import { holds } from '../testing/properties.ts';
import { parseApache } from './apache-syntax.ts';
import { type Migrated, migrate } from './migrate.ts';
import type { ServerKind } from './model.ts';
import { parseNginx } from './nginx-syntax.ts';
import { parsePools } from './php-fpm.ts';
import { readProperties, Workers } from './properties.ts';
import { readCommands, readUnit } from './shell.ts';
import { type Files, MigrateError } from './source.ts';
import { inMemory } from './testing/golden.ts';

const secret = 'hush-hush-0815';

/** Runs what may fail as it should. */
function orRefused<Result>(read: () => Result): Result | null {
  try {
    return read();
  } catch (error) {
    if (error instanceof MigrateError && /^[^:]+:\d+: ./.test(error.message)) return null;
    throw error;
  }
}

const anyText = fc.oneof(
  fc.string({ unit: 'binary-ascii', maxLength: 200 }),
  fc
    .array(
      fc.constantFrom(
        'a',
        '=',
        '"',
        "'",
        '\\',
        '\n',
        ' ',
        '{',
        '}',
        ';',
        '<',
        '>',
        '#',
        '$',
        '[',
        ']',
        '*',
      ),
    )
    .map((parts) => parts.join('')),
);

const value = fc.constantFrom(
  ...[
    '80',
    '-1',
    '0',
    'x',
    '"two words"',
    '/srv/www',
    '/srv/www/a.fcgi',
    '.php',
    'fcgid-script',
    'On',
    '',
  ],
  ...[
    'fastcgi-script',
    'unix:/run/a.sock',
    '127.0.0.1:9000',
    'fcgi://127.0.0.1:9000/',
    'shop',
    '/shop/*',
  ],
  ...[
    `ajp://10.0.0.1:8009/app secret=${secret} timeout=5 ping=100ms`,
    'balancer://shop/',
    '!',
    '/shop',
    '~',
  ],
  ...[
    '"proxy:unix:/run/p.sock|fcgi://localhost"',
    '"^/(.*\\.php)$"',
    '-processes 3',
    '-host a:1',
    '${X}',
  ],
);

const apacheNames = fc.constantFrom(
  ...['FcgidWrapper', 'FcgidMaxProcesses', 'FcgidIOTimeout', 'FcgidInitialEnv', 'FcgidCmdOptions'],
  ...[
    'FastCgiServer',
    'FastCgiExternalServer',
    'FastCgiConfig',
    'AddHandler',
    'SetHandler',
    'Action',
  ],
  ...[
    'Alias',
    'ScriptAlias',
    'DocumentRoot',
    'ProxyPass',
    'ProxyPassMatch',
    'BalancerMember',
    'ProxySet',
  ],
  ...[
    'JkMount',
    'JkUnMount',
    'JkWorkersFile /workers',
    'JkWorkerProperty worker.shop.secret=hush-hush-0815',
    'Listen',
  ],
  ...[
    'JkEnvVar',
    'JkMountFile /map',
    'ApJServMount',
    'ApJServProperties',
    'ApJServManual',
    'ServerName',
    'Rewrite',
  ],
);

const apacheLine = fc
  .tuple(apacheNames, fc.array(value, { maxLength: 4 }))
  .map(([name, values]) => `${name} ${values.join(' ')}`.trim());

const apacheText = fc.letrec<{ lines: string }>((tie) => ({
  lines: fc
    .array(
      fc.oneof(
        { weight: 5, arbitrary: apacheLine },
        tie('lines').map((lines) => `<IfModule mod_fcgid.c>\n${lines}\n</IfModule>`),
        fc
          .tuple(
            fc.constantFrom(
              'Directory',
              'Location',
              'LocationMatch',
              'Files',
              'VirtualHost',
              'Proxy',
            ),
            value,
            tie('lines'),
          )
          .map(([name, argument, lines]) => `<${name} ${argument}>\n${lines}\n</${name}>`),
      ),
      { maxLength: 6 },
    )
    .map((lines) => lines.join('\n')),
})).lines;

const nginxLine = fc
  .tuple(
    fc.constantFrom(
      ...[
        'fastcgi_pass',
        'fastcgi_param SCRIPT_FILENAME',
        'root',
        'alias',
        'try_files',
        'index',
        'listen',
      ],
      ...[
        'server_name',
        'fastcgi_read_timeout',
        'fastcgi_keep_conn',
        'client_max_body_size',
        'include',
      ],
    ),
    fc.constantFrom(
      'php',
      'on',
      '80',
      '/srv/x',
      '127.0.0.1:9000',
      'unix:/run/fcgiwrap.sock',
      '$a$b',
      '"a b"',
      '5m',
    ),
  )
  .map(([name, argument]) => `${name} ${argument};`);

const nginxText = fc
  .tuple(
    fc.array(nginxLine, { maxLength: 3 }),
    fc.array(
      fc.tuple(
        fc.constantFrom('/', '/app/', '= /x', '~ \\.php$', '~* "^/a/(.*)$"', '@named', '^~ /y'),
        fc.array(nginxLine, { maxLength: 5 }),
      ),
      { maxLength: 4 },
    ),
    fc.boolean(),
  )
  .map(([lines, locations, hasHttp]) => {
    const inside = locations.map(([match, body]) => `location ${match} {\n${body.join('\n')}\n}`);
    const server = `upstream php { server 10.0.0.1:9000; server 10.0.0.2:9000 backup; }\nserver {\n${lines.join('\n')}\n${inside.join('\n')}\n}\n`;
    return hasHttp ? `events {}\nhttp {\n${server}}\n` : server;
  });

const workers = `worker.list=shop\nworker.shop.type=lb\nworker.shop.balance_workers=a\nworker.a.host=h\nworker.a.secret=${secret}\n`;

function migrateText(from: ServerKind, to: ServerKind, text: string): Migrated | null {
  const files: Files = inMemory({
    '/c/main.conf': text,
    '/workers': workers,
    '/map': '/a|/*=shop\n!/a/*.gif=shop\n',
  });
  return orRefused(() =>
    migrate(
      {
        ...{ files: ['/c/main.conf'], from, to, serverRoot: '/c', secretDirectory: '/etc/usher' },
        modules: { apache: 'mod_usher.so', nginx: 'ngx_http_usher_module.so' },
      },
      files,
    ),
  );
}

function readsAgain(to: ServerKind, text: string): void {
  const files = inMemory({ '/new': text });
  if (to === 'apache') parseApache('/new', files);
  else parseNginx('/new', files);
}

t.test('any text is read, or refused with file and line', async (t) => {
  const property = fc.property(anyText, (text) => {
    const files = inMemory({ '/f': text });
    const source = { path: '/f', text };
    orRefused(() => parseApache('/f', files));
    orRefused(() => parseNginx('/f', files));
    orRefused(() => new Workers(readProperties(source)).attributes('a'));
    orRefused(() => parsePools(source));
    readCommands(source);
    readUnit(source);
  });
  await holds(t, property, 800);
});

for (const to of ['apache', 'nginx'] as const) {
  t.test(`httpd.conf to ${to}`, async (t) => {
    const property = fc.property(apacheText, (text) => {
      const result = migrateText('apache', to, text);
      if (result === null) return;
      readsAgain(to, result.text);
      if (JSON.stringify(result.report).includes(secret))
        throw new Error('the report has the secret');
    });
    await holds(t, property, 250);
  });
  t.test(`nginx.conf to ${to}`, async (t) => {
    const property = fc.property(nginxText, (text) => {
      const result = migrateText('nginx', to, text);
      if (result === null) return;
      readsAgain(to, result.text);
      if (to === 'apache') everyLineIsNamed(text, result);
    });
    await holds(t, property, 250);
  });
}

t.test('httpd.conf to nginx leaves no line without a word', async (t) => {
  const property = fc.property(apacheText, (text) => {
    const result = migrateText('apache', 'nginx', text);
    if (result !== null) everyLineIsNamed(text, result);
  });
  await holds(t, property, 250);
});

function everyLineIsNamed(text: string, { report }: Migrated): void {
  const named = new Set(
    report.lines.filter(({ file }) => file === '/c/main.conf').map(({ line }) => line),
  );
  for (const [index, line] of text.split('\n').entries()) {
    const isDirective = /^[A-Za-z_]/.test(line) && !/[{}]\s*$/.test(line);
    if (isDirective && !named.has(index + 1))
      throw new Error(`line ${index + 1} is dropped: ${line}`);
  }
}
