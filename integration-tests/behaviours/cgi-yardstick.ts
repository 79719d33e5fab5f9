// SPDX-License-Identifier: Apache-2.0
// The same programs twice in one server: at one port under Usher, at the other one under what its users
// have had so far, fcgiwrap or mod_cgid. Answers are the same, but for what is listed.

import type { Test } from 'tap';
import { type Answer, type RequestOptions, request } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { Site } from '../servers/site.ts';
import { run, startInBackground } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

const perl = '#!/usr/bin/perl\n';
const shell = '#!/bin/sh\n';
const plain = "printf 'Content-Type: text/plain\\r\\n\\r\\n'\n";

const programs: Record<string, string> = {
  'env.sh': `${shell}${plain}
    env | LC_ALL=C sort | grep -E '^(AUTH_TYPE|CONTENT_[A-Z]*|GATEWAY_INTERFACE|PATH_[A-Z]*|QUERY_STRING|REMOTE_ADDR|REMOTE_USER|REQUEST_METHOD|SCRIPT_[A-Z]*|SERVER_(NAME|PROTOCOL)|HTTP_[A-Z_]*)=.'
    for word; do echo "word: $word"; done
    echo "in $(basename "$PWD")"`,
  'status.pl': `${perl}print "Status: 404 Not Here\\r\\nX-A: 1\\r\\nX-A: 2\\r\\nSet-Cookie: a=1\\r\\nSet-Cookie: b=2\\r\\n", "Content-Type: text/plain\\r\\n\\r\\n", 'gone';`,
  'lf.sh': `${shell}printf 'Content-Type:text/plain\\nX-Spaces:   some  \\nStatus: 201\\n\\nlf\\n'`,
  'length.pl': `${perl}print "Content-Type: text/plain\\r\\nContent-Length: 5\\r\\n\\r\\nfive\\n";`,
  'short.pl': `${perl}print "Content-Type: text/plain\\r\\nContent-Length: 50\\r\\n\\r\\nfive\\n";`,
  'long.pl': `${perl}print "Content-Type: text/plain\\r\\nContent-Length: 3\\r\\n\\r\\nfive\\n";`,
  'no-type.sh': `${shell}printf 'Status: 200\\r\\n\\r\\nno type'`,
  'no-body.sh': `${shell}printf 'Content-Type: text/plain\\r\\n\\r\\n'`,
  'no-content.sh': `${shell}printf 'Status: 204\\r\\n\\r\\n'`,
  'not-modified.sh': `${shell}printf 'Status: 304 Not Modified\\r\\nETag: "a"\\r\\n\\r\\n'`,
  'modified.sh': `${shell}printf 'Content-Type: text/plain\\r\\nLast-Modified: Sat, 01 Jan 2022 00:00:00 GMT\\r\\nETag: "e"\\r\\n\\r\\nold'`,
  'local.sh': `${shell}printf 'Location: /plain.txt\\r\\n\\r\\n'`,
  'local-query.sh': `${shell}printf 'Location: /cgi-bin/env.sh/from?local=1\\r\\n\\r\\n'`,
  'local-more.sh': `${shell}printf 'Location: /plain.txt\\r\\nX-A: 1\\r\\nContent-Type: text/plain\\r\\n\\r\\nbody'`,
  'absolute.sh': `${shell}printf 'Location: http://other.example/x?y\\r\\n\\r\\n'`,
  'absolute-body.sh': `${shell}printf 'Status: 303 See Other\\r\\nLocation: http://other.example/\\r\\nContent-Type: text/plain\\r\\n\\r\\nthere'`,
  'nph-raw.pl': `${perl}print "HTTP/1.1 418 Teapot\\r\\nContent-Type: text/plain\\r\\nX-Raw: 1\\r\\n\\r\\nshort";`,
  'garbage.sh': `${shell}echo hello, world`,
  'silent.sh': `${shell}exit 0`,
  'usage.sh': `${shell}echo usage >&2; exit 64`,
  'exit.sh': `${shell}${plain}echo good; exit 3`,
  'errors.sh': `${shell}echo one-line >&2; ${plain}echo good; echo another-line >&2`,
  'crash.pl': `${perl}kill 'ABRT', $$;`,
  'crash-late.pl': `${perl}$| = 1; print "Content-Type: text/plain\\r\\n\\r\\nhalf"; kill 'ABRT', $$;`,
  'no-interpreter.sh': '#!/does/not/exist\n',
};

