// SPDX-License-Identifier: Apache-2.0
import { AsyncLocalStorage } from 'node:async_hooks';
import t from 'tap';
import { type FetchHandler, fetchServlet } from './fetch-servlet.ts';
import { metadataOf } from './request-metadata.ts';
import { type Asked, MemoryExchange } from './testing/memory-exchange.ts';

function start(handler: FetchHandler, asked?: Asked): MemoryExchange {
  const exchange = new MemoryExchange(asked);
  fetchServlet(handler)(exchange);
  return exchange;
}

const ask = (handler: FetchHandler, asked?: Asked): Promise<MemoryExchange> =>
  start(handler, asked).over();

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

async function turns(isEnough: () => boolean): Promise<void> {
  while (!isEnough()) await turn();
}

t.test('a small answer is one begin and one end, with its length', async (t) => {
  for (const body of ['hello', Buffer.from('hello'), new Blob(['hello'])]) {
    const answer = await ask(() => new Response(body));
    t.equal(answer.text, 'hello');
    if (body instanceof Blob) continue;
    t.same(answer.calls, ['head', 'end 5']);
    t.same(answer.values('content-length'), ['5']);
  }
  const nothing = await ask(() => new Response(null, { status: 201, statusText: 'Made' }));
  t.same(nothing.calls, ['head', 'end 0']);
  t.same([nothing.status, nothing.reason, nothing.values('content-length')], [201, 'Made', ['0']]);
  const empty = await ask(() => new Response(''));
  t.same([empty.calls, empty.values('content-length')], [['head', 'end 0'], ['0']]);
  for (const status of [204, 304]) {
    const answer = await ask(() => new Response(null, { status }));
    t.same([answer.status, answer.values('content-length')], [status, []]);
  }
  const own = await ask(() => new Response('hello', { headers: { 'Content-Length': '5' } }));
  t.same(own.values('content-length'), ['5']);
});

t.test('HEAD: the body is cancelled', async (t) => {
  let reason: unknown = null;
  const body = new ReadableStream({
    cancel(given) {
      reason = given;
    },
  });
  const answer = await ask(() => new Response(body, { headers: { 'content-length': '7' } }), {
    method: 'HEAD',
  });
  t.same([answer.text, answer.values('content-length')], ['', ['7']]);
  await turn();
  t.equal(reason, undefined);
});

t.test('fields', async (t) => {
  const answer = await ask(
    (request) => {
      t.equal(request.headers.get('x-a'), '\xc3\xa9, 2', 'bytes, as fetch has them');
      t.equal(request.headers.get('cookie'), 'a=1; b=2');
      const headers = new Headers({ 'X-B': '\xe9' });
      headers.append('Set-Cookie', 'a=1, 2');
      headers.append('Set-Cookie', 'b=2');
      return new Response('x', { headers });
    },
    { fields: ['X-A', '\xc3\xa9', 'x-a', '2', 'Cookie', 'a=1', 'Cookie', 'b=2'] },
  );
  t.same(answer.values('set-cookie'), ['a=1, 2', 'b=2']);
  t.same(answer.values('x-b'), ['\xe9']);
});

t.test('URL', async (t) => {
  const url = async (asked: Asked): Promise<string> =>
    (await ask((request) => new Response(request.url), asked)).text;
  t.equal(await url({ url: '/a?b=%20' }), 'http://www.example/a?b=%20');
  const https = { isSecure: true, serverPort: 443 };
  t.equal(await url({ metadata: https }), 'https://www.example/');
  t.equal(await url({ fields: ['hOsT', 'a.example:81'] }), 'http://a.example:81/');
  t.equal(await url({ fields: [], metadata: { serverPort: 81 } }), 'http://www.example:81/');
  t.equal(await url({ fields: [], metadata: { serverName: '::1', ...https } }), 'https://[::1]/');
  t.equal(
    await url({ fields: [], metadata: { serverName: '', serverPort: 0 } }),
    'http://localhost/',
  );
  t.equal(await url({ url: '//other.example/a' }), 'http://www.example//other.example/a');
  t.equal(await url({ url: '*', method: 'OPTIONS' }), 'http://www.example/*');
  t.equal(await url({ url: '/\xc3\xa9' }), 'http://www.example/%C3%A9');
});

