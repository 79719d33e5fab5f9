// SPDX-License-Identifier: Apache-2.0
// What readers make of the finer points of each syntax, and what becomes of the units.
import t from 'tap';
import { type ApacheNode, parseApache } from './apache-syntax.ts';
import { type Migrated, migrate, serverOf } from './migrate.ts';
import type { ServerKind } from './model.ts';
import { flatten, parseNginx } from './nginx-syntax.ts';
import { readProperties, Workers } from './properties.ts';
import { Edits, rewrite } from './rewrite.ts';
import { readCommands, splitCommands } from './shell.ts';
import { expandPattern } from './source.ts';
import { findStarter, normalAddress } from './starters.ts';
import { inMemory } from './testing/golden.ts';
import { bytes, nginxSeconds, seconds, showTime } from './units.ts';

function directives(nodes: readonly ApacheNode[]): string[] {
  return nodes.flatMap((node) => {
    if (node.kind === 'section') return directives(node.children);
    if (node.kind === 'include') return node.files.flatMap((file) => directives(file.nodes));
    return [[node.name, ...node.words].join('|')];
  });
}

function from(
  kind: ServerKind,
  text: string,
  more: Record<string, string> = {},
  to = kind,
): Migrated {
  const path = kind === 'apache' ? '/c/httpd.conf' : '/c/nginx.conf';
  return migrate(
    {
      ...{
        files: [path, ...Object.keys(more).filter((one) => /\.(sh|service|ini)$/.test(one))],
        from: kind,
        to,
      },
      ...{ serverRoot: '/c', secretDirectory: '/etc/usher' },
      modules: { apache: 'mod_usher.so', nginx: 'ngx_http_usher_module.so' },
    },
    inMemory({ [path]: text, ...more }),
  );
}

function said({ report }: Migrated, subject: string): string[] {
  return report.lines
    .filter((line) => line.subject.includes(subject))
    .map(({ verdict, text }) => `${verdict}: ${text}`);
}