const echo = `#include <stdio.h>
#include <stdlib.h>
int main(void)
{
    const char *said = getenv("CONTENT_LENGTH");
    long n = 0;
    int c;
    fputs("Content-Type: application/octet-stream\\r\\n\\r\\n", stdout);
    unsigned long sum = 0;
    while ((c = getchar()) != EOF) { sum = sum * 31 + (unsigned long)c; n++; }
    printf("said %s, was %ld, %lx, %s", said ? said : "nothing", n, sum, getenv("REQUEST_METHOD"));
    return 0;
}
`;

const post = (body: string, isChunked = false): RequestOptions => ({
  method: 'POST',
  body,
  isChunked,
  headers: [['Content-Type', 'text/x-y']],
});
const long = 'x'.repeat(300_000);

const cases: [path: string, options?: RequestOptions][] = [
  ['env.sh'],
  ['env.sh/'],
  ['env.sh/some/path%20info?a=b&c'],
  ['env.sh?one+two%2Bthree'],
  ['env.sh?a=b+c'],
  ['env.sh?-x+y'],
  ['env.sh?a%20b+%24c%3B'],
  ['env.sh?'],
  ['env.sh', { method: 'DELETE' }],
  ['env.sh', { method: 'OPTIONS' }],
  [
    'env.sh',
    {
      headers: [
        ['X-Some', 'a'],
        ['X-Some', 'b'],
        ['Proxy', 'http://evil'],
        ['Authorization', 'Basic YTpi'],
        ['Cookie', 'a=b'],
        ['Content-Type', 'a/b'],
      ],
    },
  ],
  ['status.pl'],
  ['lf.sh'],
  ['length.pl'],
  ['short.pl'],
  ['long.pl'],
  ['no-type.sh'],
  ['no-body.sh'],
  ['no-content.sh'],
  ['not-modified.sh'],
  ['modified.sh'],
  ['modified.sh', { headers: [['If-None-Match', '"e"']] }],
  ['modified.sh', { headers: [['If-Modified-Since', 'Sat, 01 Jan 2022 00:00:00 GMT']] }],
  ['length.pl', { headers: [['Range', 'bytes=1-2']] }],
  ['local.sh'],
  ['local.sh', post('a')],
  ['local-query.sh'],
  ['local-more.sh'],
  ['absolute.sh'],
  ['absolute-body.sh'],
  ['nph-raw.pl'],
  ['nph-raw.pl', { method: 'HEAD' }],
  ['garbage.sh'],
  ['silent.sh'],
  ['usage.sh'],
  ['exit.sh'],
  ['errors.sh'],
  ['crash.pl'],
  ['crash-late.pl'],
  ['no-interpreter.sh'],
  ['missing.sh'],
  ['missing.sh/x'],
  ['data.txt'],
  ['echo', post('abc')],
  ['echo', post('')],
  ['echo', post(long)],
  ['echo', post('abc', true)],
  ['echo', post(long, true)],
  ['echo'],
  ['exit.sh', post(long)],
  ['status.pl', { method: 'HEAD' }],
  ['length.pl', { method: 'HEAD' }],
  ['env.sh', { method: 'HEAD' }],
  ['silent.sh', { method: 'HEAD' }],
];

interface Difference {
  /** What the requests' labels match. */
  where: RegExp;
  theirs: RegExp;
  ours: RegExp;
}

/** Where there was no answer of a program: 404 and 403 say what there is to say, 502 what there is not. */
const failures: Record<WebServer['kind'], Difference[]> = {
  nginx: [
    {
      where: /^GET (garbage|silent|usage|crash|no-interpreter)\./,
      theirs: /^502/,
      ours: /^502.*no valid answer/s,
    },
    { where: /^GET missing\.sh/, theirs: /^403/, ours: /^404.*no such program/s },
    { where: /^GET data\.txt$/, theirs: /^403/, ours: /^403.*may not be run/s },
  ],
  apache: [
    {
      where: /^(GET|HEAD) (garbage|silent|usage|crash|no-interpreter)\./,
      theirs: /^500/,
      ours: /^502/,
    },
    { where: /^GET data\.txt$/, theirs: /^500/, ours: /^403/ },
  ],
};