t.test('requests that none can be made of', async (t) => {
  const refused = async (asked: Asked, status: number): Promise<void> => {
    const answer = await ask(() => new Response(`${t.fail('called')}`), asked);
    t.equal(answer.status, status);
    t.equal(answer.reports.length, 1);
  };
  for (const host of ['a/b', 'user@a', 'a b', 'a:99999', '[::1', 'a?b', 'a#b', 'a\\b']) {
    await refused({ fields: ['Host', host] }, 400);
  }
  await refused({ fields: ['Host', 'a', 'X Y', '1'] }, 400);
  await refused({ method: 'TRACE' }, 501);
  await refused({ method: 'CONNECT' }, 501);
});

t.test('a request is a Request', async (t) => {
  await ask(
    async (request) => {
      t.ok(request instanceof Request);
      t.equal(request.method, 'PROPFIND');
      t.equal(request.body, null);
      t.equal(metadataOf(request).remoteAddress, '192.0.2.7');
      t.throws(() => metadataOf(request.clone()), TypeError);
      return new Response();
    },
    { method: 'PROPFIND' },
  );
  const echo = await ask(async (request) => Response.json(await request.json()), {
    method: 'POST',
    body: ['{"a":', '1}'],
  });
  t.equal(echo.text, '{"a":1}');
  const get = await ask((request) => new Response(`${request.body}`), { body: ['dropped'] });
  t.equal(get.text, 'null', 'a Request of GET has no body');
});

t.test('a body waits for its reader', async (t) => {
  const pieces = Array.from({ length: 10 }, () => Buffer.alloc(30_000, 'x'));
  let go = (): void => undefined;
  const exchange = start(
    async (request) => {
      await new Promise<void>((resolve) => {
        go = resolve;
      });
      const bytes = await request.arrayBuffer();
      return new Response(`${bytes.byteLength}`);
    },
    { method: 'PUT', body: pieces, bodyBytes: null },
  );
  await exchange.called('pause');
  await turn();
  t.notOk(exchange.isFlowing);
  go();
  await exchange.over();
  t.equal(exchange.text, '300000');
});

t.test('from body to body', async (t) => {
  const exchange = start((request) => new Response(request.body), { method: 'POST', body: null });
  exchange.give('one ');
  await turns(() => exchange.text === 'one ');
  exchange.give('two');
  exchange.give(null);
  await exchange.over();
  t.equal(exchange.text, 'one two');
  t.same(exchange.values('content-length'), []);
});

t.test('a body ends with the answer', async (t) => {
  let reading: Promise<unknown> = Promise.resolve();
  await ask(
    (request) => {
      reading = request.text();
      reading.catch(() => undefined);
      return new Response('early');
    },
    { method: 'POST', body: null },
  );
  await t.rejects(reading, /ends with the answer/);
});

t.test('the head does not wait for the body', async (t) => {
  let controller!: ReadableStreamDefaultController;
  const body = new ReadableStream({
    start(given) {
      controller = given;
    },
  });
  const exchange = start(() => new Response(body));
  await exchange.called('flush');
  t.same(exchange.calls, ['head', 'flush']);
  controller.enqueue(Buffer.from('a'));
  await exchange.called('body 1');
  controller.enqueue(new Uint8Array([98, 99]));
  controller.close();
  await exchange.over();
  t.equal(exchange.text, 'abc');
  t.same(exchange.values('content-length'), []);
});

t.test('an answer waits for room', async (t) => {
  let read = 0;
  const body = new ReadableStream({
    pull(controller) {
      read++;
      if (read > 20) controller.close();
      else controller.enqueue(Buffer.alloc(10_000));
    },
  });
  const exchange = new MemoryExchange();
  exchange.room = 15_000;
  fetchServlet(() => new Response(body))(exchange);
  await exchange.called('body 10000');
  for (let i = 0; i < 20; i++) await turn();
  t.ok(read < 6, 'the source waits');
  exchange.drain();
  await exchange.over();
  t.equal(Buffer.concat(exchange.pieces).length, 200_000);
});

