// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { decodeParams, encodePairs } from '../fastcgi/index.ts';
import { ProtocolError } from '../protocol-error.ts';
import { cgiEnvironment, type EnvironmentOptions } from './environment.ts';

function environment(params: Record<string, string>, options?: EnvironmentOptions) {
  const entries = cgiEnvironment(new Map(Object.entries(params)), options);
  return Object.fromEntries(
    entries.map((entry) => [
      entry.slice(0, entry.indexOf('=')),
      entry.slice(entry.indexOf('=') + 1),
    ]),
  );
}

/** What is always there. */
const always = { GATEWAY_INTERFACE: 'CGI/1.1', SCRIPT_NAME: '', QUERY_STRING: '' };

t.test('what nginx says with its fastcgi_params', async (t) => {
  const params = {
    QUERY_STRING: 'a=b',
    REQUEST_METHOD: 'GET',
    CONTENT_TYPE: '',
    CONTENT_LENGTH: '',
    SCRIPT_NAME: '/cgi-bin/a.cgi',
    REQUEST_URI: '/cgi-bin/a.cgi?a=b',
    DOCUMENT_URI: '/cgi-bin/a.cgi',
    DOCUMENT_ROOT: '/srv/www',
    SERVER_PROTOCOL: 'HTTP/1.1',
    GATEWAY_INTERFACE: 'CGI/1.2',
    HTTP_HOST: 'example.org',
    HTTP_ACCEPT: '',
    REDIRECT_STATUS: '200',
  };
  const { CONTENT_TYPE: _, CONTENT_LENGTH: __, ...expected } = params;
  t.strictSame(environment(params), { ...expected, GATEWAY_INTERFACE: 'CGI/1.1' });
});

t.test('nothing', async (t) => t.strictSame(environment({}), always));

t.test('a body', async (t) => {
  const body = (params: Record<string, string>, options?: EnvironmentOptions) => {
    const { CONTENT_LENGTH: length, CONTENT_TYPE: type } = environment(params, options);
    return [length, type];
  };
  t.strictSame(body({ CONTENT_LENGTH: '12', CONTENT_TYPE: 'text/x' }), ['12', 'text/x']);
  t.strictSame(body({ CONTENT_LENGTH: '0' }), ['0', undefined]);
  t.strictSame(body({ CONTENT_LENGTH: 'x' }), [undefined, undefined]);
  t.strictSame(body({ HTTP_CONTENT_TYPE: 'text/x' }), [undefined, 'text/x']);
  t.strictSame(body({}, { bodyBytes: 7 }), ['7', undefined], 'sent in chunks');
  t.strictSame(body({}, { bodyBytes: 0 }), [undefined, undefined]);
  t.strictSame(body({ CONTENT_LENGTH: '5' }, { bodyBytes: 0 }), ['0', undefined]);
});

t.test('what a program does not get', async (t) => {
  const params = {
    HTTP_PROXY: 'http://attacker',
    HTTP_CONTENT_LENGTH: '1',
    HTTP_TRANSFER_ENCODING: 'chunked',
    FCGI_ROLE: 'RESPONDER',
    USHER_PROGRAM: '/srv/a.cgi',
    '': 'x',
    'A-B': 'x',
    '1A': 'x',
    'A=B': 'x',
    'A\0': 'x',
    '\xe4': 'x',
  };
  t.strictSame(environment(params), always);
  const kept = {
    HTTP_PROXY_AUTHORIZATION: 'x',
    HTTP_AUTHORIZATION: 'Basic x',
    HTTP_X_PROXY: 'x',
    HTTP_USHER: 'x',
    FCGI: 'x',
    _a1: 'x',
  };
  t.strictSame(environment(kept), { ...always, ...kept });
});

