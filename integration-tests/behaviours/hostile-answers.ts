// SPDX-License-Identifier: Apache-2.0
// Programs that answer with anything: whatever they say costs the request, never a worker.

import { readFileSync } from 'node:fs';
import net from 'node:net';
import type { Test } from 'tap';
import { Site } from '../servers/site.ts';
import { files, type WebServer } from '../servers/web-server.ts';

/** Numbers from 0 up to `count`, the same again for the same seed. */
type Random = (count: number) => number;

function randomOf(seed: number): Random {
  let state = seed >>> 0;
  return (count) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % count;
  };
}

// ---- answers

const stdout = 6;
const stderr = 7;
const endRequest = 3;

function record(type: number, content: Buffer | string, padding = 0, id = 1): Buffer {
  const bytes = Buffer.from(content);
  const header = Buffer.from([1, type, id >> 8, id & 255, 0, 0, padding, 0]);
  header.writeUInt16BE(bytes.length, 4);
  return Buffer.concat([header, bytes, Buffer.alloc(padding)]);
}

const heads = [
  'Content-Type: text/plain\r\n\r\n',
  'Status: 404 Not Found\nContent-Length: 3\n\n',
  'Status: 304\n\n',
  'Status: 999999999999 what\n\n',
  'Status: 100\r\n\r\n',
  'Status: 401\nWWW-Authenticate: Basic\n\n',
  'Content-Length: -1\n\n',
  'Content-Length: 18446744073709551617\n\n',
  'Transfer-Encoding: chunked\nContent-Type: a/b\n\n',
  'HTTP/1.1 200 OK\r\n\r\n',
  'Location: /good\n\n',
  'Location: //\n\n',
  'X-Accel-Redirect: /good\n\n',
  `X-Long: ${'y'.repeat(12_000)}\n\n`,
  `${'X-Many: z\n'.repeat(3000)}\n`,
  'Variable-A: b\0c\n\n',
  ': nameless\n\n',
  ' folded\n\n',
  '\n',
  'no end of headers',
];

function wellFormed(random: Random): Buffer {
  const head = heads[random(heads.length)] ?? '';
  const output = Buffer.concat([Buffer.from(head), Buffer.alloc(random(5) ** 6, 'b')]);
  const cut = random(output.length + 1);
  const pieces = [output.subarray(0, cut), output.subarray(cut)];
  return Buffer.concat([
    ...(random(3) === 0 ? [record(stderr, 'complaint\n')] : []),
    ...pieces.map((piece) => record(stdout, piece, random(9))),
    record(stdout, ''),
    record(endRequest, Buffer.from([0, 0, 0, 0, random(5), 0, 0, 0]), random(9)),
  ]);
}

const damages: ((answer: Buffer, random: Random) => Buffer)[] = [
  (answer) => answer,
  (answer, random) => answer.subarray(0, random(answer.length)),
  (answer, random) => answer.subarray(random(answer.length)),
  (answer, random) => {
    for (let i = 0; i <= random(8); i++) answer[random(answer.length)] = random(256);
    return answer;
  },
  (answer, random) => {
    for (let i = 0; i <= random(4); i++) answer[random(Math.min(answer.length, 16))] = random(256);
    return answer;
  },
  (answer) => Buffer.concat([answer, answer]),
  (answer, random) => Buffer.concat([answer, Buffer.alloc(random(70_000), random(256))]),
  (_, random) => Buffer.from(Array.from({ length: random(3000) }, () => random(256))),
  (answer, random) => Buffer.concat([record(11, 'x'.repeat(random(300))), answer]),
  (answer, random) => Buffer.concat([record(stdout, 'A: b\n', 3, random(4)), answer]),
];

function hostileAnswer(random: Random): Buffer {
  const damage = damages[random(damages.length)];
  const answer = wellFormed(random);
  return damage === undefined ? answer : damage(answer, random);
}

// ---- the program

/** Says its answer in a few pieces as soon as it hears something, then ends the connection. */
async function listen(socket: string, random: Random): Promise<net.Server> {
  const server = net.createServer({ allowHalfOpen: true }, (connection) => {
    connection.on('error', () => {});
    connection.once('data', () => {
      const answer = hostileAnswer(random);
      const cut = random(answer.length + 1);
      const ending = random(4);
      connection.setNoDelay(true);
      connection.write(answer.subarray(0, cut), () => {
        connection.write(answer.subarray(cut), () => {
          if (ending === 0) connection.destroy();
          else connection.end();
        });
      });
      connection.resume();
    });
  });
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  return server;
}

const classes = ['plain', 'kept', 'unbuffered'];

/** @param count How many requests, over all classes. */
export async function hostileAnswers(t: Test, server: WebServer, count: number): Promise<void> {
  const site = await Site.create(t, server);
  const good = site.program('bin/good');
  const socket = `${site.dir}/hostile.sock`;
  const seed = Number(process.env.USHER_TEST_SEED ?? Date.now() % 1_000_000);
  const random = randomOf(seed);
  const program = await listen(socket, random);
  t.teardown(() => program.close());
  site.open(socket);
  site.file('docs/guarded', 'behind it');

  await site.start({
    nginx: `
      usher_app ${good} processes=1;
      usher_external_app plain socket=${socket};
      usher_external_app kept socket=${socket} keep_conn;
      usher_external_app unbuffered socket=${socket};
      include fastcgi_params;
      server {
        listen 127.0.0.1:${site.port};
        location /good { usher_pass ${good}; }
        location /plain { usher_pass plain; fastcgi_intercept_errors on; error_page 404 /good; }
        location /kept { usher_pass kept; fastcgi_next_upstream off; }
        location /unbuffered { usher_pass unbuffered; fastcgi_buffering off; }
      }`,
    apache: `
      AppClass ${good} -processes 1
      ExternalAppClass plain -socket ${socket}
      ExternalAppClass kept -socket ${socket} -keep-conn
      ExternalAppClass unbuffered -socket ${socket} -flush -nph
      ${['good', ...classes]
        .map(
          (name) =>
            `<Location /${name}>\n  UsherPass ${name === 'good' ? good : name}\n</Location>`,
        )
        .join('\n')}
      <Location /guarded>
        FastCgiAccessChecker plain
      </Location>`,
  });

  await site.check(`${count} answers that are none (seed ${seed})`, async (t) => {
    const { workers, pid } = site;
    const paths = server.kind === 'apache' ? [...classes, 'guarded'] : classes;
    let answered = 0;
    const ask = async (): Promise<void> => {
      for (let i = 0; i < count / 4; i++) {
        const path = `/${paths[random(paths.length)]}`;
        const method = ['GET', 'HEAD', 'POST'][random(3)] ?? 'GET';
        const body = method === 'POST' ? { body: 'x'.repeat(random(100_000)) } : {};
        const answer = await site.request(path, { method, ...body }).catch(() => undefined);
        answered += answer === undefined ? 0 : 1;
      }
    };
    await Promise.all([ask(), ask(), ask(), ask()]);
    t.ok(answered > count / 4, `${answered} had an answer that HTTP knows`);
    t.equal((await site.request('/good?text=still')).text, 'still', 'others are served');
    t.equal(site.pid, pid);
    t.same(
      site.workers.filter((worker) => workers.includes(worker)),
      workers,
      'no worker has died',
    );
    t.notMatch(readFileSync(files.errorLog(site), 'utf8'), /signal \d+|Segmentation|AH00052/);
    await site.settled();
  });
  await site.end();
}
