// SPDX-License-Identifier: Apache-2.0
// A program of usher/runtime. It tells what it has got as lines NAME=value; /large?bytes=N answers so many.
// Its options of serve() come from RUNTIME_OPTIONS, as JSON.

import { crc32 } from 'node:zlib';
import { metadataOf, serve } from '../../dist/runtime/index.js';

async function answer(req, res) {
  const url = new URL(req.url, 'http://program');
  if (url.pathname.endsWith('/large')) {
    res.end(Buffer.alloc(Number(url.searchParams.get('bytes')), 'x'));
    return;
  }
  if (url.pathname.endsWith('/nothing')) {
    res.writeHead(404, { 'X-Why': 'nothing' }).end('nothing is here');
    return;
  }
  let bytes = 0;
  let crc = 0;
  for await (const piece of req) {
    bytes += piece.length;
    crc = crc32(piece, crc);
  }
  const { protocol, remoteAddress, remoteUser, serverName, route, variables } = metadataOf(req);
  const said = {
    ...{ protocol, remoteAddress, remoteUser, serverName, route, tenant: variables.get('TENANT') },
    ...{ method: req.method, url: req.url, bytes, crc: crc.toString(16), pid: process.pid },
    some: req.headers['x-some'],
  };
  res.setHeader('Content-Type', 'text/plain');
  res.setHeader('Set-Cookie', ['a=1', 'b=2']);
  const lines = Object.entries(said).map(([name, value]) => `${name}=${value}\n`);
  res.end(lines.join(''));
}

await serve(answer, JSON.parse(process.env.RUNTIME_OPTIONS ?? '{}'));
