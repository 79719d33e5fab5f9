// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import t from 'tap';
import { ConfigError } from './config-error.ts';
import { parseDialect, readDialect, type Validator } from './dialect.ts';
import { readLines } from './lines.ts';

/** Takes everything: each option becomes its words. */
const permissive: Validator = {
  parseOptions: (scope, words) => ({ scope, words }),
  checkLoopback: () => undefined,
};

/** Objects as the addon does. */
function objecting(message: string): Validator {
  const objection = Object.assign(new Error(message), { code: 'ERR_USHER_INVALID' });
  return {
    parseOptions() {
      throw objection;
    },
    checkLoopback() {
      throw objection;
    },
  };
}

function words(text: string): string[][] {
  return readLines(text, 'usher.conf').map((line) => line.words);
}

function errorOf(text: string, validator = permissive): ConfigError {
  try {
    parseDialect(text, 'usher.conf', validator);
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error('no error');
}

/** The rule of native/registration/dialect.c. */
function written(word: string): string {
  if (/^[A-Za-z0-9/._\-+:=@%,]+$/.test(word)) return word;
  return `"${word.replace(/["\\]/g, '\\$&')}"`;
}

t.test('words', (t) => {
  t.same(words('A b\tc  d '), [['A', 'b', 'c', 'd']], 'blanks separate');
  t.same(words('A "b c" "" d'), [['A', 'b c', '', 'd']], 'quotes keep blanks, and empty words');
  t.same(
    words(String.raw`A "x\"y\\z\n"`),
    [['A', String.raw`x"y\z\n`]],
    'only \\" and \\\\ are escapes',
  );
  t.same(words(String.raw`A "b\\" c`), [['A', 'b\\', 'c']], 'an escaped backslash ends nothing');
  t.same(words(`A 'b "c"' "d's"`), [['A', 'b "c"', "d's"]], 'either quote protects the other');
  t.same(
    words(String.raw`A b\c`),
    [['A', String.raw`b\c`]],
    'a backslash outside quotes is itself',
  );
  t.same(words('A #b'), [['A', '#b']], '# within a line is no comment');
  t.same(words('  # A\n#B\n\n \t\nC\r\n'), [['C']], 'comments and empty lines are skipped');
  t.end();
});

t.test('continued lines', (t) => {
  const lines = readLines('A b \\\n  c\\\nd\nE', 'usher.conf');
  t.match(lines, [
    { words: ['A', 'b', 'cd'], line: 1, source: 'usher.conf:1' },
    { words: ['E'], line: 4, source: 'usher.conf:4' },
  ]);
  t.same(words('A \\'), [['A']], 'the last line may end with a backslash');
  t.same(words('# a \\\nB'), [['B']], 'a comment is not continued');
  t.end();
});

t.test('any words written with the quoting rule are read back the same', (t) => {
  const special = fc.constantFrom('"', "'", '\\', ' ', '#', '-', '=', '/', 'a', 'é', '🙂');
  const anyUnit = fc.string({ unit: 'binary', minLength: 1, maxLength: 1 });
  const word = fc
    .string({ unit: fc.oneof(special, anyUnit) })
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the writer refuses them
    .filter((text) => !/[\x00-\x1f\x7f]/.test(text));
  const lines = fc.array(fc.array(word, { minLength: 1 }));
  fc.assert(
    fc.property(lines, (lines) => {
      const text = lines.map((line) => `X ${line.map(written).join(' ')}\n`).join('');
      t.same(
        words(text),
        lines.map((line) => ['X', ...line]),
      );
    }),
  );
  t.end();
});

t.test('any text is read or refused with a line', (t) => {
  const unit = fc.constantFrom('"', "'", '\\', ' ', '\n', '#', 'a', '\t', '\r', '\x01');
  fc.assert(
    fc.property(fc.string({ unit, maxLength: 40 }), (text) => {
      for (const { words, error } of readLines(text, 'f')) {
        t.ok(words.length > 0);
        t.ok(error === null || error instanceof ConfigError);
      }
    }),
  );
  t.end();
});

t.test('a registration', (t) => {
  const text = `UsherServer nginx-0badcafe -generation 3 -kind nginx -pid 4711 -user "#33" -group www-data -configuration /etc/nginx/nginx.conf
# at /etc/nginx/nginx.conf:12
AppClass php -command "php-cgi -c /etc/x"
# at /etc/nginx/sites/a b.conf:7
ExternalAppClass tomcat -host 127.0.0.1:9000
AppClass /srv/plain.fcgi
FCGIConfig -maxProcesses 5
UsherRoot /srv/www
UsherRoot "/srv/my sites"
`;
  t.strictSame(parseDialect(text, '/run/usher/servers/nginx.3.conf', permissive), {
    classes: [
      {
        scope: 'static',
        name: 'php',
        options: { scope: 'static', words: ['-command', 'php-cgi -c /etc/x'] },
        source: '/etc/nginx/nginx.conf:12',
      },
      {
        scope: 'external',
        name: 'tomcat',
        options: { scope: 'external', words: ['-host', '127.0.0.1:9000'] },
        source: '/etc/nginx/sites/a b.conf:7',
      },
      {
        scope: 'static',
        name: '/srv/plain.fcgi',
        options: { scope: 'static', words: [] },
        source: '/run/usher/servers/nginx.3.conf:6',
      },
    ],
    broken: [],
    roots: ['/srv/www', '/srv/my sites'],
    ...{ metrics: [], dashboards: [] },
    server: {
      name: 'nginx-0badcafe',
      generation: 3,
      kind: 'nginx',
      pid: 4711,
      user: '#33',
      group: 'www-data',
      configuration: '/etc/nginx/nginx.conf',
    },
    dynamic: {
      options: { scope: 'dynamic', words: ['-maxProcesses', '5'] },
      source: '/run/usher/servers/nginx.3.conf:7',
    },
  });
  t.end();
});

t.test('usher.conf', (t) => {
  const text = `UsherRuntimeDir /run/x
usherLOG /var/log/usher.log
fastcgiserver /srv/a.fcgi
FastCgiExternalServer b -socket /run/b
FCGIConfig -restart
FastCgiConfig -maxProcesses 3
`;
  const registration = parseDialect(text, 'usher.conf', permissive);
  t.match(registration, {
    runtimeDir: '/run/x',
    log: '/var/log/usher.log',
    classes: [
      { scope: 'static', name: '/srv/a.fcgi' },
      { scope: 'external', name: 'b' },
    ],
    dynamic: {
      options: { words: ['-restart', '-maxProcesses', '3'] },
      source: 'usher.conf:5',
    },
  });
  t.equal(registration.server, undefined);
  t.strictSame(parseDialect('', 'empty', permissive), {
    ...{ classes: [], broken: [], roots: [] },
    ...{ metrics: [], dashboards: [] },
  });
  t.end();
});

t.test('errors name file, line and what is allowed', (t) => {
  const server =
    'UsherServer a -generation 1 -kind nginx -pid 1 -user u -group g -configuration /c';
  const cases: [text: string, line: number, message: string][] = [
    [
      '\nFoo bar',
      2,
      'usher.conf:2: Foo is no directive; expected one of AppClass, ExternalAppClass',
    ],
    ['A "b', 1, 'usher.conf:1: the quote at column 3 is not closed'],
    ['A  "b\\"', 1, 'usher.conf:1: the quote at column 4 is not closed'],
    ["A 'b", 1, 'the quote at column 3 is not closed'],
    ['A "b"c', 1, 'no blank after the closing quote of the word at column 3'],
    ['A b"c"', 1, 'a quote inside the word at column 3; quote the whole word'],
    ['A \x01', 1, 'a control character (0x01)'],
    ['AppClass', 1, 'AppClass needs a name or path'],
    ['AppClass a\nFastCgiServer a', 2, 'class a is defined already at usher.conf:1'],
    ['UsherRoot srv', 1, 'UsherRoot srv: expected one absolute path'],
    ['UsherRoot', 1, 'expected one absolute path'],
    ['UsherLog /a /b', 1, 'expected one absolute path'],
    ['UsherRuntimeDir /a\nUsherRuntimeDir /b', 2, 'a second UsherRuntimeDir'],
    ['UsherServer ../a', 1, '"../a" is no server name'],
    ['UsherServer', 1, '"" is no server name'],
    [`${server}\n${server}`, 2, 'a second UsherServer'],
    [server.replace('-user u', ''), 1, 'UsherServer: -user is missing'],
    [server.replace('-pid 1', '-pid 0'), 1, '-pid 0: expected a whole number above 0'],
  ];
  for (const [text, line, message] of cases) {
    const error = errorOf(text);
    t.match(error.message, message);
    t.match(error, { file: 'usher.conf', line, name: 'ConfigError' });
  }
  t.end();
});

t.test('no error of a line says what stands in it: it may be a secret', (t) => {
  for (const word of ['A="s3cret"', '"A=s3cret', "'A=s3cret", '"A=s3cret"x', 'A=s3cret\x01']) {
    const { message } = errorOf(`AppClass x -initial-env ${word} -processes 2`);
    t.notMatch(message, 's3cret', word);
    t.match(message, /^usher.conf:1: ./);
  }
  t.end();
});

t.test('what the validator objects to is an error of the line', (t) => {
  const text = '# at /etc/nginx/nginx.conf:40\nAppClass x -processes many';
  const error = errorOf(text, objecting('-processes many: expected a number'));
  t.equal(error.message, '/etc/nginx/nginx.conf:40: -processes many: expected a number');
  t.match(error, { file: 'usher.conf', line: 2 });
  t.match(errorOf('FCGIConfig x', objecting('bad')).message, 'usher.conf:1: bad');
  t.end();
});

/** Objects to options that are not in pairs. */
const pairs: Validator = {
  ...permissive,
  parseOptions: (scope, words) => {
    if (words.length % 2 === 0) return { scope, words };
    throw Object.assign(new Error(`${words.at(-1)}: no value`), { code: 'ERR_USHER_INVALID' });
  },
};

t.test('one bad line costs its own class only', (t) => {
  const text = `# at /etc/n.conf:1
AppClass good -processes 2
# at /etc/n.conf:2
AppClass bad -processes
# at /etc/n.conf:3
ExternalAppClass open "-host a:1
Nonsense here
AppClass good -processes
UsherRoot relative
UsherRoot /srv
FCGIConfig -maxProcesses 5
FCGIConfig -dynamicRoot
FCGIConfig -restart 1
AppClass last -command x
`;
  const { registration, errors } = readDialect(text, 'f.conf', pairs);
  t.same(
    registration.classes.map(({ name }) => name),
    ['good', 'last'],
  );
  t.same(registration.broken, [
    { name: 'bad', reason: '/etc/n.conf:2: -processes: no value' },
    { name: 'open', reason: '/etc/n.conf:3: the quote at column 23 is not closed' },
  ]);
  t.same(registration.roots, ['/srv']);
  t.same(registration.dynamic?.options.words, ['-maxProcesses', '5', '-restart', '1']);
  t.equal(registration.brokenDynamic, 'f.conf:12: -dynamicRoot: no value');
  t.same(
    errors.map(({ line }) => line),
    [4, 6, 7, 8, 9, 12],
  );
  t.throws(() => parseDialect(text, 'f.conf', pairs), {
    name: 'ConfigError',
    line: 4,
    message: errors.map(({ message }) => message).join('\n'),
  });
  t.end();
});

t.test('where the manager is to listen', (t) => {
  const text = 'UsherMetrics 127.0.0.1:9180\nusherdashboard [::1]:80\nUsherMetrics 127.0.0.2:1\n';
  t.match(parseDialect(text, 'usher.conf', permissive), {
    metrics: ['127.0.0.1:9180', '127.0.0.2:1'],
    dashboards: ['[::1]:80'],
  });
  t.match(parseDialect('', 'usher.conf', permissive), { metrics: [], dashboards: [] });
  const message = 'usher.conf:1: 9180: expected a loopback address';
  const objection = objecting('9180: expected a loopback address');
  t.equal(errorOf('UsherMetrics 9180', objection).message, message);
  t.match(errorOf('UsherDashboard').message, /UsherDashboard: expected one address/);
  t.match(errorOf('UsherMetrics a b').message, /expected one address/);
  t.end();
});

t.test('what is no objection is passed on', (t) => {
  const broken: Validator = {
    ...permissive,
    parseOptions() {
      throw new TypeError('a bug');
    },
  };
  t.throws(() => parseDialect('AppClass x', 'usher.conf', broken), new TypeError('a bug'));
  t.end();
});