t.test('what only the class sets', async (t) => {
  const obeyed = { LD_PRELOAD: 'x', PATH: 'x', BASH_ENV: 'x', PERL5OPT: 'x', NODE_OPTIONS: 'x' };
  t.strictSame(environment(obeyed), always);
  const base = ['PATH=/usr/bin:/bin', 'LD_PRELOAD=/usr/lib/x.so', 'MODE=a=b'];
  t.strictSame(environment({ ...obeyed, MODE: 'other', TZ: 'UTC' }, { base }), {
    ...always,
    PATH: '/usr/bin:/bin',
    LD_PRELOAD: '/usr/lib/x.so',
    MODE: 'a=b',
    TZ: 'UTC',
  });
  const names = ['PATHS', 'MY_PATH', 'HTTP_LD_PRELOAD', 'ENVIRONMENT', 'PERL', 'RAILS_ENV'];
  const similar = Object.fromEntries(names.map((name) => [name, 'x']));
  t.strictSame(environment(similar), { ...always, ...similar });
});

t.test('the same names again, as a web server sends them', async (t) => {
  const encoded = (params: Record<string, string>) =>
    decodeParams(encodePairs(Object.entries(params)));
  const params = {
    HTTP_PROXY: 'x',
    MODE: 'a',
    PATH: 'x',
    SCRIPT_FILENAME: '/a',
    SCRIPT_NAME: '/b',
  };
  const expected = [
    ...['MODE=a', 'SCRIPT_FILENAME=/a', 'SCRIPT_NAME=/b', 'QUERY_STRING='],
    'GATEWAY_INTERFACE=CGI/1.1',
  ];
  t.strictSame(cgiEnvironment(encoded(params)), expected);
  const base = ['MODE=b', 'SCRIPT_NAME=/c'];
  t.strictSame(
    cgiEnvironment(encoded({ ...params, SCRIPT_FILENAME: '/d' }), { base }),
    [
      'MODE=b',
      'SCRIPT_NAME=/c',
      'SCRIPT_FILENAME=/d',
      'QUERY_STRING=',
      'GATEWAY_INTERFACE=CGI/1.1',
    ],
    'with other values, and a class that sets some',
  );
  const program = { file: '/e', pathInfo: '' };
  t.match(cgiEnvironment(encoded(params), { program }), ['MODE=a', 'SCRIPT_FILENAME=/e']);
});

t.test('values that no program can get', async (t) => {
  const refused = (params: Record<string, string>) => {
    try {
      environment(params);
    } catch (error) {
      if (error instanceof ProtocolError) return [error.status, error.message];
      throw error;
    }
    return null;
  };
  const nul = 'CGI: a NUL in the value of parameter HTTP_X';
  t.strictSame(refused({ HTTP_X: 'a\0b' }), [400, nul]);
  t.strictSame(refused({ 'A-B': '\0' }), null, 'but what is left out may be anything');
  t.strictSame(refused({ HTTP_X: 'x'.repeat(131072 - 'HTTP_X='.length - 1) }), null);
  t.match(refused({ HTTP_X: 'x'.repeat(131072 - 'HTTP_X='.length) }), [431, /HTTP_X has 131065/]);
});

t.test('the query', async (t) => {
  t.equal(environment({ REQUEST_URI: '/a?b?c' }).QUERY_STRING, 'b?c');
  t.equal(environment({ REQUEST_URI: '/a?b', QUERY_STRING: '' }).QUERY_STRING, '');
});

/** [SCRIPT_NAME, PATH_INFO, PATH_TRANSLATED] */
function path(params: Record<string, string>, options?: EnvironmentOptions) {
  const {
    SCRIPT_NAME: script,
    PATH_INFO: info,
    PATH_TRANSLATED: file,
  } = environment(params, options);
  return [script, info, file];
}

