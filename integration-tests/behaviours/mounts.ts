// SPDX-License-Identifier: Apache-2.0
// Whatever a client writes into its request line, a servlet engine is asked for nothing outside of what
// the web server shows of it: it gets the path that the server has decided by, escaped anew.

import type { Test } from 'tap';
import { fieldsOf, RawClient } from '../servers/client.ts';
import { eventually } from '../servers/eventually.ts';
import { Site } from '../servers/site.ts';
import type { Tomcat } from '../servers/tomcat.ts';
import type { WebServer } from '../servers/web-server.ts';

/** Ways out of a mount M, to /secret/echo.jsp: what one of web server, gateway and engine might read so. */
const waysOut = `
  M/../secret/echo.jsp                M/..;/secret/echo.jsp              M/..;x=y/secret/echo.jsp
  M/x/..;/..;/secret/echo.jsp         M/x;/..;/..;/secret/echo.jsp       M/.;/..;/secret/echo.jsp
  M/;/..;/secret/echo.jsp             M/;x/..;/..;/secret/echo.jsp       M/;x/../../secret/echo.jsp
  M/;x/../secret/echo.jsp             M/a;/../../secret/echo.jsp         M/./../secret/echo.jsp
  M/.;/../secret/echo.jsp             M//../secret/echo.jsp              M//..//secret/echo.jsp
  M//..;//secret/echo.jsp             M///../../secret/echo.jsp          M/.//..;/secret/echo.jsp
  M;/../secret/echo.jsp               M;/..;/secret/echo.jsp             M;x/../secret/echo.jsp
  M/..;jsessionid=1/secret/echo.jsp   M;jsessionid=1/..;/secret/echo.jsp
  M/;jsessionid=1/..;/secret/echo.jsp M/a;jsessionid=1/..;/..;/secret/echo.jsp
  M/%2e%2e/secret/echo.jsp            M/%2E%2E/secret/echo.jsp           M/%2e%2e;/secret/echo.jsp
  M/.%2e;/secret/echo.jsp             M/%2e.;/secret/echo.jsp            M/%2e;/..;/secret/echo.jsp
  M/..%3b/secret/echo.jsp             M/..%3B%3b/secret/echo.jsp         M/%2e%2e%3bx%2fsecret/echo.jsp
  M/..%2fsecret/echo.jsp              M/..%2Fsecret%2Fecho.jsp           M%2f..%2fsecret/echo.jsp
  M%2f..;%2fsecret/echo.jsp           M/..;%2fsecret/echo.jsp            M/%2f..;/secret/echo.jsp
  M/x%2f..%2f..%2fsecret/echo.jsp     M/x%2f..;%2f..;%2fsecret/echo.jsp  M/%2f/../../secret/echo.jsp
  M/..\\secret/echo.jsp                M/..%5csecret/echo.jsp             M/..;%5csecret/echo.jsp
  M%5c..%5csecret/echo.jsp            M/%5c../secret/echo.jsp            M\\..\\secret\\echo.jsp
  M/x%5c..%5c..%5csecret/echo.jsp     M/..%5C/secret/echo.jsp            M/%5c..;%5csecret/echo.jsp
  M/%252e%252e/secret/echo.jsp        M/%252e%252e;/secret/echo.jsp      M/..%252fsecret/echo.jsp
  M/..%253b/secret/echo.jsp           M/..%255csecret/echo.jsp           M/%25252e%25252e/secret/echo.jsp
  M/%00/../../secret/echo.jsp         M/..%00/secret/echo.jsp            M/%00../secret/echo.jsp
  M/..;%00/secret/echo.jsp            M/echo.jsp%00/../../secret/echo.jsp
  M/%c0%ae%c0%ae/secret/echo.jsp      M/%c0%ae%c0%ae;/secret/echo.jsp    M/..%c0%afsecret/echo.jsp
  M%c0%af..%c0%afsecret/echo.jsp      M/%e0%80%ae%e0%80%ae/secret/echo.jsp
  M/%f0%80%80%ae./secret/echo.jsp     M/..%c1%9csecret/echo.jsp          M/..%c0%bb/secret/echo.jsp
  M/%u002e%u002e/secret/echo.jsp      M/%uff0e%uff0e/secret/echo.jsp     M/..%u2215secret/echo.jsp
  M/%ef%bc%8e%ef%bc%8e/secret/echo.jsp M/..%ef%bc%8fsecret/echo.jsp      M/..%e2%88%95secret/echo.jsp
  M/..%20/secret/echo.jsp             M/..%09/secret/echo.jsp            M/..%0d%0a/secret/echo.jsp
  M/..;%0a/secret/echo.jsp            M/%0a/..;/secret/echo.jsp          M/..%7f/secret/echo.jsp
  M/..%3f/secret/echo.jsp             M/..%23/secret/echo.jsp            M%3f/../secret/echo.jsp
  M%3fx/echo.jsp                      M%23x/echo.jsp                     M%3f                M%23
  M?/../../secret/echo.jsp            M/..;?/secret/echo.jsp             M/..;#/secret/echo.jsp
  M..;/secret/echo.jsp                M..%3b/secret/echo.jsp             Mx/../secret/echo.jsp
  M-secret/echo.jsp                   M.secret/echo.jsp                  Msecret/echo.jsp
  /secret/echo.jsp   //secret/echo.jsp  ///secret/echo.jsp   /;/secret/echo.jsp   /.;/secret/echo.jsp
  /x/..;M/..;/secret/echo.jsp         /;M/../secret/echo.jsp             //M/..;/secret/echo.jsp
  *  M   /echo.jsp   secret/echo.jsp  ..M/../secret/echo.jsp
`
  .split(/\s+/)
  .filter(Boolean);

