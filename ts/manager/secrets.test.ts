// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { isSecretName, Masker } from './secrets.ts';

const env = [
  'PATH=/usr/bin:/bin',
  'DB_PASSWORD=hunter2hunter2',
  'API_KEY="quoted"',
  'EMPTY_SECRET=',
  'DATABASE_URL=postgres://app:p@ss/w0rd@db:5432/app?sslmode=on',
  'OPTIONS=retry=3;password=inOptions;ssl=on',
  'HOUSE=tulip-red',
];
const masker = new Masker(env, ['HOUSE']);

t.test('names that sound like secrets', async (t) => {
  for (const name of ['DB_PASSWORD', 'passwd', 'MYSQL_PWD', 'AWS_SECRET_ACCESS_KEY', 'GH_TOKEN'])
    t.ok(isSecretName(name), name);
  for (const name of ['credentials', 'LDAP_PASS', 'APP_KEY', 'SENTRY_DSN', 'SESSION_COOKIE'])
    t.ok(isSecretName(name), name);
  for (const name of ['PATH', 'PWD', 'OLDPWD', 'HOME', 'LANG', 'PASSENGERS', 'COMPASS'])
    t.notOk(isSecretName(name), name);
});

t.test('an environment', async (t) => {
  t.same(masker.environment, [
    'PATH=/usr/bin:/bin',
    'DB_PASSWORD=***',
    'API_KEY=***',
    'EMPTY_SECRET=***',
    'DATABASE_URL=postgres://app:***@db:5432/app?sslmode=on',
    'OPTIONS=retry=3;password=***;ssl=on',
    'HOUSE=***',
  ]);
  const long = new Masker([`LONG=${'x'.repeat(1000)}`]).environment[0] ?? '';
  t.equal(long.length, 'LONG='.length + 257, 'a long value is cut');
  const many = new Masker(Array.from({ length: 300 }, (_, i) => `V${i}=1`)).environment;
  t.equal(many.at(-1), '… and 100 more');
});

t.test('what a program prints of it', async (t) => {
  t.equal(masker.text('login with hunter2hunter2 failed'), 'login with *** failed');
  t.equal(masker.text('no red tulip-red'), 'no red ***', 'a variable that was marked');
  t.equal(masker.text('at p@ss/w0rd'), 'at ***', 'the password out of an address');
  t.equal(masker.text('?p=p%40ss%2Fw0rd&q=1'), '?p=***&q=1', 'as addresses spell it');
  t.equal(masker.text('{"a":"\\"quoted\\""}'), '{"a":"***"}', 'as JSON spells it');
  t.equal(masker.text('inOptions'), '***');
  t.equal(masker.text('ter2hunter2 is wrong'), '*** is wrong', 'what a cut has left of it');
});

t.test('what looks like a secret by itself', async (t) => {
  const texts: [string, string][] = [
    ['redis://:pw@h', 'redis://:***@h'],
    ['mysql://u:a@b@c@h/d and http://h:80/', 'mysql://u:***@h/d and http://h:80/'],
    ['{"password": "a b", "x": 1}', '{"password": ***, "x": 1}'],
    ["api_key='abc'", 'api_key=***'],
    ['Authorization: Bearer eyJhbGciOi.x.y', 'Authorization: Bearer ***'],
    ['GET /?access_token=abc&x=1', 'GET /?access_token=***&x=1'],
    [
      '-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----',
      '-----BEGIN RSA PRIVATE KEY-----***-----END RSA PRIVATE KEY-----',
    ],
    ['-----BEGIN PRIVATE KEY-----\nMII', '-----BEGIN PRIVATE KEY-----***'],
    ["SyntaxError: Unexpected token '<'", "SyntaxError: Unexpected token '<'"],
    ["KeyError: 'name'", "KeyError: 'name'"],
  ];
  for (const [text, told] of texts) t.equal(masker.text(text), told);
});

t.test('a command line', async (t) => {
  const words = ['/x', '--db-password=abc', '--token', 'abc', '--verbose', '-k', 'hunter2hunter2'];
  t.same(masker.words(words), [
    '/x',
    '--db-password=***',
    '--token',
    '***',
    '--verbose',
    '-k',
    '***',
  ]);
  t.same(
    masker.words(['--secret', '--verbose']),
    ['--secret', '--verbose'],
    'an option has no value',
  );
});