/** docs/cgi.md has them as a table. */
const differences: Record<WebServer['kind'], Difference[]> = {
  nginx: [
    ...failures.nginx,
    // Half an answer is told as such.
    { where: /crash-late/, theirs: /^200\n.*half/s, ours: /^(200 \(incomplete\)|502)/ },
    { where: /\?one\+two/, theirs: /^200(?!.*word:)/s, ours: /word: one\nword: two\+three\n/ },
    { where: /\?a%20b/, theirs: /^200(?!.*word:)/s, ours: /word: a b\nword: \\\$c\\;\n/ },
    { where: /env\.sh\/$/, theirs: /^200(?!.*TRANSLATED)/s, ours: /PATH_TRANSLATED=.*\/docs\/\n/ },
    {
      where: /env\.sh\/some/,
      theirs: /^200(?!.*TRANSLATED)/s,
      ours: /PATH_TRANSLATED=.*\/docs\/some\/path info\n/,
    },
    {
      where: /Proxy/,
      theirs: /HTTP_CONTENT_TYPE=a\/b.*HTTP_PROXY=http:\/\/evil/s,
      ours: /^200(?!.*(HTTP_PROXY|HTTP_CONTENT_TYPE))/s,
    },
    { where: /^(GET|POST) local\.sh/, theirs: /^302/, ours: /^200.*a plain file/s },
    { where: /local-query/, theirs: /^302/, ours: /^200.*PATH_INFO=\/from.*QUERY_STRING=local=1/s },
    { where: /nph-/, theirs: /^200/, ours: /^418.*x-raw: 1/s },
    { where: /^GET echo$/, theirs: /said ,/, ours: /said nothing,/ },
    // It may have ended before fcgiwrap has written all of the body.
    { where: /POST exit\.sh/, theirs: /^(502|200)/, ours: /^200.*good/s },
  ],
  apache: [
    ...failures.apache,
    { where: /crash-late/, theirs: /^200\n.*half/s, ours: /^(200 \(incomplete\)|502)/ },
    { where: /short\.pl/, theirs: /^200\n.*five/s, ours: /^(200 \(incomplete\)|502)/ },
    { where: /GET long\.pl/, theirs: /^200.*five/s, ours: /^200.*\nfiv$/s },
    { where: /\?-x\+y/, theirs: /word: -x\nword: y/, ours: /^200(?!.*word:)/s },
    // Apache has a range of what is there as a whole, head and body, when it looks.
    { where: /Range/, theirs: /^200.*five/s, ours: /^(?:206.*\niv|200.*five)/s },
    { where: /local-more/, theirs: /^200.*a plain file/s, ours: /^302.*body/s },
    { where: /GET absolute\.sh/, theirs: /^302.*has moved/s, ours: /^302.*\n$/s },
    {
      where: /POST echo .*chunked/,
      theirs: /said nothing, was [1-9]/,
      ours: /said (\d+), was \1,/,
    },
    // mod_cgid's connection is reset, or is not, while the body is still on its way.
    { where: /POST exit\.sh/, theirs: /^(none|200)/, ours: /^200.*good/s },
  ],
};

interface Request extends RequestOptions {
  path: string;
  label: string;
}

function requests(): Request[] {
  return cases.map(([path, given]) => {
    const { headers = [], ...options }: RequestOptions = given ?? {};
    const { method = 'GET', body, isChunked } = options;
    const more = [
      ...headers.map(([name]) => name),
      ...(body === undefined ? [] : [`${body.length} bytes${isChunked ? ', chunked' : ''}`]),
    ];
    const sent: [string, string][] = [['Host', 'host.example'], ...headers];
    return { ...options, path, headers: sent, label: [method, path, ...more].join(' ') };
  });
}