/** Some targets are in absolute form, and one of them looks as if it was. */
const inForms = (target: string): string[] =>
  target.startsWith('/')
    ? [target, `http://other.example${target}`, `//other.example${target}`]
    : [target];

/** Below a mount M: what is asked for, and what the engine gets. */
const waysIn: [asked: string, got: string][] = [
  ['M/echo.jsp', '/app/echo.jsp'],
  ['M/./echo.jsp', '/app/echo.jsp'],
  ['M//echo.jsp', '/app/echo.jsp'],
  ['M/a/../echo.jsp', '/app/echo.jsp'],
  ['M/a;x/../echo.jsp', '/app/echo.jsp'],
  ['M/%65cho%2ejsp', '/app/echo.jsp'],
  ['M/echo.jsp;a=b', '/app/echo.jsp;a=b'],
  ['M/a;x/b', '/app/a;x/b'],
  ['M/a;jsessionid=1.a/b;c', '/app/a;jsessionid=1.a/b;c'],
  ['M/..a/...;x/b..', '/app/..a/...;x/b..'],
  ['M/%C3%A4%20%25%3f%23%22', '/app/%C3%A4%20%25%3F%23%22'],
  ['M/%252e%252e/x', '/app/%252e%252e/x'],
  ['http://other.exampleM/echo.jsp', '/app/echo.jsp'],
];

/** Requests that have a number; all servers ask the same engine. */
let numbered = 0;