t.test('a client leaves', async (t) => {
  let cancelled: unknown = null;
  let reason: unknown = null;
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from('begun'));
    },
    cancel(given) {
      cancelled = given;
    },
  });
  let reading: Promise<unknown> = Promise.resolve();
  const exchange = start(
    (request) => {
      request.signal.addEventListener('abort', () => {
        reason = request.signal.reason;
      });
      reading = request.text();
      reading.catch(() => undefined);
      return new Response(body);
    },
    { method: 'POST', body: null },
  );
  await exchange.called('body 5');
  exchange.abort(new Error('the connection is gone'));
  await turns(() => cancelled !== null);
  t.match(reason, { name: 'AbortError', message: 'the connection is gone' });
  t.equal(cancelled, reason);
  await t.rejects(reading, { name: 'AbortError' });
  t.same(exchange.reports, []);
});

t.test('a client leaves before there is an answer', async (t) => {
  let cancelled = false;
  let answer!: (response: Response) => void;
  const exchange = start(
    () =>
      new Promise((resolve) => {
        answer = resolve;
      }),
  );
  exchange.abort(new Error('gone'));
  const body = new ReadableStream({
    cancel() {
      cancelled = true;
    },
  });
  answer(new Response(body));
  await turns(() => cancelled);

  const stopped = start(async (request) => {
    await new Promise((resolve) => request.signal.addEventListener('abort', resolve));
    request.signal.throwIfAborted();
    return new Response();
  });
  stopped.abort(new Error('gone'));
  await turn();
  t.same(stopped.reports, [], 'who stops for that has not failed');
});

t.test('handlers that fail', async (t) => {
  const fails = async (handler: () => unknown, line: RegExp, status = 500): Promise<void> => {
    const answer = await ask(handler as FetchHandler, { url: '/x' });
    await turn();
    t.equal(answer.status, status);
    t.equal(answer.reports.length, 1);
    t.match(answer.reports[0], line);
    t.match(answer.reports[0], 'GET /x');
    t.notMatch(answer.text, 'oh no');
  };
  await fails(() => {
    throw new Error('oh no');
  }, /Error: oh no at /);
  await fails(() => Promise.reject(new Error('oh no')), /oh no/);
  await fails(() => undefined, /returns a Response, or a promise of one, not undefined/);
  await fails(() => 'text', /not a string/);
  await fails(() => ({ status: 200 }), /not a Object/);
  await fails(() => Response.error(), /Response\.error\(\)/, 502);
  const early = { status: 103, headers: new Headers(), body: null, statusText: '' };
  await fails(() => early, /status 103/);
  await fails(async () => {
    const response = new Response('x');
    await response.text();
    return response;
  }, /was used before/);
  const wrong = new ReadableStream({
    start(controller) {
      controller.enqueue('text');
    },
  });
  await fails(() => new Response(wrong), /Uint8Arrays, not a string/);

  const broken = new ReadableStream({
    start(controller) {
      controller.enqueue(Buffer.from('half'));
    },
    async pull(controller) {
      await turn();
      controller.error(new Error('oh no'));
    },
  });
  const half = await ask(() => new Response(broken));
  await turns(() => half.reports.length > 0);
  t.ok(half.isBroken);
  t.equal(half.text, 'half');
});

t.test('what a handler enters holds for its request only', async (t) => {
  const storage = new AsyncLocalStorage<string>();
  const seen: (string | undefined)[] = [];
  const servlet = fetchServlet(async (request) => {
    seen.push(storage.getStore());
    storage.enterWith(request.url);
    return new Response();
  });
  const exchanges = [new MemoryExchange(), new MemoryExchange()];
  for (const exchange of exchanges) servlet(exchange);
  for (const exchange of exchanges) await exchange.over();
  t.same(seen, [undefined, undefined]);
});