t.test('httpd.conf', async (t) => {
  const files = inMemory({
    '/c/httpd.conf': [
      'Define DIR "/srv/my www"',
      'LoadModule mime_module x.so',
      'Alias /a "${DIR}/x" # no comment',
      'FcgidWrapper "/bin/a -c \\"q\\"" \\',
      '    .php',
      '# a comment that goes on \\',
      'NotHere',
      '<IfModule mod_fcgid.c>',
      'A 1',
      '</IfModule>',
      '<IfModule !mod_mime.c>',
      '<IfModule mod_mime.c>',
      'B 1',
      '</IfModule>',
      '</IfModule>',
      '<IfModule mod_rewrite.c>',
      'C 1',
      '</IfModule>',
      "<ifdefine DIR>\nD 'single \\' quote'\n</IfDefine>",
      'Include conf.d/*.conf',
      'IncludeOptional nowhere/*.conf',
      'E ${UNKNOWN}',
    ].join('\n'),
    '/c/conf.d/b.conf': 'FromB 1\n',
    '/c/conf.d/a.conf': 'FromA 1\n',
    '/c/conf.d/a.conf.old': 'Never 1\n',
  });
  const { file, unknownVariables } = parseApache('/c/httpd.conf', files);
  t.same(directives(file.nodes), [
    'Define|DIR|/srv/my www',
    'LoadModule|mime_module|x.so',
    'Alias|/a|/srv/my www/x|#|no|comment',
    'FcgidWrapper|/bin/a -c "q"|.php',
    'A|1',
    "D|single ' quote",
    'FromA|1',
    'FromB|1',
    'E|${UNKNOWN}',
  ]);
  t.same([...unknownVariables.keys()], ['UNKNOWN']);
  for (const [text, message] of [
    ['<A>\n', /^\/c\/x:1: <A> is not closed/],
    ['\n</A>', /^\/c\/x:2: <\/A> without <A>/],
    ['<A>\n</B>', /:2: <\/B> where <A> of line 1 is open/],
    ['A "open', /:1: the quote " is not closed/],
    ['Include x', /Include more than/],
  ] as const) {
    t.throws(() => parseApache('/c/x', inMemory({ '/c/x': text })), { message });
  }
});

t.test('nginx.conf', async (t) => {
  const files = inMemory({
    '/c/nginx.conf': `# x { ;
a "b c" 'd\\'e' f\\ g; server{listen 80;location ~ \\.php$ {b $\{c}d;}}
content_by_lua_block { if x then y = "}" .. "{" end }
include *.inc;`,
    '/c/one.inc': 'i 1;',
  });
  const all = flatten(parseNginx('/c/nginx.conf', files).nodes);
  t.same(
    all.map(({ name, words }) => [name, ...words].join('|')),
    ["a|b c|d'e|f\\ g", 'server', 'content_by_lua_block', 'include|*.inc', 'i|1'],
  );
  t.same(all[1]?.children?.[1]?.words, ['~', '\\.php$']);
  t.same(all[1]?.children?.[1]?.children?.[0]?.words, ['${c}d']);
  for (const [text, message] of [
    ['a {', /^\/c\/x:1: the block is not closed/],
    ['a', /:1: "a" is not ended by ";"/],
    ['\n}', /:2: unexpected "}"/],
    ['a "b', /:1: the quote " is not closed/],
    ['include x;', /include more than/],
  ] as const) {
    t.throws(() => parseNginx('/c/x', inMemory({ '/c/x': text })), { message });
  }
});

t.test('workers.properties', async (t) => {
  const text =
    'x=10.0.0.\ntemplate.port=8010\nworker.a.reference=template\nworker.a.host=$(x)1\nworker.lb.balance_workers=a\nworker.lb.balance_workers=b c\n';
  const workers = new Workers(readProperties({ path: '/w', text }));
  t.equal(workers.get('a', 'host')?.value, '10.0.0.1');
  t.equal(workers.get('a', 'port')?.value, '8010');
  t.same(workers.list('lb', 'balance_workers'), ['a', 'b', 'c']);
  t.throws(() => readProperties({ path: '/w', text: '\nno' }), {
    message: '/w:2: expected NAME=VALUE',
  });
});

t.test('command lines', async (t) => {
  t.same(splitCommands(`a 'b c' "d $X" e\\ f; g && h # i`, new Map([['X', '1']])), [
    ['a', 'b c', 'd 1', 'e f'],
    ['g'],
    ['h'],
  ]);
  const text = 'A=1\nexport B="$A"\nC=3 exec spawn-fcgi -p 9000 \\\n  -- x\n';
  const [line] = readCommands({ path: '/s.sh', text });
  t.same(line?.words, ['spawn-fcgi', '-p', '9000', '--', 'x']);
  t.same(
    [...(line?.env ?? [])].filter(([name]) => name !== 'A'),
    [
      ['B', '1'],
      ['C', '3'],
    ],
  );
  t.equal(line?.span.line, 3);
  t.equal(normalAddress('/var/run/a.sock'), normalAddress('unix:/run/a.sock'));
  for (const one of ['9000', 'localhost:9000', '*:9000', '[::]:9000', '127.0.0.1:9000']) {
    t.equal(normalAddress(one), '127.0.0.1:9000');
  }
  t.equal(findStarter([], 'x:1'), undefined);
});

t.test('numbers', async (t) => {
  t.same(['5', '500ms', '2m', '1h', 'x'].map(seconds), [5, 0.5, 120, 3600, null]);
  t.same(['1h 30m', '90', '1x'].map(nginxSeconds), [5400, 90, null]);
  t.same([2, 0.5, 0.0001, 1e9].map(showTime), ['2', '500ms', '1ms', '604800']);
  t.same(['8k', '1M', '7', 'x'].map(bytes), [8192, 1_048_576, 7, null]);
});

t.test('rewriting keeps what does not change', async (t) => {
  const source = { path: '/c/a', text: 'one\n  two # says\nthree\ninclude b;\n' };
  const inner = { path: '/c/b', text: 'x\ny\n' };
  const edits = new Edits();
  const span = (of: typeof source, word: string) => {
    const start = of.text.indexOf(word);
    return { source: of, start, end: start + word.length, line: 1 };
  };
  const files = [{ source: inner, includes: [] }];
  const file = { source, includes: [{ span: span(source, 'include b;'), files }] };
  t.equal(
    rewrite(file, edits, (path) => path),
    source.text,
  );
  edits.replace(span(source, 'one'), null);
  edits.replace(span(source, 'two'), 'TWO');
  edits.insertAt(source, 0, 'zero\n');
  t.equal(
    rewrite(file, edits, (path) => path),
    'zero\n  TWO # says\nthree\ninclude b;\n',
  );
  edits.replace(span(inner, 'y'), 'Y');
  t.match(
    rewrite(file, edits, (path) => path),
    /three\n# ---- \/c\/b\nx\nY\n# ---- end of \/c\/b\n/,
  );
});

t.test('patterns of Include', async (t) => {
  const files = inMemory({ '/a/x.conf': '', '/a/y.conf': '', '/a/.z.conf': '', '/b/x': '' });
  t.same(expandPattern('/a/*.conf', files), ['/a/x.conf', '/a/y.conf']);
  t.same(expandPattern('/?/x*', files), ['/a/x.conf', '/b/x']);
  t.same(expandPattern('/a/[!x].conf', files), ['/a/y.conf']);
  t.same(expandPattern('/a/none', files), ['/a/none']);
});

t.test('whose configuration it is', async (t) => {
  t.equal(serverOf({ path: '/x', text: 'include a;\nfastcgi_pass b;\n' }), 'nginx');
  t.equal(
    serverOf({ path: '/x', text: '# x;\nFcgidWrapper a\n<Location /x>\n</Location>' }),
    'apache',
  );
  t.throws(() => serverOf({ path: '/x', text: '%%%' }), {
    message: /^\/x:1: neither httpd.conf nor/,
  });
});

t.test('units are converted, and said', async (t) => {
  const jk = from(
    'apache',
    'JkWorkerProperty worker.w.reply_timeout=90000\nJkWorkerProperty worker.w.connection_pool_timeout=90\nJkMount /* w\n',
  );
  t.match(jk.text, /-reply-timeout 90/);
  t.match(jk.text, /-connection-pool-timeout 90/);
  t.match(said(jk, 'reply_timeout'), ['taken: -reply-timeout 90 (milliseconds there)']);
  const ajp = from('apache', 'ProxyPass /a ajp://h:8009/a acquire=3000 ping=200ms timeout=7\n');
  t.match(ajp.text, /-connection-acquire-timeout 3 -prepost-timeout 200ms|-prepost-timeout 200ms/);
  const fcgid = from(
    'apache',
    'FcgidMaxProcessesPerClass 1000\nAddHandler fcgid-script .php\nFcgidWrapper /bin/p .php\n',
  );
  t.match(said(fcgid, 'FcgidMaxProcessesPerClass'), [
    'taken: at most 256 processes of a class',
    'changed: a class has 256 processes at most',
  ]);
  const nginx = from(
    'nginx',
    'server { location / { fastcgi_read_timeout 1h 30m; fastcgi_pass 10.0.0.1:9000; } }',
    {},
    'apache',
  );
  t.match(nginx.text, /-idle-timeout 5400/);
});

t.test('httpd’s rules of order', async (t) => {
  const order = from('apache', 'ProxyPass /a/static !\nProxyPass /a ajp://h:8009/a\n').text;
  t.ok(
    order.indexOf('<Location "/a">') < order.indexOf('<Location "/a/static">'),
    'the first ProxyPass is the last section',
  );
  const forced = from(
    'apache',
    '<Directory /d>\nSetHandler none\n</Directory>\nFcgidWrapper /bin/p .php\n',
  );
  t.match(said(forced, 'FcgidWrapper').join('\n'), /changed: no handler fcgid-script here/);
  const inner = from(
    'apache',
    'DocumentRoot /d\nAddHandler fcgid-script .php\nFcgidWrapper /bin/old .php\n<Directory /d/new>\nFcgidWrapper /bin/new .php\n</Directory>\n',
  ).text;
  t.match(inner, /<FilesMatch "\(\?i\)\\\.php\(\\\.\|\$\)">\n {4}UsherPass "old"/);
  t.match(inner, /<Directory \/d\/new>\n<FilesMatch [^\n]+\n {4}UsherPass "new"/);
});

t.test('programs by address', async (t) => {
  const location =
    'server { root /s; location / { fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name; fastcgi_pass unix:/run/a.sock; } }';
  const external = from('nginx', location);
  t.match(external.text, /usher_external_app a socket=\/run\/a.sock concurrency=32;/);
  const started = from('nginx', location, {
    '/c/s.sh': 'spawn-fcgi -s /var/run/a.sock -u u -F 3 -- /bin/app --x "y z"\n',
  });
  t.match(started.text, /usher_app app "command=\/bin\/app --x 'y z'" processes=3 user=u;/);
  const other = from('nginx', location, { '/c/s.sh': 'spawn-fcgi -s /run/b.sock -- /bin/app\n' });
  t.match(said(other, 'spawn-fcgi'), [
    /^taken/,
    /^none: nothing in the web server’s configuration goes to its address/,
  ]);
  const wrapped = from('nginx', location.replace('/run/a.sock', '/run/fcgiwrap.socket'));
  t.match(wrapped.text, /usher_pass \$document_root\$fastcgi_script_name protocol=cgi;/);
});
