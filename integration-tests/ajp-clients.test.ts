// SPDX-License-Identifier: Apache-2.0
// mod_jk and mod_proxy_ajp as clients of the server side of our AJP codecs: what they send, and what they
// make of our answers. Deviations that are theirs alone are named where they are tried.

import t from 'tap';
import { type Answer, checksum, fieldsOf, hex, pattern, RawClient } from './servers/client.ts';
import { Engine } from './servers/engine.ts';
import { eventually } from './servers/eventually.ts';
import { nothingLeft } from './servers/leftovers.ts';
import { Site } from './servers/site.ts';
import { stockApache } from './servers/stock.ts';

const secret = 'geheim';

interface Client {
  name: string;
  isJk: boolean;
}

const clients: Client[] = [
  { name: 'jk', isJk: true },
  { name: 'proxy', isJk: false },
];

/**
 * Below /jk/ mod_jk, below /proxy/ mod_proxy_ajp; -one: over one connection that is asked before each
 * request; -wrong: with another secret, -none: with none.
 */
function configuration(site: Site, { port }: Engine, old: Engine): string {
  const jk = (name: string, properties: Record<string, string | number>) =>
    Object.entries({ type: 'ajp13', host: '127.0.0.1', port, ...properties })
      .map(([key, value]) => `JkWorkerProperty worker.${name}.${key}=${value}`)
      .join('\n');
  const proxy = (name: string, words: string) =>
    `ProxyPass /${name}/ ajp://127.0.0.1:${port}/${name}/ ${words}`;
  return `
    JkShmFile ${site.dir}/jk.shm
    JkLogFile ${site.dir}/jk.log
    JkLogLevel info
    JkWorkerProperty worker.list=jk,one,wrong,none,old
    ${jk('jk', { secret })}
    ${jk('one', { secret, connection_pool_size: 1, ping_mode: 'A', ping_timeout: 60_000 })}
    ${jk('wrong', { secret: 'falsch' })}
    ${jk('none', {})}
    ${jk('old', { type: 'ajp12', port: old.port })}
    JkMount /jk/* jk
    JkMount /jk-one/* one
    JkMount /jk-wrong/* wrong
    JkMount /jk-none/* none
    JkMount /old/* old
    JkEnvVar TENANT blue
    SetEnv AJP_TENANT blue
    SetEnvIf Request_URI include AJP_javax.servlet.include.path_info=/WEB-INF/web.xml
    SetEnvIf Request_URI other AJP_OTHER=x
    ${proxy('proxy-one', `secret=${secret} max=1 ping=60`)}
    ${proxy('proxy-wrong', 'secret=falsch')}
    ${proxy('proxy-none', '')}
    ${proxy('proxy', `secret=${secret}`)}`;
}

interface World {
  site: Site;
  engine: Engine;
  old: Engine;
}

/** A request by hand; the answer to its end. */
async function raw(site: Site, text: string): Promise<string> {
  const client = await RawClient.connect(site.port);
  client.send(text);
  return client.all();
}

/** What an engine was given, bytes as Latin-1 characters. */
function given(answer: Answer): Record<string, string> {
  if (answer.status !== 200) throw new Error(`${answer.status} ${answer.text.slice(0, 200)}`);
  return fieldsOf(answer.body.toString('latin1'));
}

