// SPDX-License-Identifier: Apache-2.0
// The same listeners over node:http and over ours: what clients and listeners see has to be the same.
import { once } from 'node:events';
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { nodeServlet } from './node-servlet.ts';
import { type Listened, listeners } from './testing/listeners.ts';
import { MemoryExchange } from './testing/memory-exchange.ts';

interface Seen {
  status: number;
  reason: string;
  /** "name: value" */
  fields: string[];
  body: string;
  isBroken: boolean;
  notes: string[];
}

/** Of connections, which are not ours. */
const NOT_OURS = new Set(['date', 'connection', 'keep-alive', 'transfer-encoding']);

function fieldsOf(raw: readonly string[]): string[] {
  const fields: string[] = [];
  for (let i = 0; i < raw.length; i += 2) {
    const name = (raw[i] as string).toLowerCase();
    if (!NOT_OURS.has(name)) fields.push(`${name}: ${raw[i + 1]}`);
  }
  return fields;
}

/** Runs the listener, until request and answer have closed. */
class Watch {
  readonly notes: string[] = [];
  readonly #listened: Listened;
  readonly closed: Promise<unknown>;
  #close!: (closed: unknown) => void;

  constructor(listened: Listened) {
    this.#listened = listened;
    this.closed = new Promise((resolve) => {
      this.#close = resolve;
    });
  }

  listen = (req: IncomingMessage, res: ServerResponse): unknown => {
    const result = this.#listened.listen(req, res, (what) => this.notes.push(what));
    const closed = [res, req].map(
      (stream) => new Promise((resolve) => stream.on('close', () => setImmediate(resolve))),
    );
    this.#close(Promise.all(closed));
    return result;
  };
}

async function overHttp(listened: Listened): Promise<Seen> {
  const watch = new Watch(listened);
  const server = createServer(watch.listen);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const seen: Seen = { status: 0, reason: '', fields: [], body: '', isBroken: false, notes: [] };
  const asked = request({ port, path: '/a?b', method: listened.method ?? 'GET', agent: false });
  const fields = listened.fields ?? [];
  for (let i = 0; i < fields.length; i += 2) {
    asked.appendHeader(fields[i] as string, fields[i + 1] as string);
  }
  const answered = new Promise<void>((resolve) => {
    asked.on('response', (response) => {
      seen.status = response.statusCode ?? 0;
      seen.reason = response.statusMessage ?? '';
      seen.fields = fieldsOf(response.rawHeaders);
      const pieces: Buffer[] = [];
      response.on('data', (piece) => pieces.push(piece));
      response.on('error', () => {
        seen.isBroken = true;
      });
      response.on('close', () => {
        seen.body = Buffer.concat(pieces).toString('latin1');
        resolve();
      });
    });
    asked.on('error', () => {
      seen.isBroken = true;
      resolve();
    });
  });
  for (const piece of listened.body ?? []) asked.write(piece);
  asked.end();
  await answered;
  await watch.closed;
  server.close();
  server.closeAllConnections();
  seen.notes = watch.notes;
  return seen;
}

async function overOurs(listened: Listened): Promise<Seen> {
  const watch = new Watch(listened);
  const exchange = new MemoryExchange({
    method: listened.method ?? 'GET',
    url: '/a?b',
    fields: ['Host', 'www.example', ...(listened.fields ?? [])],
    body: listened.body ?? [],
    bodyBytes: listened.body === undefined ? 0 : null,
  });
  nodeServlet(watch.listen)(exchange);
  await exchange.over();
  await watch.closed;
  const { status, reason, fields, pieces, isBroken } = exchange;
  const body = Buffer.concat(pieces).toString('latin1');
  return { status, reason, fields: fieldsOf(fields), body, isBroken, notes: watch.notes };
}

for (const listened of listeners) {
  t.test(listened.name, async (t) => {
    const theirs = await overHttp(listened);
    const ours = await overOurs(listened);
    // '' is the usual reason.
    if (ours.reason === '') ours.reason = theirs.reason;
    t.same(ours, theirs);
  });
}
