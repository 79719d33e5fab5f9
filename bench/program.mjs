// SPDX-License-Identifier: Apache-2.0
// One program: under node:http, or with usher/runtime. And what no program in Node can be faster than:
// constant, which looks at no request and has its FastCGI answer ready.
//
//   node program.mjs http|node|fetch|constant SOCKET OPTIONS-OF-SERVE-AS-JSON

import { chmodSync } from 'node:fs';
import http from 'node:http';
import { createServer } from 'node:net';
import { answerRecords } from '../dist/protocols/fastcgi/index.js';
import { serve } from '../dist/runtime/index.js';

const [kind, socket, options] = process.argv.slice(2);
const text = 'x'.repeat(1000);

function answer(_req, res) {
  res.setHeader('Content-Type', 'text/plain');
  res.setHeader('Cache-Control', 'no-store');
  res.end(text);
}

const headers = { 'Content-Type': 'text/plain', 'Cache-Control': 'no-store' };

if (kind === 'http') {
  const server = http.createServer({ keepAliveTimeout: 600_000 }, answer);
  server.maxRequestsPerSocket = 0;
  server.listen({ path: socket, readableAll: true, writableAll: true });
} else if (kind === 'constant') {
  const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  const records = answerRecords(1, Buffer.from(`Status: 200 OK\r\n${head.join('')}\r\n${text}`));
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', () => socket.write(records)); // nginx sends a small request in one piece
  });
  server.listen(socket, () => chmodSync(socket, 0o666));
} else {
  const handler = kind === 'fetch' ? (_request) => new Response(text, { headers }) : answer;
  const place = { protocol: 'fastcgi', address: socket, mode: 0o666 };
  await serve(handler, { ...JSON.parse(options), listen: place });
}
