// SPDX-License-Identifier: Apache-2.0
// Servlet engines that are killed, stopped, slow, out of threads or configured otherwise than we are:
// what the client gets, what the logs say of it, and that all is well afterwards without a restart.

import { randomInt } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import type { Answer, RequestOptions } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { isStopped, signal } from '../servers/processes.ts';
import { Site, type Texts } from '../servers/site.ts';
import type { Tomcat } from '../servers/tomcat.ts';
import type { WebServer } from '../servers/web-server.ts';
import { classLine } from '../torture/configuration.ts';
import type { ClassOptions } from '../torture/programs.ts';

export interface Engines {
  /** Their routes are their names here, their application's context is /app. */
  a: Tomcat;
  b: Tomcat;
  /** Has two threads and a packetSize of 65536. */
  small: Tomcat;
  secret: string;
}

/** Below /NAME/ each. */
export function configuration(
  site: Site,
  classes: Record<string, ClassOptions>,
  nginxMore = '',
): Texts {
  const names = Object.keys(classes);
  const lines = (kind: WebServer['kind']): string =>
    Object.entries(classes)
      .map(([name, own]) => {
        const options = { protocol: 'ajp', mount: `/${name}`, context: '/app', ...own };
        return classLine(kind, 'external', name, options);
      })
      .join('\n');
  return {
    nginx: `${lines('nginx')}
      server {
        listen 127.0.0.1:${site.port};
        client_max_body_size 0;
        large_client_header_buffers 4 32k;
        ${nginxMore}
        include fastcgi_params;
        ${names.map((name) => `location /${name}/ { usher_pass ${name}; }`).join('\n')}
      }`,
    apache: `${lines('apache')}
      ${names.map((name) => `<Location /${name}>\n  UsherPass ${name}\n</Location>`).join('\n')}`,
  };
}

interface LogLine {
  event: string;
  class?: string;
  text?: string;
}

/** How many requests find a Tomcat without threads. */
const crowd = 10;
const bigHead: RequestOptions = {
  headers: ['X-A', 'X-B', 'X-C'].map((name) => [name, 'x'.repeat(5000)]),
};
const inA: RequestOptions = { headers: [['Cookie', 'JSESSIONID=1.a']] };

