// SPDX-License-Identifier: Apache-2.0
// Express and Fastify as they are.
import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { createRequire } from 'node:module';
import { Readable } from 'node:stream';
import { createGzip, gunzipSync } from 'node:zlib';
import express, { type ErrorRequestHandler } from 'express';
import fastify from 'fastify';
import t from 'tap';
import { metadataOf } from './request-metadata.ts';
import { readinessOf, servletOf } from './servlet-of.ts';
import { type Asked, MemoryExchange } from './testing/memory-exchange.ts';

/** Of Express, and without types. */
const onFinished = createRequire(import.meta.url)('on-finished') as (
  response: ServerResponse,
  call: (error: Error | null) => void,
) => void;

type Ask = (asked?: Asked) => Promise<MemoryExchange>;

function asker(...given: Parameters<typeof servletOf>): Ask {
  const servlet = servletOf(...given);
  return (asked) => {
    const exchange = new MemoryExchange(asked);
    servlet(exchange);
    return exchange.over();
  };
}

const json = (text: string): Asked => ({
  method: 'POST',
  url: '/json',
  fields: [
    'Host',
    'www.example',
    'Content-Type',
    'application/json',
    'Content-Length',
    `${text.length}`,
  ],
  body: [text.slice(0, 5), text.slice(5)],
});

t.test('Express', async (t) => {
  const finished: string[] = [];
  const app = express();
  app.set('trust proxy', false);
  app.use((req, res, next) => {
    onFinished(res, (error) => finished.push(`${req.url} ${res.statusCode} ${error}`));
    next();
  });
  app.use(express.json(), express.urlencoded());
  app.get('/', (_, res) => {
    res.send('hello');
  });
  app.get('/about', (req, res) => {
    const { ip, protocol, hostname, secure, path, query } = req;
    res.cookie('a', '1').cookie('b', '2').json({ ip, protocol, hostname, secure, path, query });
  });
  app.get('/moved', (_, res) => {
    res.redirect('/there');
  });
  app.get('/file', (_, res) => {
    res.sendFile('package.json', { root: process.cwd() });
  });
  app.get('/user', (req, res) => {
    res.send(metadataOf(req).remoteUser);
  });
  app.post('/json', (req, res) => {
    res.status(201).json(req.body);
  });
  app.get('/fails', () => {
    throw new Error('oh no');
  });
  app.get('/late', async () => {
    await Promise.resolve();
    throw new Error('oh no');
  });
  app.get('/half', (_, res) => {
    res.write('half');
    throw new Error('oh no');
  });
  const quiet: ErrorRequestHandler = (error, _req, res, next) => {
    if (res.headersSent) next(error);
    else res.status(500).send('failed');
  };
  app.use(quiet);
  app.set('env', 'test');
  const ask = asker(app, null);

  const hello = await ask();
  t.equal(hello.text, 'hello');
  t.same(hello.values('content-length'), ['5']);
  t.same(hello.values('etag').length, 1);
  t.same(hello.calls, ['head', 'end 5']);
  const etag = hello.values('etag')[0] as string;
  const same = await ask({ fields: ['If-None-Match', etag] });
  t.equal(same.status, 304);
  t.equal(same.text, '');
  const head = await ask({ method: 'HEAD' });
  t.same([head.status, head.values('content-length'), head.text], [200, ['5'], '']);

  const about = await ask({ url: '/about?a=1', metadata: { isSecure: true } });
  t.same(JSON.parse(about.text), {
    ip: '192.0.2.7',
    protocol: 'https',
    hostname: 'www.example',
    secure: true,
    path: '/about',
    query: { a: '1' },
  });
  t.same(about.values('set-cookie'), ['a=1; Path=/', 'b=2; Path=/']);

  const moved = await ask({ url: '/moved' });
  t.same([moved.status, moved.values('location')], [302, ['/there']]);
  t.equal((await ask({ url: '/nothing' })).status, 404);
  t.equal((await ask({ url: '/user', metadata: { remoteUser: 'ann' } })).text, 'ann');

  const file = await ask({ url: '/file' });
  t.equal(JSON.parse(file.text).name, 'usher');
  const part = await ask({ url: '/file', fields: ['Range', 'bytes=0-1'] });
  t.equal(part.status, 206);
  t.equal(part.text.length, 2);

  const posted = await ask(json('{"a":[1,2]}'));
  t.same([posted.status, posted.text], [201, '{"a":[1,2]}']);
  t.equal((await ask(json('{"a":'))).status, 500, 'a body that is no JSON');
  const large = await ask(json(`"${'x'.repeat(200_000)}"`));
  t.same([large.status, large.text], [500, 'failed'], 'a body that is too large');

  t.same((await ask({ url: '/fails' })).text, 'failed');
  t.same((await ask({ url: '/late' })).text, 'failed');
  const half = await ask({ url: '/half' });
  t.ok(half.isBroken);
  await new Promise(setImmediate);
  await new Promise(setImmediate);
  t.match(finished[0], '/ 200 null');
  t.equal(finished.length, 15);
});

