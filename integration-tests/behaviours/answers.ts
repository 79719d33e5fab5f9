// SPDX-License-Identifier: Apache-2.0
// What one request and its answer must look like, whatever the server: methods, bodies, headers,
// status lines, paths, streaming, error output.

import http from 'node:http';
import type { Test } from 'tap';
import { checksum, download, hex, pattern, RawClient } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { memoryBytes } from '../servers/processes.ts';
import { Site } from '../servers/site.ts';
import type { WebServer } from '../servers/web-server.ts';

const MB = 1024 * 1024;

/** Requests that programs were given. */
async function served(site: Site): Promise<number> {
  const { classes } = await site.status();
  const counts = classes.flatMap(({ instances }) => instances.map(({ requests }) => requests));
  return counts.reduce((sum, count) => sum + count, 0);
}

export async function answers(t: Test, server: WebServer): Promise<void> {
  const site = await Site.create(t, server);
  const echo = site.program('bin/echo');
  const live = site.program('bin/live');
  site.program('docs/dynamic.fcgi');
  site.program('docs/grüße und mehr.fcgi');

  await site.start({
    nginx: `
      usher_app ${echo} processes=4;
      usher_app ${live} processes=2;
      server {
        listen 127.0.0.1:${site.port};
        root ${site.docs};
        client_max_body_size 64m;
        large_client_header_buffers 16 8k;
        fastcgi_buffer_size 128k;
        fastcgi_buffers 8 128k;
        fastcgi_busy_buffers_size 128k;
        location /echo { usher_pass ${echo}; include fastcgi_params; }
        location /live { usher_pass ${live}; include fastcgi_params; fastcgi_buffering off; }
        location ~ \\.fcgi(/|$) {
          fastcgi_split_path_info ^(.+?\\.fcgi)(/.*)?$;
          usher_pass $document_root$fastcgi_script_name;
          include fastcgi_params;
          fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
          fastcgi_param PATH_INFO $fastcgi_path_info;
        }
      }`,
    apache: `
      AppClass ${echo} -processes 4
      AppClass ${live} -processes 2 -flush
      AddHandler fastcgi-script .fcgi
      <Directory ${site.docs}>
        Options +ExecCGI
      </Directory>
      <Location /echo>
        UsherPass ${echo}
      </Location>
      <Location /live>
        UsherPass ${live}
      </Location>`,
  });

  await methods(site);
  await bodies(site);
  await headers(site);
  await statusLines(site);
  await paths(site);
  await streams(site);
  await errorOutput(site);
  await site.end();
}

async function methods(site: Site): Promise<void> {
  await site.check('GET is answered with what the CGI variables say of it', async (t) => {
    const answer = await site.request('/echo?a=b&env');
    t.equal(answer.status, 200);
    t.same(answer.header('content-type'), ['text/plain']);
    t.match(answer.fields, {
      REQUEST_METHOD: 'GET',
      QUERY_STRING: 'a=b&env',
      REQUEST_URI: '/echo?a=b&env',
      SCRIPT_NAME: '/echo',
      SERVER_PROTOCOL: 'HTTP/1.1',
      GATEWAY_INTERFACE: 'CGI/1.1',
      REMOTE_ADDR: '127.0.0.1',
      SERVER_PORT: `${site.port}`,
      HTTP_HOST: `127.0.0.1:${site.port}`,
      body_bytes: '0',
    });
  });

  await site.check('HEAD is answered with the headers of GET and no body', async (t) => {
    const answer = await site.request(
      '/echo?header=X-A: 1&header=Content-Length: 1000&bytes=1000',
      {
        method: 'HEAD',
      },
    );
    t.equal(answer.status, 200);
    t.same(answer.header('x-a'), ['1']);
    t.same(answer.header('content-length'), ['1000']);
    t.equal(answer.body.length, 0);
  });

  for (const method of ['PUT', 'DELETE', 'OPTIONS', 'PROPFIND']) {
    await site.check(`${method} reaches the program`, async (t) => {
      const answer = await site.request('/echo', { method, body: 'some words' });
      t.match(answer.fields, { REQUEST_METHOD: method, body_bytes: '10' });
    });
  }

  await site.check('a connection that the client keeps carries several requests', async (t) => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const ports = new Set<string>();
    for (let i = 0; i < 4; i++) {
      const answer = await site.request('/echo', { method: 'POST', body: 'x'.repeat(i), agent });
      t.equal(answer.fields.body_bytes, `${i}`);
      ports.add(answer.fields.REMOTE_PORT ?? '');
    }
    agent.destroy();
    t.equal(ports.size, 1);
  });
}