async function requests({ site, engine }: World, { name, isJk }: Client): Promise<void> {
  const at = (path: string) => `/${name}/${path}`;

  await site.check(`${name}: a request`, async (t) => {
    const fields = given(
      await site.request(at('a%20b?x=%20y'), {
        headers: [
          ['Host', 'shop.example:81'],
          ['X-Some', 'field'],
        ],
      }),
    );
    t.match(fields, {
      method: 'GET',
      uri: at('a%20b'),
      query: 'x=%20y',
      protocol: 'HTTP/1.1',
      remoteAddr: '127.0.0.1',
      serverName: 'shop.example',
      isSsl: 'false',
      'header.host': 'shop.example:81',
      'header.x-some': 'field',
      'attribute.AJP_LOCAL_ADDR': '127.0.0.1',
      'attribute.TENANT': 'blue',
    });
    t.ok(Number(fields['attribute.AJP_REMOTE_PORT']) > 1024);
    t.equal(fields['known.secret'], undefined, 'the program is not told the secret');
  });

  await site.check(`${name}: methods`, async (t) => {
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS', 'PROPFIND', 'REPORT', 'PATCH', 'X!']) {
      t.equal(given(await site.request(at('x'), { method })).method, method);
    }
    const head = await site.request(at('x'), { method: 'HEAD' });
    t.equal(head.status, 200);
    t.equal(head.body.length, 0);
    t.equal((await engine.of('whole')).at(-1)?.uri, at('x'));
  });

  await site.check(`${name}: bodies`, async (t) => {
    for (const bytes of [0, 1, 8186, 8187, 20_000, 1_000_000]) {
      for (const isChunked of [false, true]) {
        for (const words of ['', '?ask=100', '?first=1']) {
          if (bytes > 20_000 && words === '?ask=100') continue; // ten thousand packets
          const body = pattern(bytes);
          const options = { method: 'POST', body, isChunked };
          const fields = given(await site.request(at(`x${words}`), options));
          const what = `${bytes} bytes${isChunked ? ', chunked' : ''} ${words}`;
          t.match(fields, { bodyBytes: `${bytes}`, bodyCrc: hex(checksum(body)) }, what);
        }
      }
    }
    const large = await site.request(at('x?bytes=1000000'));
    t.equal(checksum(large.body), checksum(pattern(1_000_000)));
    t.equal((await site.request(at('x?bytes=0'))).body.length, 0);
    const none = await site.request(at('x?status=304'));
    t.same([none.status, none.body.length], [304, 0]);
  });

  await site.check(`${name}: fields of any kind`, async (t) => {
    const cookie = Array.from({ length: 200 }, (_, i) => `c${i}="v ${i}"`).join('; ');
    const odd = 'a\tb "c" \\ ; , = \xe4\xf6\xff %0a';
    const fields = given(
      await site.request(at('x'), {
        headers: [
          ['Cookie', cookie],
          ['X-Odd', odd],
          ["X!#$%&'*+.^_`|~", 'name'],
          ['X-Empty', ''],
          ['User-Agent', 'u'],
          ['Accept-Charset', 'x'],
        ],
      }),
    );
    t.equal(fields['header.cookie'], cookie);
    t.equal(fields['header.x-odd'], odd);
    t.equal(fields["header.x!#$%&'*+.^_`|~"], 'name');
    t.equal(fields['header.x-empty'], '');
    t.equal(fields['header.user-agent'], 'u');
    t.equal(fields['header.accept-charset'], 'x');
    const words = Array.from({ length: 40 }, (_, i) => `field=Set-Cookie:c${i}%3Dv`).join('&');
    const answer = await site.request(at(`x?${words}&field=X-Odd:%C3%A4%22%3B&field=X-Empty:`));
    t.equal(answer.header('Set-Cookie').length, 40);
    t.same(answer.header('X-Odd'), ['\xc3\xa4";']);
    t.equal((await site.request(at('x?status=418'))).status, 418);
  });

  await site.check(`${name}: connections`, async (t) => {
    const one = (path: string, options = {}) => site.request(`/${name}-one/${path}`, options);
    const pings = (await engine.of('ping')).length;
    const first = given(await one('x'));
    for (let i = 1; i <= 50; i++) {
      const { connection, request } = given(await one('x'));
      t.equal(connection, first.connection);
      t.equal(Number(request), Number(first.request) + i);
    }
    t.ok((await engine.of('ping')).length > pings, 'which is asked by CPING');

    const unread = await one('x?unread=1', { method: 'POST', body: pattern(20_000) });
    t.match(given(unread), { connection: first.connection, bodyBytes: '0' });
    const next = given(await one('x'));
    t.equal(next.connection, first.connection, 'after a body that was never sent');
    t.equal(next.method, 'GET');
    const last = given(await one('x?reuse=0'));
    t.equal(last.connection, first.connection);
    t.not(given(await one('x')).connection, first.connection, 'not after END with 0');

    await engine.stop();
    await engine.start();
    t.equal((await one('x')).status, 200, 'CPING finds one that has ended');
  });

  await site.check(`${name}: secrets`, async (t) => {
    const before = (await engine.of('request')).length;
    for (const kind of ['wrong', 'none']) {
      for (const body of [undefined, 'abc']) {
        const method = body === undefined ? 'GET' : 'POST';
        const answer = await site.request(`/${name}-${kind}/x`, { method, body: body ?? '' });
        t.equal(answer.status, 403, `${kind} ${method}`);
      }
    }
    t.equal((await engine.of('request')).length, before);
    t.match((await engine.of('refused')).at(-1), { status: 403, message: /no secret/ });
    t.equal((await site.request(at('x'))).status, 200, 'who has it is served');
  });

  await site.check(`${name}: a client that leaves`, async (t) => {
    const reader = await RawClient.get(site.port, at('left?parts=1000000&size=1000&ms=1'));
    await reader.until('part 3');
    const [request] = await engine.of('request', at('left'));
    reader.leave();
    await eventually('the engine to hear of it', async () =>
      (await engine.of('closed')).some(({ connection }) => connection === request?.connection),
    );
    const writer = await RawClient.connect(site.port);
    writer.send(`POST ${at('half')} HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n`);
    writer.send(pattern(50_000));
    const half = await eventually(
      'the request',
      async () => (await engine.of('request', at('half')))[0],
    );
    writer.leave();
    await eventually('the end of its connection', async () =>
      (await engine.of('closed')).some(({ connection }) => connection === half.connection),
    );
    t.same(await engine.of('whole', at('half')), [], 'half of an upload is no upload');
    t.equal((await site.request(at('x'))).status, 200);
  });

  await site.check(`${name}: what it does in its own way`, async (t) => {
    const plain = given(await site.request(at('x')));
    t.equal(plain['header.content-length'], isJk ? '0' : undefined);
    t.equal(plain.body, isJk ? 'none' : 'chunked', 'without a length one has to ask for a body');
    t.equal(plain['attribute.JK_LB_ACTIVATION'], isJk ? 'ACT' : undefined);
    const named = given(await site.request(at('x'), { headers: [['Host', 'a']] }));
    t.equal(named.serverPort, isJk ? '80' : String(site.port));

    const hops = given(
      await site.request(at('x'), {
        headers: [
          ['TE', 'trailers'],
          ['Upgrade', 'foo'],
          ['X-Hop', '1'],
          ['Connection', 'X-Hop, Upgrade, TE, close'],
        ],
      }),
    );
    t.equal(hops['header.te'], 'trailers', 'fields of the connection come through');
    t.equal(hops['header.upgrade'], 'foo');
    t.equal(hops['header.x-hop'], '1');

    const both = await raw(
      site,
      `POST ${at('both')} HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n` +
        'Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    );
    t.match(both, /bodyBytes=3\n/, 'two lengths: httpd has taken one away');
    t.notMatch(both, /header\.content-length/);
    t.match(await engine.of('request', at('both')), [{ body: 'chunked' }]);

    const coding = await raw(
      site,
      `POST ${at('coding')} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n` +
        'Transfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n',
    );
    t.match(coding, /^HTTP\/1\.1 [45]/);
    t.same(
      await engine.of('whole', at('coding')),
      [],
      'nobody is asked for a body that cannot be read',
    );

    const get = await site.request(at('get?drop=1'));
    t.equal(get.status, isJk ? 502 : 500);
    t.equal((await engine.of('request', at('get'))).length, isJk ? 2 : 1, 'mod_jk asks twice');
    await site.request(at('post?drop=1'), { method: 'POST', body: 'abc' });
    t.equal((await engine.of('request', at('post'))).length, isJk ? 2 : 1, 'and even posts twice');

    if (!isJk) {
      for (const path of ['include', 'other']) {
        t.equal((await site.request(at(path))).status, 403, 'attributes that nobody allows');
        t.same(await engine.of('request', at(path)), []);
      }
    }
  });
}