export async function mounts(t: Test, server: WebServer, tomcat: Tomcat): Promise<void> {
  const site = await Site.create(t, server);
  const { address } = tomcat;
  const [strict, lax] = site.ports as [number, number];
  await site.start({
    nginx: `
      usher_external_app mapped protocol=ajp host=${address} mount=/shop context=/app;
      usher_external_app same protocol=ajp host=${address};
      usher_external_app named protocol=ajp host=${address} mount=/app context=/app;
      ${[`listen 127.0.0.1:${strict};`, `listen 127.0.0.1:${lax}; merge_slashes off;`]
        .map(
          (more) => `
      server {
        ${more}
        include fastcgi_params;
        location /shop/ { usher_pass mapped; }
        location /app/ { usher_pass same; }
      }`,
        )
        .join('')}
      server {
        listen 127.0.0.1:${site.ports[2]};
        include fastcgi_params;
        location /shop { usher_pass mapped; }
        location /app { usher_pass named; }
      }`,
    apache: `
      ExternalAppClass mapped -protocol ajp -host ${address} -mount /shop -context /app
      ExternalAppClass same -protocol ajp -host ${address}
      ExternalAppClass named -protocol ajp -host ${address} -mount /app -context /app
      Listen 127.0.0.1:${lax}
      Listen 127.0.0.1:${site.ports[2]}
      <VirtualHost 127.0.0.1:${strict}>
        <Location /shop>
          UsherPass mapped
        </Location>
        <Location /app>
          UsherPass same
        </Location>
      </VirtualHost>
      <VirtualHost 127.0.0.1:${lax}>
        AllowEncodedSlashes On
        MergeSlashes Off
        <Location /shop>
          UsherPass mapped
        </Location>
        <Location /app>
          UsherPass same
        </Location>
      </VirtualHost>
      <VirtualHost 127.0.0.1:${site.ports[2]}>
        AllowEncodedSlashes NoDecode
        <LocationMatch ^/shop>
          UsherPass mapped
        </LocationMatch>
        <LocationMatch ^/app>
          UsherPass named
        </LocationMatch>
      </VirtualHost>`,
  });
  const ports = {
    'as it is': strict,
    'slashes are taken as they come': lax,
    'locations are wider than the mount': site.ports[2]!,
  };

  /** All that comes back for a request target that goes out as it is. */
  const raw = async (port: number, target: string): Promise<string> => {
    const client = await RawClient.connect(port);
    client.send(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    return client.all();
  };
  const outside = (): string[] => ['/secret', ''].flatMap((context) => tomcat.requests(context));

  for (const [name, port] of Object.entries(ports)) {
    await site.check(`no request leaves its mount: ${name}`, async (t) => {
      const before = outside();
      const reached: string[] = [];
      const targets = ['/shop', '/app'].flatMap((mount) =>
        waysOut.flatMap((way) => inForms(way.replaceAll('M', mount))),
      );
      t.ok(targets.length > 500);
      for (const target of targets) {
        const answer = await raw(port, target);
        const { context } = fieldsOf(answer);
        if (context !== undefined && context !== '/app') reached.push(`${target}: ${context}`);
        if (!/^HTTP\/1\.1 [2345]/.test(answer)) reached.push(`${target}: ${answer}`);
      }
      t.same(reached, []);
      t.same(outside().slice(before.length), [], 'as the engine says');
    });

    await site.check(`the engine gets the path as the server has it: ${name}`, async (t) => {
      for (const mount of ['/shop', '/app']) {
        for (const [asked, got] of waysIn) {
          // The engine logs a request after its answer: others may come in between.
          const number = `?number=${++numbered}`;
          const target = asked.replace('M', mount) + number;
          await raw(port, target);
          const requests = await eventually(`${target} arrives`, () => {
            const found = tomcat.requests('/app').filter((line) => line.includes(`${number} `));
            return found.length > 0 && found;
          });
          t.same(requests, [`GET ${got}${number} HTTP/1.1`], target);
        }
      }
    });
  }

  await site.check('segments that engines read differently are told', async (t) => {
    t.match(await raw(strict, '/shop/x/..;/echo.jsp'), /^HTTP\/1\.1 400 /);
    t.match(await site.errorLine(/\.\.;/), /has a segment '\.\.'/);
  });

  await site.check('another protocol is refused, and told', async (t) => {
    const asking = async (protocol: string): Promise<number> => {
      const headers: [string, string][] = [
        ['Connection', 'Upgrade'],
        ['Upgrade', protocol],
        ['Sec-WebSocket-Key', 'AAAAAAAAAAAAAAAAAAAAAA=='],
        ['Sec-WebSocket-Version', '13'],
      ];
      return (await site.request('/shop/echo.jsp', { headers })).status;
    };
    t.equal(await asking('websocket'), 501);
    await site.errorLine(/Upgrade: websocket: AJP cannot carry another protocol/);
    t.equal(await asking('h2c'), 200, 'whoever offers this is content without');
  });

  await site.end();
}