async function bodies(site: Site): Promise<void> {
  for (const isChunked of [false, true]) {
    for (const bytes of [0, 1, 70_000, 20 * MB]) {
      const how = isChunked ? 'in chunks' : 'with its length';
      await site.check(`POST of ${bytes} bytes ${how} arrives whole`, async (t) => {
        const body = pattern(bytes);
        const { status, fields } = await site.request('/echo', { method: 'POST', body, isChunked });
        t.equal(status, 200);
        t.equal(fields.body_bytes, `${bytes}`);
        t.equal(fields.body_crc32, hex(checksum(body)));
        if (bytes > 0) t.equal(fields.CONTENT_LENGTH, `${bytes}`);
      });
    }
  }

  await site.check('bytes of every value come back as they went', async (t) => {
    const body = Buffer.alloc(70_000, Buffer.from(Array.from({ length: 256 }, (_, i) => i)));
    const answer = await site.request('/echo?body', { method: 'POST', body });
    t.equal(answer.body.length, body.length);
    t.equal(checksum(answer.body), checksum(body));
  });

  await site.check(
    'a client that asks first (Expect: 100-continue) is told to go on',
    async (t) => {
      const headers: [string, string][] = [['Expect', '100-continue']];
      const answer = await site.request('/echo', {
        method: 'POST',
        body: 'x'.repeat(5000),
        headers,
      });
      t.equal(answer.fields.body_bytes, '5000');
    },
  );

  await site.check('a body that the program does not read costs nothing', async (t) => {
    const answer = await site.request('/echo?text=unread', { method: 'POST', body: pattern(MB) });
    t.equal(answer.status, 200);
    t.equal(answer.text, 'unread');
    t.equal((await site.request('/echo?text=next')).text, 'next');
  });

  await site.check('an upload that stops half way reaches no program', async (t) => {
    await site.settled();
    const before = await served(site);
    const client = await RawClient.connect(site.port);
    client.send(`POST /echo?text=never HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n`);
    client.send(Buffer.alloc(50_000));
    const meanwhile = await Promise.all(
      Array.from({ length: 20 }, () => site.request('/echo?pid')),
    );
    t.same([...new Set(meanwhile.map(({ status }) => status))], [200]);
    client.leave();
    await site.settled();
    t.equal(await served(site), before + meanwhile.length);
  });
}

async function headers(site: Site): Promise<void> {
  const fields = (count: number, bytes: number): [string, string][] =>
    Array.from({ length: count }, (_, i) => [`X-Large-${i}`, `${i}:`.padEnd(bytes, 'v')]);

  // nginx puts all parameters into one FastCGI record: 64 kB is its limit.
  const [count, bytes] = site.server.kind === 'nginx' ? [9, 6500] : [14, 7500];
  await site.check(`${count * bytes} bytes of request headers reach the program`, async (t) => {
    const headers = fields(count, bytes);
    const answer = await site.request('/echo', { headers });
    t.equal(answer.status, 200);
    for (const [name, value] of headers) {
      t.equal(answer.fields[`HTTP_${name.toUpperCase().replaceAll('-', '_')}`], value);
    }
  });

  await site.check('fifty cookies are set one by one and in order', async (t) => {
    const cookies = Array.from({ length: 50 }, (_, i) => `c${i}=v${i}`);
    const query = cookies.map((cookie) => `header=Set-Cookie: ${cookie}`).join('&');
    const answer = await site.request(`/echo?${query}&text=x`);
    t.same(answer.header('set-cookie'), cookies);
  });

  await site.check('60 kB of answer headers arrive, in lines of 6 kB', async (t) => {
    const answer = await site.request('/echo?headers=6000&text=x');
    t.equal(answer.status, 200);
    for (let i = 0; i < 10; i++) {
      t.same(answer.header(`x-long-${i}`), ['.'.repeat(6000)]);
    }
  });

  await site.check('the header lines of the program may end in a single LF', async (t) => {
    const head = encodeURIComponent('Content-Type: text/html\nX-B: 2\n\nhello');
    const answer = await site.request(`/echo?raw&text=${head}`);
    t.same(answer.header('x-b'), ['2']);
    t.equal(answer.text, 'hello');
  });

  await site.check('the program has no part of the HTTP_PROXY that a client sends', async (t) => {
    const answer = await site.request('/echo', { headers: [['Proxy', 'http://evil.example/']] });
    if (site.server.kind === 'apache') t.notOk('HTTP_PROXY' in answer.fields);
    t.equal(answer.status, 200);
  });
}

