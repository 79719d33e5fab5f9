// SPDX-License-Identifier: Apache-2.0
// What of a request's parameters a backend gets to see.
import t from 'tap';
import type { BackendConfig } from '../link.ts';
import { parseAddress } from './address.ts';
import { Backend } from './backend.ts';
import { Failure } from './failure.ts';
import { addressTo, prepareRequest } from './forward-request.ts';
import { PathMapping } from './request-path.ts';
import { sessionRoutes } from './session-routes.ts';

const options = {
  attributes: ['TENANT', 'javax.servlet.x'],
  stickySession: true,
  sessionCookie: 'JSESSIONID',
  sessionPath: 'jsessionid',
};
const asItIs = new PathMapping('', '');

function prepare(params: Record<string, string>, mapping = asItIs) {
  const given = { REQUEST_METHOD: 'GET', DOCUMENT_URI: '/', ...params };
  return prepareRequest(new Map(Object.entries(given)), options, mapping);
}

function uri(path: string, mapping = asItIs): string {
  return prepare({ DOCUMENT_URI: path }, mapping).request.uri;
}

function failure(params: Record<string, string>, mapping = asItIs): Failure {
  try {
    prepare(params, mapping);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error(`taken: ${JSON.stringify(params)}`);
}

t.test('path', async (t) => {
  t.equal(uri('/a/b.jsp'), '/a/b.jsp');
  t.equal(uri('/a b/\xc3\xa9%?#[]"<>\\x'), '/a%20b/%C3%A9%25%3F%23%5B%5D%22%3C%3E%5Cx');
  t.equal(uri("/~u/!$&'()*+,=:@-._"), "/~u/!$&'()*+,=:@-._", 'what needs no escape stays');
  t.equal(uri('/a/%2e%2e/b'), '/a/%252e%252e/b', 'what was escaped twice stays escaped once');
  t.equal(uri('//a///b//'), '/a/b/', 'slashes are one');
  t.equal(uri('/a;jsessionid=1.r;x=y/b'), '/a;jsessionid=1.r;x=y/b', 'parameters stay');
  t.equal(uri('/.well-known/..a/a../...'), '/.well-known/..a/a../...', 'names with dots');

  const pathInfo = { DOCUMENT_URI: '', SCRIPT_NAME: '/app', PATH_INFO: '/x y' };
  t.equal(prepare(pathInfo).request.uri, '/app/x%20y', 'SCRIPT_NAME and PATH_INFO');
  const absolute = { REQUEST_URI: 'http://other/x', DOCUMENT_URI: '/x' };
  t.equal(prepare(absolute).request.uri, '/x', 'the request line is not looked at');
  const star = { REQUEST_METHOD: 'OPTIONS', DOCUMENT_URI: '', SCRIPT_NAME: '*' };
  t.equal(prepare(star).request.uri, '*');
});

t.test('path: CVE-2018-11759, CVE-2007-0450: read otherwise by the container', async (t) => {
  const wrong = [
    ['/..', "segment '..'"],
    ['/a/../b', "segment '..'"],
    ['/a/./b', "segment '.'"],
    ['/a/..;/b', "segment '..'"],
    ['/a/..;x=y/b', "segment '..'"],
    ['/a/.;/b', "segment '.'"],
    ['/a/..', "segment '..'"],
    ['/a\\..\\b', "segment '..'"],
    ['/a\\..;/b', "segment '..'"],
    ['/;/admin', 'only a parameter'],
    ['/a/;x=y/b', 'only a parameter'],
    ['/a\nb', 'control character'],
    ['/a\0', 'control character'],
    ['/\x7f', 'control character'],
    ['a', 'does not begin'],
    ['http://host/a', 'does not begin'],
    ['*', 'does not begin'],
  ];
  for (const [path, cause] of wrong) {
    const { status, message } = failure({ DOCUMENT_URI: path ?? '' });
    t.equal(status, 400, JSON.stringify(path));
    t.match(message, cause);
  }
  t.match(failure({ DOCUMENT_URI: '' }).message, 'neither DOCUMENT_URI nor SCRIPT_NAME');
  t.equal(failure({ REQUEST_METHOD: '' }).status, 400, 'no method');
});

t.test('mount and context', async (t) => {
  const mapping = new PathMapping('/shop', '/app/');
  t.equal(uri('/shop/cart', mapping), '/app/cart');
  t.equal(uri('/shop', mapping), '/app');
  t.equal(uri('/shop/', mapping), '/app/');
  t.equal(uri('/shop;jsessionid=1.a', mapping), '/app;jsessionid=1.a');
  for (const path of ['/shopping', '/', '/x/shop/', '/shop?', '/shop#/cart']) {
    const { status, message } = failure({ DOCUMENT_URI: path }, mapping);
    t.equal(status, 404, path);
    t.match(message, '-mount /shop');
  }
  t.equal(mapping.toServer('/app/cart?x=1#y'), '/shop/cart?x=1#y');
  t.equal(mapping.toServer('/app'), '/shop');
  t.equal(mapping.toServer('/application'), '/application', 'another one');

  const toRoot = new PathMapping('/shop', '/');
  t.equal(uri('/shop/cart', toRoot), '/cart');
  t.equal(uri('/shop', toRoot), '/');
  t.equal(uri('/shop;jsessionid=1.a', toRoot), '/;jsessionid=1.a');
  t.equal(toRoot.toServer('/cart'), '/shop/cart');
  const fromRoot = new PathMapping('', '/app');
  t.equal(uri('/cart', fromRoot), '/app/cart');
  t.equal(fromRoot.toServer('/app/'), '/');
  t.equal(fromRoot.toServer('/app'), '/');
  for (const same of [new PathMapping('/a', ''), new PathMapping('/a', '/a/')]) {
    t.ok(same.isIdentity);
    t.equal(uri('/a/b', same), '/a/b');
    t.equal(failure({ DOCUMENT_URI: '/b' }, same).status, 404, 'nothing is replaced, but demanded');
  }
});

t.test('header fields', async (t) => {
  const { fields, request } = prepare({
    HTTP_HOST: 'example.org:8080',
    HTTP_X_FORWARDED_FOR: '10.0.0.1',
    HTTP_COOKIE: 'a=b',
    HTTP_ACCEPT: '*/*',
    HTTP_X_EMPTY: '',
    CONTENT_TYPE: 'text/plain',
    HTTP_CONTENT_TYPE: 'text/plain',
    REMOTE_ADDR: '10.1.1.1',
    SERVER_NAME: 'www',
    SERVER_PORT: '8443',
    SERVER_PROTOCOL: 'HTTP/1.1',
    HTTPS: 'on',
  });
  t.same(fields, [
    ['Host', 'example.org:8080'],
    ['X-Forwarded-For', '10.0.0.1'],
    ['Cookie', 'a=b'],
    ['Accept', '*/*'],
    ['X-Empty', ''],
    ['Content-Type', 'text/plain'],
  ]);
  t.match(request, {
    method: 'GET',
    protocol: 'HTTP/1.1',
    remoteAddr: '10.1.1.1',
    remoteHost: null,
    serverName: 'www',
    serverPort: 8443,
    isSsl: true,
  });
  t.match(prepare({ SERVER_PORT: '' }).request, { serverPort: 80, isSsl: false });
  t.match(prepare({ HTTPS: 'off' }).request, { isSsl: false });
  t.match(prepare({ HTTPS: '1', SERVER_PORT: '70000' }).request, { serverPort: 443, isSsl: true });
});

t.test('header fields: what is for the connection only is not passed on', async (t) => {
  const { fields } = prepare({
    HTTP_CONNECTION: 'close, X-Hop, Cookie, host, TE',
    HTTP_X_HOP: '1',
    HTTP_KEEP_ALIVE: 'timeout=5',
    HTTP_PROXY_CONNECTION: 'keep-alive',
    HTTP_TE: 'trailers',
    HTTP_TRAILER: 'X-Sum',
    HTTP_TRANSFER_ENCODING: 'chunked',
    HTTP_EXPECT: '100-continue',
    HTTP_CONTENT_LENGTH: '5',
    HTTP_COOKIE: 'a=b',
    HTTP_HOST: 'h',
  });
  t.same(fields, [
    ['Cookie', 'a=b'],
    ['Host', 'h'],
  ]);
  t.same(prepare({ HTTP_PROXY: 'http://evil' }).fields, [], 'CVE-2016-5387: httpoxy');
  t.same(
    prepare({ HTTP_UPGRADE: 'h2c', HTTP_HTTP2_SETTINGS: 'x', HTTP_CONNECTION: 'Upgrade' }).fields,
    [],
    'an offer that needs no answer',
  );
  for (const upgrade of ['websocket', 'h2c, websocket', 'WebSocket']) {
    const { status, message } = failure({ HTTP_UPGRADE: upgrade });
    t.equal(status, 501, upgrade);
    t.match(message, upgrade);
  }
});

t.test('attributes', async (t) => {
  const pem = (name: string) => `-----BEGIN CERTIFICATE-----\n${name}\n-----END CERTIFICATE-----\n`;
  const { attributes } = prepare({
    REMOTE_USER: 'anna',
    AUTH_TYPE: 'Basic',
    QUERY_STRING: 'a=1&b=%20',
    HTTPS: 'on',
    SSL_CLIENT_CERT: pem('leaf').trimEnd(),
    SSL_CLIENT_CERT_CHAIN_0: pem('one').replaceAll('\n', '\r\n'),
    SSL_CLIENT_CERT_CHAIN_1: pem('two'),
    SSL_CLIENT_CERT_CHAIN_3: pem('not in the chain'),
    SSL_CIPHER: 'AES',
    SSL_SESSION_ID: '0a',
    SSL_CIPHER_USEKEYSIZE: '256',
    SSL_PROTOCOL: 'TLSv1.3',
    REMOTE_PORT: '5000',
    SERVER_ADDR: '10.2.2.2',
    TENANT: 'blue',
    OTHER: 'not named',
  });
  t.same(attributes, {
    remoteUser: 'anna',
    authType: 'Basic',
    queryString: 'a=1&b=%20',
    sslCert: pem('leaf') + pem('one') + pem('two'),
    sslCipher: 'AES',
    sslSession: '0a',
    sslKeySize: 256,
    others: [
      ['AJP_SSL_PROTOCOL', 'TLSv1.3'],
      ['AJP_REMOTE_PORT', '5000'],
      ['AJP_LOCAL_ADDR', '10.2.2.2'],
      ['TENANT', 'blue'],
    ],
  });
  const nginx = prepare({ HTTPS: 'on', SSL_CLIENT_CERT: pem('a').trim().replaceAll('\n', '\n\t') });
  t.equal(nginx.attributes.sslCert, pem('a'), "nginx's $ssl_client_cert");
  const escaped = encodeURIComponent(pem('a+b')).replaceAll('%2B', '+');
  const other = prepare({ HTTPS: 'on', SSL_CLIENT_CERT: escaped });
  t.equal(other.attributes.sslCert, pem('a+b'), "nginx's $ssl_client_escaped_cert");
  t.same(
    prepare({ SSL_CIPHER: 'AES', REMOTE_USER: '', QUERY_STRING: '' }).attributes,
    { others: [] },
    'empty is not there, and without HTTPS there is no cipher',
  );
  const odd = prepare({ HTTPS: 'on', SSL_CIPHER_USEKEYSIZE: 'many' });
  t.equal(odd.attributes.sslKeySize, undefined);
});

t.test('attributes of a try', async (t) => {
  const config = { name: 'a:1', weight: 1, activation: 'disabled', isBackup: false } as const;
  const limits = { recoverTimeMs: 0, errorEscalationMs: 0 };
  const make = (more: Partial<BackendConfig>) =>
    new Backend({ ...config, route: 'r1', ...more }, limits);
  const { attributes } = prepare({ REMOTE_PORT: '1' });
  addressTo(make({}), attributes);
  t.equal(attributes.route, 'r1');
  t.same(attributes.others, [
    ['AJP_REMOTE_PORT', '1'],
    ['JK_LB_ACTIVATION', 'DIS'],
  ]);
  addressTo(make({ route: null, activation: 'active' }), attributes);
  t.equal(attributes.route, undefined, 'nothing is left of the first try');
  t.same(attributes.others, [
    ['AJP_REMOTE_PORT', '1'],
    ['JK_LB_ACTIVATION', 'ACT'],
  ]);
});

t.test('routes of a session', async (t) => {
  const routes = (path: string, cookies?: string) =>
    sessionRoutes(path, cookies, 'jsessionid', 'JSESSIONID');
  t.same(routes('/x', 'JSESSIONID=ABC.r1'), ['r1']);
  t.same(routes('/x', 'a=b; JSESSIONID=A.B.r1;c=d'), ['r1'], 'after the last dot');
  t.same(routes('/x', 'JSESSIONID="A.r1"'), ['r1']);
  t.same(routes('/x', 'JSESSIONID=A.r1; JSESSIONID=B.r2; JSESSIONID=C.r1'), ['r1', 'r2']);
  t.same(routes('/x;jsessionid=A.p/y', 'JSESSIONID=A.c'), ['p', 'c'], 'the path first');
  t.same(routes('/x;v=1;jsessionid=A.p;w=2'), ['p']);
  t.same(routes('/x', 'XJSESSIONID=A.no; JSESSIONID2=A.no; jsessionid=A.no'), []);
  t.same(routes('/x', 'JSESSIONID=ABC'), [], 'an id without a route');
  t.same(routes('/x', 'JSESSIONID=ABC.'), []);
  t.same(routes('/x', 'JSESSIONID'), []);
  t.same(prepare({ HTTP_COOKIE: 'JSESSIONID=A.r1' }).routes, ['r1']);
});

t.test('addresses', async (t) => {
  t.same(parseAddress('tomcat1:8009'), { host: 'tomcat1', port: 8009 });
  t.same(parseAddress('[::1]:8009'), { host: '::1', port: 8009 });
  t.same(parseAddress('unix:/run/ajp.sock'), { path: '/run/ajp.sock' });
  for (const wrong of ['tomcat', 'tomcat:', 'tomcat:0', 'tomcat:99999', '::1:8009', 'unix:x', '']) {
    t.throws(() => parseAddress(wrong), { message: /expected host:port/ }, wrong);
  }
});