t.test('Fastify', async (t) => {
  const app = fastify();
  const endless = new Readable({ read() {} });
  app.register(async (plugin) => {
    await new Promise(setImmediate);
    plugin.get('/', async () => ({ hello: 'world' }));
    plugin.get('/stream', (_, reply) => {
      reply.type('text/plain').send(Readable.from(['a', 'b', 'c']));
    });
    plugin.get('/endless', (_, reply) => {
      endless.push('x');
      reply.send(endless);
    });
    plugin.get('/gzip', (_, reply) => {
      const zip = createGzip();
      zip.end('x'.repeat(1000));
      reply.header('content-encoding', 'gzip').send(zip);
    });
    plugin.get('/about', async (request) => {
      const { ip, protocol, host, hostname } = request;
      return { ip, protocol, host, hostname, user: metadataOf(request.raw).remoteUser };
    });
    plugin.get('/hijacked', (_, reply) => {
      reply.hijack();
      reply.raw.writeHead(200, { 'X-A': '1' });
      reply.raw.end('raw');
    });
    plugin.post('/json', async (request, reply) => reply.code(201).send(request.body));
    plugin.get('/fails', async () => {
      throw new Error('oh no');
    });
  });
  t.teardown(() => app.close());
  const ask = asker(app, null);

  const hello = await ask();
  t.same(JSON.parse(hello.text), { hello: 'world' }, 'the first request waits for the plugins');
  t.same(hello.values('content-length'), ['17']);
  await readinessOf(app);
  t.equal((await ask({ url: '/stream' })).text, 'abc');
  const zipped = await ask({ url: '/gzip' });
  t.equal(gunzipSync(Buffer.concat(zipped.pieces)).length, 1000);
  const kept = await ask({
    url: '/about',
    fields: ['Host', 'www.example:8080', 'Connection', 'keep-alive'],
    metadata: { remoteUser: 'ann' },
  });
  t.same(JSON.parse(kept.text), {
    ip: '192.0.2.7',
    protocol: 'http',
    host: 'www.example:8080',
    hostname: 'www.example',
    user: 'ann',
  });
  t.equal((await ask({ url: '/hijacked' })).text, 'raw');
  const posted = await ask(json('{"a":[1,2]}'));
  t.same([posted.status, posted.text], [201, '{"a":[1,2]}']);
  t.equal((await ask(json('{"a":'))).status, 400);
  t.equal((await ask(json(`"${'x'.repeat(2_000_000)}"`))).status, 413);
  t.equal((await ask({ url: '/fails' })).status, 500);
  t.equal((await ask({ url: '/nothing' })).status, 404);
  t.equal((await ask({ method: 'HEAD' })).text, '');

  const leaving = new MemoryExchange({ url: '/endless' });
  servletOf(app, null)(leaving);
  await leaving.called('body 1');
  const closed = once(endless, 'close');
  leaving.abort(new Error('gone'));
  await closed;
});

t.test('Fastify that does not get ready', async (t) => {
  const app = fastify();
  app.register(async () => {
    throw new Error('no database');
  });
  const answer = await asker(app, null)();
  t.equal(answer.status, 500);
  t.match(answer.reports, [/not ready: Error: no database/]);
  t.notMatch(answer.text, 'database');
  await t.rejects(readinessOf(app), /no database/);
});