async function statusLines(site: Site): Promise<void> {
  const say = (...lines: string[]) =>
    `/echo?${lines.map((line) => `header=${encodeURIComponent(line)}`).join('&')}`;

  await site.check('the program chooses the status', async (t) => {
    for (const status of ['201 Created', '404 Gone Fishing', '418', '500 Broken', '503 Later']) {
      const answer = await site.request(`${say(`Status: ${status}`)}&text=own page`);
      t.equal(answer.status, Number.parseInt(status, 10));
      t.equal(answer.text, 'own page', `body of ${status}`);
    }
  });

  await site.check('204 and 304 have no body and keep their headers', async (t) => {
    for (const status of ['204 No Content', '304 Not Modified']) {
      const answer = await site.request(`${say(`Status: ${status}`, 'ETag: "v1"')}&no-type`);
      t.equal(answer.status, Number.parseInt(status, 10));
      t.same(answer.header('etag'), ['"v1"']);
      t.equal(answer.body.length, 0);
      t.equal(answer.isComplete, true);
    }
  });

  await site.check('one that breaks off is seen to, also where nothing is buffered', async (t) => {
    for (const path of ['/echo', '/live']) {
      const answer = await site.request(`${path}?bytes=300000&flush&abort`);
      t.notOk(answer.status === 200 && answer.isComplete, `${path}: ${answer.status}`);
      await eventually('the next answer', async () => {
        return (await site.request(`${path}?text=alive`)).status === 200;
      });
    }
  });

  await site.check('an answer may have no body at all', async (t) => {
    const answer = await site.request(say('X-Only: headers'));
    t.equal(answer.status, 200);
    t.equal(answer.body.length, 0);
    t.equal(answer.isComplete, true);
  });

  await site.check('Location without Status redirects', async (t) => {
    const answer = await site.request(say('Location: http://example.org/there?x=1'));
    t.equal(answer.status, 302);
    t.same(answer.header('location'), ['http://example.org/there?x=1']);
  });

  await site.check('Location goes with the status that the program gives', async (t) => {
    for (const status of [201, 301, 303, 307]) {
      const answer = await site.request(say(`Status: ${status} X`, 'Location: http://x.example/y'));
      t.equal(answer.status, status);
      t.same(answer.header('location'), ['http://x.example/y']);
    }
  });

  await site.check('Location of a path stays on this server', async (t) => {
    const answer = await site.request(say('Location: /echo?text=inside'));
    if (site.server.kind === 'apache') {
      t.equal(answer.status, 200, 'an internal redirect, as the CGI rules say');
      t.equal(answer.text, 'inside');
    } else {
      t.equal(answer.status, 302, 'nginx leaves it to the client');
      t.match(answer.header('location')[0], /\/echo\?text=inside$/);
    }
  });

  await site.check(
    'an answer that is none is a bad gateway, and the next one is good',
    async (t) => {
      for (const query of ['raw&text=no header here', 'raw']) {
        const answer = await site.request(`/echo?${query}`);
        t.equal(answer.status, 502, query);
      }
      t.equal((await site.request('/echo?text=next')).text, 'next');
    },
  );
}

