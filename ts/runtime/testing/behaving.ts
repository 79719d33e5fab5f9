// SPDX-License-Identifier: Apache-2.0
// The program of the behaviour list: one file, started in every way. BEHAVING is a JSON object, the options
// of serve(); files in BEHAVING_DIR say what a handler waits for, and what it has seen. It prints where it
// listens.
import { appendFileSync, existsSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { crc32 } from 'node:zlib';
import { background, metadataOf, serve } from '../index.ts';

const dir = process.env.BEHAVING_DIR ?? '';
const options = JSON.parse(process.env.BEHAVING ?? '{}');
let requests = 0;

/** A file that the test makes. */
async function file(name: string): Promise<void> {
  while (!existsSync(`${dir}/${name}`)) await sleep(10);
}

const paths: Record<
  string,
  (req: IncomingMessage, res: ServerResponse, query: URLSearchParams) => unknown
> = {
  async echo(req, res) {
    let bytes = 0;
    let crc = 0;
    for await (const piece of req as AsyncIterable<Buffer>) {
      bytes += piece.length;
      crc = crc32(piece, crc);
    }
    const { variables, ...metadata } = plain(metadataOf(req));
    const { method, url, headers, rawHeaders } = req;
    const answer = { method, url, headers, rawHeaders, bytes, crc, metadata };
    res.setHeader('Content-Type', 'application/json');
    res.end(JSON.stringify({ ...answer, address: req.socket.remoteAddress }));
  },

  async large(_req, res, query) {
    const piece = Buffer.alloc(10_000, 'x');
    for (let left = Number(query.get('bytes')); left > 0; left -= piece.length) {
      if (!res.write(piece.subarray(0, left))) {
        await new Promise((resolve) => res.once('drain', resolve));
      }
    }
    res.end();
  },

  async parts(_req, res, query) {
    for (const name of query.getAll('part')) {
      res.write(`${name};`);
      await file(name);
    }
    res.end('end');
  },

  duplex(req, res) {
    res.flushHeaders();
    req.on('data', (piece: Buffer) => res.write(piece));
    req.on('end', () => res.end('end'));
  },

  unread(_req, res) {
    res.end('not read');
  },

  fields(_req, res) {
    res.statusCode = 418;
    res.statusMessage = 'Tea';
    res.setHeader('Set-Cookie', ['a=1', 'b=2; Path=/']);
    res.setHeader('X-Long', 'l'.repeat(2000));
    res.setHeader('X-Latin', '\xe4\xf6');
    res.setHeader('Connection', 'close');
    res.setHeader('Content-Length', 3);
    res.end('tea');
  },

  status(_req, res, query) {
    res.writeHead(Number(query.get('code')), { 'X-Code': 'yes' });
    res.end(query.get('body') ?? '');
  },

  throw() {
    throw new Error('thrown on purpose');
  },

  async reject() {
    await sleep(1);
    throw new Error('rejected on purpose');
  },

  /** As an authorizer: whoever has a name may pass. */
  authorize(req, res) {
    const { role, remoteUser } = metadataOf(req);
    const fields = { 'Variable-ROLE': role, 'Variable-GROUP': `of ${remoteUser}` };
    if (remoteUser !== null) res.writeHead(200, fields).end();
    else res.writeHead(403, { 'X-Why': 'no name' }).end('who are you?');
  },

  /** The length lets clients see what AJP 1.2 says by a reset only, which libuv may tell as an end. */
  late(_req, res) {
    res.setHeader('Content-Length', 100);
    res.write('begun');
    setImmediate(() => res.destroy());
  },

  left(_req, res, query) {
    res.write('here;');
    res.on('close', () =>
      writeFileSync(`${dir}/${query.get('name')}`, String(res.writableFinished)),
    );
  },

  hang() {},

  spin() {
    for (;;);
  },

  'spin-after'(_req, _res, query) {
    writeFileSync(`${dir}/${query.get('name')}`, '');
    for (;;);
  },

  exit() {
    process.exit(3);
  },

  async hold(_req, res, query) {
    appendFileSync(`${dir}/begun`, `${query.get('name')}\n`);
    await file(query.get('name') ?? '');
    res.end('held');
  },

  count(_req, res) {
    res.end(`${++requests} ${process.pid}`);
  },

  background(_req, res, query) {
    background(async () => {
      await file(`${query.get('name')}`);
      writeFileSync(`${dir}/${query.get('name')}-done`, '');
    });
    res.end('begun');
  },
};

function plain(metadata: ReturnType<typeof metadataOf>): Record<string, unknown> {
  const { protocol, role, remoteUser, authType, remoteAddress, remotePort } = metadata;
  const { serverName, serverPort, isSecure, scriptName, pathInfo, variables } = metadata;
  const place = { serverName, serverPort, isSecure, scriptName, pathInfo };
  return { protocol, role, remoteUser, authType, remoteAddress, remotePort, ...place, variables };
}

function tell(line: string): void {
  if (dir !== '') appendFileSync(`${dir}/hooks`, `${line}\n`);
}

const served = await serve(
  (req: IncomingMessage, res: ServerResponse) => {
    const url = new URL(req.url ?? '/', 'http://program');
    const path = paths[url.pathname.slice(1)];
    if (path !== undefined) return path(req, res, url.searchParams);
    res.statusCode = 404;
    return res.end();
  },
  {
    ...options,
    onMasterStart: () => tell(`master start ${process.pid}`),
    onMasterStop: () => tell(`master stop ${process.pid}`),
    onWorkerStart: () => tell(`worker start ${process.pid}`),
    onWorkerStop: () => tell(`worker stop ${process.pid}`),
  },
);
for (const { protocol, address } of served.addresses) {
  process.stdout.write(`listening ${protocol} ${address}\n`);
}