t.test('one program below a prefix', async (t) => {
  const below = (USHER_PREFIX: string, DOCUMENT_URI: string) =>
    path({ USHER_PREFIX, DOCUMENT_URI, SCRIPT_NAME: DOCUMENT_URI, DOCUMENT_ROOT: '/srv/' });
  t.strictSame(below('/app', '/app/x/y'), ['/app', '/x/y', '/srv/x/y']);
  t.strictSame(below('/app/', '/app/x'), ['/app', '/x', '/srv/x']);
  t.strictSame(below('/app', '/app'), ['/app', undefined, undefined]);
  t.strictSame(below('/app', '/app/'), ['/app', '/', '/srv/']);
  t.strictSame(below('', '/x'), ['', '/x', '/srv/x']);
  t.strictSame(below('/', '/x'), ['', '/x', '/srv/x']);
  t.strictSame(below('/app', '/application'), ['/application', undefined, undefined]);
  t.strictSame(below('/app', '/other'), ['/other', undefined, undefined]);
  t.strictSame(path({ USHER_PREFIX: '/a', SCRIPT_NAME: '/a/x' }), ['/a', '/x', undefined]);
  t.strictSame(path({ USHER_PREFIX: '/a', DOCUMENT_URI: '', SCRIPT_NAME: '/a/x' }), [
    ...['/a', '/x'],
    undefined,
  ]);
});

t.test('PATH_INFO that the server said', async (t) => {
  const said = { SCRIPT_NAME: '/a/b', PATH_INFO: '/c', USHER_PREFIX: '/a', DOCUMENT_ROOT: '/srv' };
  t.strictSame(path(said), ['/a/b', '/c', '/srv/c']);
  t.strictSame(path({ ...said, PATH_INFO: '' }), ['/a/b', undefined, undefined]);
  t.strictSame(path({ ...said, PATH_TRANSLATED: '/other/c' }), ['/a/b', '/c', '/other/c']);
  t.strictSame(path({ ...said, PATH_TRANSLATED: '/srv', PATH_INFO: '' }), [
    ...['/a/b', undefined],
    undefined,
  ]);
  t.strictSame(
    path({ ...said, PATH_INFO: '/x/../../etc' }),
    ['/a/b', '/x/../../etc', undefined],
    'no path leads out of the document root',
  );
  t.strictSame(path({ ...said, PATH_INFO: '/..' }), ['/a/b', '/..', undefined]);
  t.strictSame(path({ ...said, PATH_INFO: '/..x' }), ['/a/b', '/..x', '/srv/..x']);
  t.strictSame(path({ PATH_INFO: '/c' }), ['', '/c', undefined], 'no document root');
});

t.test('a program that the request names', async (t) => {
  const named = {
    USHER_PROGRAM: '/srv/cgi-bin/a.cgi/x',
    USHER_PREFIX: '/cgi-bin',
    SCRIPT_NAME: '/cgi-bin/a.cgi/x',
    SCRIPT_FILENAME: '/srv/cgi-bin/a.cgi/x',
    DOCUMENT_ROOT: '/srv',
  };
  const program = { file: '/srv/cgi-bin/a.cgi', pathInfo: '/x' };
  t.strictSame(path(named, { program }), ['/cgi-bin/a.cgi', '/x', '/srv/x']);
  t.equal(environment(named, { program }).SCRIPT_FILENAME, program.file);
  t.strictSame(
    path({ ...named, PATH_TRANSLATED: '/srv', PATH_INFO: '' }, { program }),
    ['/cgi-bin/a.cgi', '/x', '/srv/x'],
    'what the file system says is stronger',
  );
  t.strictSame(
    path({ ...named, SCRIPT_NAME: '/cgi-bin/a.cgi', PATH_INFO: '/x' }, { program }),
    ['/cgi-bin/a.cgi', '/x', '/srv/x'],
    'the server and the file system agree',
  );
  t.strictSame(
    path(
      { ...named, SCRIPT_NAME: '/b.cgi', PATH_INFO: '/y' },
      { program: { ...program, pathInfo: '' } },
    ),
    ['/b.cgi', '/y', '/srv/y'],
    'nothing behind the file: what the server says',
  );
  t.strictSame(
    path(
      { ...named, USHER_PREFIX: '/app', SCRIPT_NAME: '/app/y' },
      { program: { ...program, pathInfo: '' } },
    ),
    ['/app', '/y', '/srv/y'],
    'one program for all below the prefix',
  );
  t.strictSame(path({ ...named, SCRIPT_NAME: '/alias' }, { program }), [
    '/alias',
    undefined,
    undefined,
  ]);
});