async function paths(site: Site): Promise<void> {
  await site.check('what follows the program in the path is PATH_INFO', async (t) => {
    const { fields } = await site.request('/dynamic.fcgi/one/two%20%25/%C3%A4?q=%26%20+&r');
    t.match(fields, {
      SCRIPT_NAME: '/dynamic.fcgi',
      SCRIPT_FILENAME: `${site.docs}/dynamic.fcgi`,
      PATH_INFO: '/one/two %/ä',
      QUERY_STRING: 'q=%26%20+&r',
      REQUEST_URI: '/dynamic.fcgi/one/two%20%25/%C3%A4?q=%26%20+&r',
    });
  });

  await site.check('without more path there is no PATH_INFO', async (t) => {
    const { fields } = await site.request('/dynamic.fcgi');
    t.equal(fields.PATH_INFO ?? '', '');
    t.equal(fields.SCRIPT_NAME, '/dynamic.fcgi');
  });

  await site.check('file names may have blanks and letters beyond ASCII', async (t) => {
    const { status, fields } = await site.request('/gr%C3%BC%C3%9Fe%20und%20mehr.fcgi/%20x');
    t.equal(status, 200);
    t.match(fields, {
      SCRIPT_NAME: '/grüße und mehr.fcgi',
      SCRIPT_FILENAME: `${site.docs}/grüße und mehr.fcgi`,
      PATH_INFO: '/ x',
    });
  });

  await site.check('a query of 6 kB arrives whole', async (t) => {
    const query = `x=${'%C3%A4+'.repeat(900)}`;
    t.equal((await site.request(`/echo?${query}`)).fields.QUERY_STRING, query);
  });
}

async function streams(site: Site): Promise<void> {
  await site.check('the first bytes come before the last ones are made', async (t) => {
    const gate = `${site.dir}/gate`;
    const client = await RawClient.get(site.port, `/live?text=first&flush&wait=${gate}&text=last`);
    t.notMatch(await client.until('first'), 'last');
    site.file('gate', '');
    t.match(await client.all(), /first[\s\S]*last/);
  });

  await site.check('200 MB come through at constant memory', async (t) => {
    const bytes = 200 * MB;
    let expected = 0;
    const piece = pattern(251 * 4096);
    for (let at = 0; at < bytes; at += piece.length) {
      expected = checksum(piece.subarray(0, Math.min(piece.length, bytes - at)), expected);
    }
    const most = () => Math.max(...[site.pid, ...site.workers].map(memoryBytes));
    const before = most();
    let highest = before;
    let looked = 0;
    const got = await download(site.port, `/echo?bytes=${bytes}`, (seen) => {
      if (seen - looked < 8 * MB) return;
      looked = seen;
      highest = Math.max(highest, most());
    });
    t.match(got, { status: 200, bytes, crc32: expected, isComplete: true });
    t.ok(highest - before < 32 * MB, `a worker grew by ${(highest - before) / MB} MB`);
  });

  await site.check('a client that reads slowly gets all of it', async (t) => {
    const client = await RawClient.get(site.port, `/live?bytes=${8 * MB}`);
    client.socket.pause();
    const others = await Promise.all(Array.from({ length: 20 }, () => site.request('/echo?pid')));
    t.same([...new Set(others.map(({ status }) => status))], [200]);
    client.socket.resume();
    t.ok((await client.all()).length > 8 * MB);
    await site.settled();
  });
}

async function errorOutput(site: Site): Promise<void> {
  await site.check('what the program says on its error stream is in the error log', async (t) => {
    const words = 'stderr=first%20complaint&text=fine&stderr=second%20complaint';
    const answer = await site.request(`/echo?${words}`);
    t.equal(answer.status, 200);
    t.equal(answer.text, 'fine');
    t.ok(await site.errorLine(/first complaint/));
    t.ok(await site.errorLine(/second complaint/));
  });

  await site.check('the access log knows class, state and wait of a request', async (t) => {
    await site.request('/echo?text=logged');
    const line = await site.accessLine(/text=logged/);
    t.match(line, / 200 class=\S*bin\/echo state=(warm|cold|queued) wait_ms=\d+/);
  });
}
