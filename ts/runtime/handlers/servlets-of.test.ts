// SPDX-License-Identifier: Apache-2.0
import type { IncomingMessage, ServerResponse } from 'node:http';
import t from 'tap';
import { readRequest, requestText } from '../link/head-texts.ts';
import { TextReader } from '../link/texts.ts';
import type { RequestMetadata } from '../metadata.ts';
import { PlacedMetadata } from './placed-metadata.ts';
import { metadataOf } from './request-metadata.ts';
import { type Handler, type HandlerStyle, servletOf } from './servlet-of.ts';
import { servletsOf } from './servlets-of.ts';
import { type Asked, MemoryExchange } from './testing/memory-exchange.ts';

async function ask(
  handler: Handler | Record<string, Handler>,
  asked: Asked = {},
  style: HandlerStyle | null = null,
): Promise<MemoryExchange> {
  const exchange = new MemoryExchange(asked);
  const isOne = typeof handler === 'function' || 'fetch' in handler || 'routing' in handler;
  const servlet = isOne
    ? servletOf(handler as Handler, style)
    : servletsOf(handler as Record<string, Handler>, style);
  servlet(exchange);
  return exchange.over();
}

t.test('kinds of handlers', async (t) => {
  const node = (_: IncomingMessage, res: ServerResponse): unknown => res.end('node');
  const fetch = (): Response => new Response('fetch');
  t.equal((await ask(node)).text, 'node');
  t.equal((await ask(fetch)).text, 'fetch');
  t.equal((await ask({ fetch })).text, 'fetch');
  t.equal((await ask({ routing: node })).text, 'node');
  const rest = (...given: [IncomingMessage, ServerResponse]): unknown => given[1].end('node');
  t.equal((await ask(rest, {}, 'node')).text, 'node', 'a style says it where the number cannot');
  class Application {
    #text = 'own';
    fetch(): Response {
      return new Response(this.#text);
    }
  }
  t.equal((await ask(new Application())).text, 'own');
});

t.test('next()', async (t) => {
  const asked = async (given: unknown): Promise<MemoryExchange> =>
    ask((_: IncomingMessage, __: ServerResponse, next: (error?: unknown) => void) => next(given));
  t.equal((await asked(undefined)).status, 404);
  const failed = await asked(new Error('oh no'));
  t.equal(failed.status, 500);
  t.match(failed.reports, [/oh no/]);
});

t.test('what is no handler', (t) => {
  const wrong = (handler: unknown, style: HandlerStyle | null, message: RegExp): void => {
    t.throws(() => servletOf(handler as Handler, style), { name: 'TypeError', message });
  };
  wrong(undefined, null, /the handler is undefined; allowed are function \(req, res\)/);
  wrong(null, null, /is null;/);
  wrong('x', null, /is a string;/);
  wrong({}, null, /an object with nothing of these/);
  wrong({ a: 1, fetch: 2 }, null, /an object with a, fetch/);
  wrong(
    { fetch() {} },
    'node',
    /style "node": the handler with fetch\(request\) is of style "fetch"/,
  );
  wrong({ routing() {} }, 'fetch', /style "fetch".*routing/);
  t.throws(() => servletsOf({ a: 5 as never }, null), /the handler of "a" is a number/);
  t.throws(() => servletsOf({}, null), /there are no handlers/);
  const handler = (): Response => new Response();
  t.throws(() => servletsOf({ 'a/b/c': handler }, null), /"a\/b\/c" is no key/);
  t.throws(() => servletsOf({ '': handler }, null), /"" is no key/);
  t.throws(
    () => servletsOf({ '/a': handler, '/a/': handler }, null),
    /"\/a\/": there is a handler/,
  );
  t.throws(() => metadataOf({} as never), { name: 'TypeError', message: /allowed are/ });
  t.end();
});

/** Says who it is and where it is mounted. */
const says =
  (name: string) =>
  (request: Request): Response => {
    const { scriptName, pathInfo, servlet } = metadataOf(request);
    return new Response(`${name} ${scriptName} ${pathInfo} ${servlet}`);
  };

t.test('by name', async (t) => {
  const handlers = { hello: says('hello'), 'z/hello': says('z/hello'), 'z/only': says('z/only') };
  const text = async (asked: Asked): Promise<string> => (await ask(handlers, asked)).text;
  const named = (zone: string | null, servlet: string): Asked => ({
    metadata: { zone, servlet, scriptName: '/s', pathInfo: '/p' },
  });
  t.equal(await text(named(null, 'hello')), 'hello /s /p hello');
  t.equal(await text(named('z', 'hello')), 'z/hello /s /p hello');
  t.equal(await text(named('y', 'hello')), 'hello /s /p hello');
  t.equal(await text(named('z', 'only')), 'z/only /s /p only');
  for (const asked of [named(null, 'only'), named('y', 'only'), named(null, 'Hello')]) {
    const answer = await ask(handlers, { url: '/servlets/hello', ...asked });
    t.equal(answer.status, 404);
    t.match(answer.reports, [
      /no handler for GET .*\(servlet .*there are: hello, z\/hello, z\/only/,
    ]);
    t.notMatch(answer.text, /only|zone|servlet/);
  }
  t.equal(await text({ url: '/servlets/hello?a' }), 'hello /servlets/hello  hello');
  t.equal(await text({ url: '/servlet/hello/p/q' }), 'hello /servlet/hello /p/q hello');
  t.equal(await text({ url: '/app/servlets/h%65llo/' }), 'hello /app/servlets/hello / hello');
  const withSession = '/servlets/hello;jsessionid=1.a';
  t.equal(await text({ url: withSession }), 'hello /servlets/hello  hello');
  t.equal(await text({ url: `${withSession}/p;q` }), 'hello /servlets/hello /p;q hello');
  t.equal((await ask(handlers, { url: '/servlets/hell' })).status, 404);
  t.equal((await ask(handlers, { url: '/hello' })).status, 404);
  t.equal((await ask(handlers, { url: '*' })).status, 404);
});

t.test('by path', async (t) => {
  const handlers = { '/a': says('a'), '/a/b/': says('ab'), '/é': says('é'), hello: says('hello') };
  const text = async (url: string, more = {}): Promise<string> =>
    (await ask({ ...handlers, ...more }, { url })).text;
  t.equal(await text('/a'), 'a /a  null');
  t.equal(await text('/a/'), 'a /a / null');
  t.equal(await text('/a?/a/b'), 'a /a  null');
  t.equal(await text('/a/bc%20d'), 'a /a /bc d null');
  t.equal(await text('/a/b'), 'ab /a/b  null');
  t.equal(await text('/a/b/c'), 'ab /a/b /c null');
  t.match(await text('/%C3%A9/x'), /^é .* \/x null$/);
  t.equal(await text('/servlets/hello'), 'hello /servlets/hello  hello');
  t.match(await text('/ab'), '404');
  t.equal(await text('/ab', { '/': says('root') }), 'root  /ab null');
  t.equal(await text('/', { '/': says('root') }), 'root  / null');
  t.match(await text('/a/../x'), '404', 'as web servers look at it');
  t.match(await text('/a/%2e%2E/x'), '404');
  t.equal(await text('/x/..//a/./b/'), 'ab /a/b / null');
});

t.test('all else is told as the web server has it', async (t) => {
  const variables = new Map([['A', 'b']]);
  const more = { remoteUser: 'anna', route: 'r1', zone: 'z', isSecure: true, variables };
  const { head } = new MemoryExchange({ metadata: more });
  const { metadata } = head;
  const plain = (some: RequestMetadata): RequestMetadata =>
    readRequest(new TextReader(requestText({ ...head, metadata: some }))).metadata;
  const given = plain(metadata);
  const own = { scriptName: '/s', pathInfo: '/p', servlet: 'cart' };
  t.same(plain(new PlacedMetadata(metadata, '/s', '/p', 'cart')), { ...given, ...own });
});