export async function servletFaults(t: Test, server: WebServer, engines: Engines): Promise<void> {
  const { a, b, small, secret } = engines;
  const site = await Site.create(t, server);
  site.file('secret', `${secret}\n`, 0o600);
  site.file('wrong', `not-${secret}\n`, 0o600);
  const known = { 'secret-file': `${site.dir}/secret`, 'recover-time': 1 };
  const asksNot = { 'connect-timeout': 0, 'connection-ping-interval': 0 };
  const closed = `127.0.0.1:${site.ports[3]}`;
  const nowhere = 'no-such-host.invalid:8009';
  await site.start(
    configuration(site, {
      pair: {
        ...known,
        host: [`${a.address},route=a`, `${b.address},route=b`],
        'connect-timeout': 4,
        'prepost-timeout': 4,
      },
      quiet: { ...known, ...asksNot, host: a.address, 'reply-timeout': 4 },
      wrong: { host: a.address, 'secret-file': `${site.dir}/wrong` },
      large: { ...known, host: a.address, 'max-packet-size': 65536 },
      small: { ...known, host: small.address, 'connect-timeout': 60, 'ping-timeout': 60 },
      asking: { ...known, host: small.address, 'connect-timeout': 2, 'socket-connect-timeout': 1 },
      closed: { host: closed },
      nowhere: { host: nowhere },
    }),
  );
  const managerPid = (await site.status()).manager.pid;
  const gateways = async (): Promise<string> => {
    const { classes } = await site.status();
    return classes.flatMap(({ instances }) => instances.map(({ pid }) => pid)).join();
  };
  const backend = async (name: string, { address }: Tomcat) => {
    const backends = (await site.classStatus(name))?.backends ?? [];
    return backends.find((one) => one.address === address);
  };
  /** A request that its servlet holds until it is released. */
  const held = async (name: string, tomcat: Tomcat, options: RequestOptions = inA) => {
    const token = `${randomInt(1e9)}`;
    const answer = site.request(`/${name}/held.jsp?token=${token}`, options);
    answer.catch(() => undefined);
    const isAt = ({ log }: Tomcat): boolean => log.includes(`held ${token}\n`);
    await eventually(`the servlet has ${token}`, () => isAt(tomcat));
    const release = ({ dir }: Tomcat = tomcat): void =>
      writeFileSync(`${dir}/temp/release-${token}`, '');
    return { answer, isAt, release };
  };
  const serves = async (t: Test, path: string, options?: RequestOptions): Promise<Answer> => {
    const answer = await site.request(path, options);
    t.equal(answer.status, 200, `${path} is served`);
    return answer;
  };
  /** So many lines of the error log, all that it has of this, name backend and cause. */
  const causes = async (t: Test, tomcat: { address: string }, cause: RegExp, count = 1) => {
    const ours = (): string[] =>
      site
        .newErrors()
        .split('\n')
        .filter((line) => line.includes(`backend ${tomcat.address}: `));
    await eventually(`${count} lines of the error log name ${cause}`, () => ours().length >= count);
    t.equal(ours().length, count, 'one line for each request');
    for (const line of ours()) t.match(line, cause);
  };
  /** usher.log says of a class and backend what has happened. */
  const told = async (event: string, name: string, address: string, cause: RegExp) => {
    const log = `${site.runtimeDir}/usher.log`;
    await eventually(`${event} of ${name} in usher.log`, () =>
      readFileSync(log, 'utf8')
        .split('\n')
        .filter((line) => line.startsWith('{'))
        .map((line): LogLine => JSON.parse(line))
        .some((line) => {
          const { text = '' } = line;
          return (
            line.event === event &&
            line.class === name &&
            text.includes(address) &&
            cause.test(text)
          );
        }),
    );
  };

  // The first request of a page has it translated.
  for (const path of ['/pair/echo.jsp', '/pair/session.jsp', '/small/echo.jsp']) {
    await serves(t, path, inA);
  }
  const gatewaysBefore = await gateways();

  await site.check('nobody listens at the port', async (t) => {
    t.equal((await site.request('/closed/echo.jsp')).status, 503);
    await causes(t, { address: closed }, /connection refused/);
    await told('backend.down', 'closed', closed, /connection refused/);
  });

  await site.check('the host has no address', async (t) => {
    t.equal((await site.request('/nowhere/echo.jsp')).status, 503);
    await causes(t, { address: nowhere }, /unknown node|temporary failure|name/);
    await told('backend.down', 'nowhere', nowhere, /unknown node|temporary failure|name/);
  });

  await site.check('the secret is another one', async (t) => {
    t.equal((await site.request('/wrong/echo.jsp')).status, 403);
    await causes(t, a, /-secret-file/);
    await told('backend.refused', 'wrong', a.address, /-secret-file/);
  });

  await site.check('its packetSize is less than ours: heads', async (t) => {
    t.match((await site.request('/large/echo.jsp', bigHead)).status, 400);
    await causes(t, a, /a packet of 15\d\d\d bytes: `packetSize`/);
    await told('backend.refused', 'large', a.address, /`packetSize`/);
    await serves(t, '/large/echo.jsp');
  });

  await site.check('its packetSize is less than ours: bodies', async (t) => {
    const body = 'x'.repeat(100_000);
    t.match((await site.request('/large/echo.jsp', { method: 'POST', body })).status, /50[02]/);
    await causes(t, a, /a packet of 6\d{4} bytes: `packetSize`/);
    await serves(t, '/large/echo.jsp', { method: 'POST', body: 'short' });
  });

  await site.check('its packetSize is more than ours', async (t) => {
    const answer = await site.request('/small/stream.jsp?bytes=100000');
    t.notOk(answer.status === 200 && answer.isComplete, '502 or broken off');
    await causes(t, small, /a packet of 65536 bytes, at most 8192 .*packetSize/);
    await serves(t, '/small/echo.jsp', { method: 'POST', body: 'x'.repeat(100_000) });
    await told('backend.packet-size', 'small', small.address, /`packetSize` .* 65536/);
  });

  await site.check('a servlet is slow', async (t) => {
    const { answer, release } = await held('quiet', a);
    t.equal((await answer).status, 504);
    release();
    await causes(t, a, /silent for -reply-timeout 4 s/);
    await serves(t, '/quiet/echo.jsp');
    t.match(await backend('quiet', a), { state: 'up' }, 'that is no reason to leave it');
  });

  await site.check('Tomcat is paused', async (t) => {
    await serves(t, '/pair/echo.jsp', inA);
    const underWay = await held('quiet', a);
    signal(a.pid, 'SIGSTOP');
    t.teardown(() => signal(a.pid, 'SIGCONT'));
    await eventually('it is paused', () => isStopped(a.pid));
    const [first, next, elsewhere] = await Promise.all([
      underWay.answer,
      site.request('/quiet/echo.jsp'),
      serves(t, '/pair/session.jsp', { ...inA, method: 'POST', body: 'x' }),
    ]);
    t.same([first.status, next.status], [504, 504]);
    await causes(t, a, /silent for -reply-timeout 4 s/, 2);
    t.match(elsewhere.fields.id, /\.b$/, 'CPING has found it out before anything was sent');
    await told('backend.down', 'pair', a.address, /no answer to CPING within 4 s/);
    await eventually('it is down', async () => (await backend('pair', a))?.state === 'down');

    signal(a.pid, 'SIGCONT');
    underWay.release();
    await eventually('it is used again', async () => {
      return /\.a$/.test((await site.request('/pair/session.jsp', inA)).fields.id ?? '');
    });
    await told('backend.up', 'pair', a.address, /serves again/);
    await serves(t, '/quiet/echo.jsp');
  });

  await site.check('Tomcat has no thread left', async (t) => {
    const busy = [await held('small', small, {}), await held('small', small, {})];
    const waiting = site.request('/small/echo.jsp');
    const answers = await Promise.all(
      Array.from({ length: crowd }, () => site.request('/asking/echo.jsp')),
    );
    t.same([...new Set(answers.map(({ status }) => status))], [503]);
    await causes(t, small, /no answer to CPING within 2 s|does not accept connections/, crowd);
    await told('backend.down', 'asking', small.address, /no answer to CPING|does not accept/);
    for (const { release } of busy) release();
    const patient = await Promise.all([...busy.map(({ answer }) => answer), waiting]);
    t.same(
      patient.map(({ status }) => status),
      [200, 200, 200],
      'who has no such limit is served late',
    );
    await eventually('the others are served again', async () => {
      return (await site.request('/asking/echo.jsp')).status === 200;
    });
    await told('backend.up', 'asking', small.address, /serves again/);
  });

  await site.check('Tomcat is killed while it serves', async (t) => {
    const post = await held('pair', a, { ...inA, method: 'POST', body: 'x' });
    const upload = await held('large', a, { ...inA, method: 'POST', body: 'x' });
    await serves(t, '/pair/echo.jsp', inA);
    await eventually('only the other one is there', async () => {
      return (await backend('pair', a))?.inFlight === 1;
    });
    // Over the connection that has served this.
    const get = await held('pair', a);
    const half = site.request(`/large/stream.jsp?hang=${server.kind}`).catch(() => null);
    await eventually('half of an answer', () => a.log.includes(`hanging ${server.kind}\n`));
    await a.stop('SIGKILL');
    t.equal((await post.answer).status, 502, 'what may have been executed');
    t.equal((await upload.answer).status, 502);
    t.notOk((await half)?.isComplete, 'half of an answer is broken off');
    await eventually('what may be repeated is at the other one', () => get.isAt(b));
    get.release(b);
    t.equal((await get.answer).status, 200);
    await causes(t, a, /(closed the connection|reset.*), (before|in the middle of) its answer/, 3);
    // Who comes while it dies may find its listener still there.
    await told('backend.down', 'pair', a.address, /refused|reset|closed/);
    t.match((await serves(t, '/pair/session.jsp', inA)).fields.id, /\.b$/);

    await a.start();
    await eventually('it is used again', async () => {
      return /\.a$/.test((await site.request('/pair/session.jsp', inA)).fields.id ?? '');
    });
    await told('backend.up', 'pair', a.address, /serves again/);
    for (const name of ['quiet', 'large']) await serves(t, `/${name}/echo.jsp`);
  });

  t.equal(await gateways(), gatewaysBefore, 'no gateway was started again');
  t.equal((await site.status()).manager.pid, managerPid);
  await site.end();
}
