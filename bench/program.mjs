// SPDX-License-Identifier: Apache-2.0
// One program: under node:http, or with usher/runtime.
//
//   node program.mjs http|node|fetch SOCKET OPTIONS-OF-SERVE-AS-JSON

import http from 'node:http';
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
} else {
  const handler = kind === 'fetch' ? (_request) => new Response(text, { headers }) : answer;
  const place = { protocol: 'fastcgi', address: socket, mode: 0o666 };
  await serve(handler, { ...JSON.parse(options), listen: place });
}