/** AJP 1.2, which mod_jk alone speaks. */
async function oldRequests({ site, old }: World): Promise<void> {
  await site.check('mod_jk, AJP 1.2: a request', async (t) => {
    const fields = given(
      await site.request('/old/a%20b?x=%20y', {
        headers: [
          ['Host', 'shop.example:81'],
          ['X-Odd', '\xe4 "b" ;'],
          ['Cookie', 'a=b; c="d"'],
        ],
      }),
    );
    t.match(fields, {
      method: 'GET',
      uri: '/old/a%20b',
      query: 'x=%20y',
      protocol: 'HTTP/1.1',
      remoteAddr: '127.0.0.1',
      serverName: 'shop.example',
      serverPort: '81',
      'header.x-odd': '\xe4 "b" ;',
      'header.cookie': 'a=b; c="d"',
      'header.content-length': '0',
      'attribute.TENANT': 'blue',
    });
    t.match(fields.serverSoftware, /Apache/);
    for (const name of ['zone', 'servlet', 'documentRoot', 'pathInfo', 'scriptName', 'route']) {
      t.equal(fields[name], '', `${name}: null`);
    }
  });

  await site.check('mod_jk, AJP 1.2: methods and bodies', async (t) => {
    for (const method of ['GET', 'PUT', 'DELETE', 'PATCH']) {
      t.equal(given(await site.request('/old/x', { method, body: '' })).method, method);
    }
    const head = await site.request('/old/x', { method: 'HEAD' });
    t.same([head.status, head.body.length], [200, 0]);
    for (const bytes of [0, 1, 20_000, 1_000_000]) {
      const body = pattern(bytes);
      const fields = given(await site.request('/old/x', { method: 'POST', body }));
      t.match(fields, { bodyBytes: `${bytes}`, bodyCrc: hex(checksum(body)) });
    }
    const large = await site.request('/old/x?bytes=1000000');
    t.equal(checksum(large.body), checksum(pattern(1_000_000)));
    const before = (await old.of('request')).length;
    const chunked = { method: 'POST', body: 'abc', isChunked: true };
    t.equal((await site.request('/old/x', chunked)).status, 411, 'it would send no body');
    t.equal((await old.of('request')).length, before);
    const unread = await site.request('/old/x?unread=1', { method: 'POST', body: pattern(100) });
    t.equal(unread.status, 200);
  });

  await site.check('mod_jk, AJP 1.2: answers', async (t) => {
    const words = Array.from({ length: 40 }, (_, i) => `field=Set-Cookie:c${i}%3Dv`).join('&');
    const answer = await site.request(`/old/x?${words}&field=X-Empty:&status=201`);
    t.equal(answer.status, 201);
    t.equal(answer.header('Set-Cookie').length, 40);
    t.same(answer.header('X-Empty'), [], 'left out, as mod_jk would refuse the answer');
    const teapot = await site.request('/old/x?status=418');
    t.equal(teapot.status, 418);
    t.notMatch(teapot.text, 'method=GET', 'in place of the body comes a page of httpd');
    const seen = new Set<string | undefined>();
    for (let i = 0; i < 50; i++) seen.add(given(await site.request('/old/x')).connection);
    t.equal(seen.size, 50, 'a connection each');
  });

  await site.check('mod_jk, AJP 1.2: a client that leaves', async (t) => {
    const reader = await RawClient.get(site.port, '/old/left?parts=100&size=100&ms=5');
    await reader.until('part 3');
    const [request] = await old.of('request', '/old/left');
    reader.leave();
    // Which the engine does not hear of: mod_jk leaves the connection as it is.
    await eventually('the end of the answer', async () =>
      (await old.of('closed')).some(({ connection }) => connection === request?.connection),
    );
    t.equal((await site.request('/old/x')).status, 200);
  });
}

t.test('clients of AJP', async (t) => {
  const engine = await Engine.start(t, { protocol: 'ajp13', secret, attributes: ['TENANT'] });
  const old = await Engine.start(t, { protocol: 'ajp12' });
  const site = await Site.create(t, stockApache);
  await site.start({ apache: configuration(site, engine, old) });
  const world = { site, engine, old };
  for (const client of clients) await requests(world, client);
  await oldRequests(world);
  await site.end();
});
t.test('after the end', nothingLeft);
