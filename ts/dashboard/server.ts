// SPDX-License-Identifier: Apache-2.0
// Gives the page, and what the page asks for. Nothing can be changed here.
import { readFileSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { fileURLToPath } from 'node:url';
import { asksForLoopback } from '../control/loopback.ts';
import type { Answered } from '../control/reader.ts';

const CONNECTIONS_MAX = 64;
const REQUEST_MS = 10_000;
/** So long an answer is good for others who ask the same. */
const FRESH_MS = 900;

const types: Readonly<Record<string, string>> = {
  html: 'text/html; charset=utf-8',
  css: 'text/css; charset=utf-8',
  js: 'text/javascript; charset=utf-8',
  svg: 'image/svg+xml',
};

/** All there is, by path. */
const pages = new Map(
  [
    ...['index.html', 'style.css', 'icon.svg', 'app.js', 'charts.js', 'dom.js', 'format.js'],
    ...['journey.js', 'tables.js', 'vendor/uPlot.iife.min.js', 'vendor/uPlot.min.css'],
  ].map((file) => [`/${file === 'index.html' ? '' : file}`, file]),
);

/** Own files only; nobody may frame the page, and it tells nobody where it was. */
const headers = {
  'content-security-policy':
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; object-src 'none'",
  'cross-origin-resource-policy': 'same-origin',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'cache-control': 'no-store',
};

export interface DashboardOptions {
  /** Asks the manager: a route of the control socket. */
  ask(url: string): Promise<Omit<Answered, 'id'>>;
  /** May be asked for by any host's name, not only by a loopback one. */
  anyHost: boolean;
}

export function createDashboard({ ask, anyHost }: DashboardOptions): Server {
  const asked = shareAnswers(ask);
  const server = createServer((request, response) => {
    request.resume();
    if (!anyHost && !asksForLoopback(request.headers.host)) {
      return sendText(response, 403, 'ask by a loopback address');
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      return sendText(response, 405, 'this page only shows');
    }
    answer(request, response, asked).catch((error: unknown) => {
      sendText(response, 500, error instanceof Error ? error.message : String(error));
    });
  });
  server.requestTimeout = REQUEST_MS;
  server.headersTimeout = REQUEST_MS;
  server.maxConnections = CONNECTIONS_MAX;
  return server;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  ask: DashboardOptions['ask'],
): Promise<void> {
  const [path = '', ...query] = (request.url ?? '').split('?');
  const file = pages.get(path);
  if (file !== undefined) return sendFile(response, file);
  if (!path.startsWith('/api/')) return sendText(response, 404, 'there is no such page');
  const url = [path.replace('/api/', '/v1/'), ...query].join('?');
  const { httpStatus, body } = await ask(url);
  send(response, httpStatus, 'application/json; charset=utf-8', body);
}

/** Several who look at the same cost the manager no more than one. */
function shareAnswers(ask: DashboardOptions['ask']): DashboardOptions['ask'] {
  const known = new Map<string, { atMs: number; answer: ReturnType<DashboardOptions['ask']> }>();
  return (url) => {
    const nowMs = performance.now();
    for (const [other, { atMs }] of known) if (nowMs - atMs > FRESH_MS) known.delete(other);
    const shared = known.get(url);
    if (shared) return shared.answer;
    const answer = ask(url);
    known.set(url, { atMs: nowMs, answer });
    return answer;
  };
}

/** Where the build puts the page: the same from ts/ and dist/. */
function sendFile(response: ServerResponse, file: string): void {
  const path = fileURLToPath(new URL(`../../dist/dashboard/page/${file}`, import.meta.url));
  const type = types[file.slice(file.lastIndexOf('.') + 1)] ?? 'application/octet-stream';
  try {
    send(response, 200, type, readFileSync(path));
  } catch (error) {
    sendText(response, 500, error instanceof Error ? error.message : String(error));
  }
}

function sendText(response: ServerResponse, status: number, text: string): void {
  send(response, status, 'text/plain; charset=utf-8', `${text}\n`);
}

function send(response: ServerResponse, status: number, type: string, body: string | Buffer): void {
  const bytes = Buffer.from(body);
  response.socket?.setTimeout(REQUEST_MS); // without progress; then it is destroyed
  response.writeHead(status, { ...headers, 'content-type': type, 'content-length': bytes.length });
  response.end(bytes);
}