/** What is compared: not the time, and not how the length of the body is told. */
function summary(answer: Answer): string {
  const isLeftOut = /^(date|server|connection|keep-alive|content-length|transfer-encoding)$/i;
  const headers = answer.headers
    .filter(([name]) => !isLeftOut.test(name))
    .map(([name, value]) => `${name.toLowerCase()}: ${value}`)
    .sort();
  const status = `${answer.status}${answer.isComplete ? '' : ' (incomplete)'}`;
  return [status, ...headers, '', answer.text].join('\n');
}

export async function yardstick(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const { dir, docs } = site;
  const [ours, theirs] = site.ports as [number, number];
  for (const [name, text] of Object.entries(programs))
    site.file(`docs/cgi-bin/${name}`, text, 0o755);
  site.file('docs/cgi-bin/data.txt', 'not executable\n');
  site.file('docs/plain.txt', 'a plain file\n');
  const compiled = await run(['cc', '-o', `${docs}/cgi-bin/echo`, site.file('echo.c', echo)]);
  if (compiled.status !== 0) throw new Error(compiled.output);

  const wrap = `${dir}/fcgiwrap.sock`;
  const nginxServer = (port: number, pass: string): string => `
      server {
        listen 127.0.0.1:${port};
        root ${docs};
        location /cgi-bin/ {
          fastcgi_split_path_info ^(/cgi-bin/[^/]+)(/.*)?$;
          ${pass}
          include fastcgi_params;
          fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
          fastcgi_param PATH_INFO $fastcgi_path_info;
        }
      }`;
  const apacheServer = (port: number, text: string): string => `
      <VirtualHost 127.0.0.1:${port}>
        DocumentRoot ${docs}
        ${text}
      </VirtualHost>`;
  if (server.kind === 'nginx') {
    const wrapper = startInBackground(['/usr/sbin/fcgiwrap', '-f', '-s', `unix:${wrap}`]);
    t.teardown(() => wrapper.kill('SIGKILL'));
    await eventually('fcgiwrap listens', () => site.open(wrap) === undefined);
  }
  await site.start({
    nginx: `
      ${nginxServer(ours, 'usher_pass $document_root$fastcgi_script_name protocol=cgi;')}
      ${nginxServer(theirs, `fastcgi_pass unix:${wrap};`)}`,
    apache: `
      LoadModule cgid_module /usr/lib/apache2/modules/mod_cgid.so
      ScriptSock ${dir}/cgid.sock
      Listen 127.0.0.1:${theirs}
      ${apacheServer(
        ours,
        `<Directory ${docs}/cgi-bin>
          Options +ExecCGI
          SetHandler usher-cgi
        </Directory>`,
      )}
      ${apacheServer(theirs, `ScriptAlias /cgi-bin/ ${docs}/cgi-bin/`)}`,
  });

  const ask = async (port: number, { path, ...options }: Request): Promise<string> => {
    const answer = await request(port, `/cgi-bin/${path}`, options).catch(() => null);
    return answer === null ? 'none' : summary(answer);
  };

  await site.check('answers are the same', async (t) => {
    const known = differences[server.kind];
    const seen = new Set<Difference>();
    for (const one of requests()) {
      const [their, our] = [await ask(theirs, one), await ask(ours, one)];
      const difference = known.find(({ where }) => where.test(one.label));
      if (difference === undefined) {
        t.equal(our, their, one.label);
        continue;
      }
      seen.add(difference);
      t.match(their, difference.theirs, `${one.label}: differs, theirs`);
      t.match(our, difference.ours, `${one.label}: differs, ours`);
    }
    t.same(
      known.filter((one) => !seen.has(one)),
      [],
      'no difference is listed in vain',
    );
  });

  await site.check('what programs write to stderr is in the error log', async (t) => {
    for (const [i, port] of [theirs, ours].entries()) {
      t.equal((await request(port, '/cgi-bin/errors.sh')).status, 200);
      for (const line of ['one-line', 'another-line']) {
        await eventually(`${line}, of port ${port}`, () => {
          return site.newErrors().split(line).length === i + 2;
        });
      }
    }
  });

  await site.end();
}
