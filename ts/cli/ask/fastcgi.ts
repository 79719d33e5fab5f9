// SPDX-License-Identifier: Apache-2.0
// Asks a program over FastCGI, with the package fastcgi-stream. That knows no limits and throws in its
// own data handler: it gets bytes from us, one request, and what it throws ends that request.
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { type Answer, converse, NoAnswerError, type Question, stopwatch } from './question.ts';

interface FastCgiRecord {
  TYPE: number;
  data?: Buffer | string;
  appStatus?: number;
  protocolStatus?: number;
}

interface Package {
  FastCGIStream: new (
    duplex: EventEmitter & { write(bytes: Buffer): unknown },
  ) => {
    on(event: 'record', listener: (id: number, record: FastCgiRecord) => void): void;
    writeRecord(id: number, record: object): void;
  };
  records: Record<
    'BeginRequest' | 'EndRequest' | 'Params' | 'StdErr' | 'StdIn' | 'StdOut',
    (new (...content: unknown[]) => object) & { TYPE: number }
  >;
}

const { FastCGIStream, records }: Package = createRequire(import.meta.url)('fastcgi-stream');

const REQUEST_ID = 1;
const RESPONDER = 1;
/** Below what a record holds. */
const PIECE_BYTES = 32_000;
const protocolStatuses = [
  '',
  'it cannot multiplex',
  'it is overloaded',
  'it does not know this role',
];

/** What is sent as parameters: as web servers do, then those that were asked for. */
export function paramsOf(question: Question, version: string): [string, string][] {
  const { method, uri, headers, body, params, program } = question;
  const [path = '', ...rest] = uri.split('?');
  const header = (name: string): string =>
    headers.find(([known]) => known.toLowerCase() === name)?.[1] ?? '';
  const made: [string, string][] = [
    ['GATEWAY_INTERFACE', 'CGI/1.1'],
    ['SERVER_SOFTWARE', `usher/${version}`],
    ['SERVER_PROTOCOL', 'HTTP/1.1'],
    ['SERVER_NAME', header('host').replace(/:\d+$/, '') || '127.0.0.1'],
    ['SERVER_ADDR', '127.0.0.1'],
    ['SERVER_PORT', /:(\d+)$/.exec(header('host'))?.[1] ?? '80'],
    ['REMOTE_ADDR', '127.0.0.1'],
    ['REMOTE_PORT', '0'],
    ['REQUEST_SCHEME', 'http'],
    ['REQUEST_METHOD', method],
    ['REQUEST_URI', uri],
    ['DOCUMENT_URI', path],
    ['SCRIPT_NAME', path],
    ['QUERY_STRING', rest.join('?')],
    ['CONTENT_TYPE', header('content-type')],
    ['CONTENT_LENGTH', body.length > 0 ? String(body.length) : ''],
    ...(program === '' ? [] : ([['SCRIPT_FILENAME', program]] as [string, string][])),
    ...headers
      .filter(([name]) => !['content-type', 'content-length'].includes(name.toLowerCase()))
      .map(([name, value]): [string, string] => [
        `HTTP_${name.toUpperCase().replaceAll('-', '_')}`,
        value,
      ]),
  ];
  const chosen = new Set(params.map(([name]) => name));
  return [...made.filter(([name]) => !chosen.has(name)), ...params];
}

/** @param socket Not connected yet. Rejects with a NoAnswerError. */
export async function askFastCgi(
  socket: Socket,
  params: [string, string][],
  body: Buffer,
  timeoutMs: number,
): Promise<Answer> {
  const elapsed = stopwatch();
  const out: Buffer[] = [];
  const answer = { connectedMs: null as number | null, firstByteMs: null as number | null };
  let errors = '';
  let appStatus: number | null = null;
  await converse(socket, timeoutMs, (done) => {
    answer.connectedMs = elapsed();
    const bytes = Object.assign(new EventEmitter(), {
      write: (piece: Buffer) => socket.write(Buffer.from(piece)),
    });
    const stream = new FastCGIStream(bytes);
    stream.on('record', (_id, record) => {
      const data = Buffer.from(record.data ?? '');
      if (record.TYPE === records.StdOut.TYPE) {
        if (data.length > 0) answer.firstByteMs ??= elapsed();
        out.push(data);
      } else if (record.TYPE === records.StdErr.TYPE) errors += data.toString('utf8');
      else if (record.TYPE === records.EndRequest.TYPE) {
        const refusal = protocolStatuses[record.protocolStatus ?? 0] ?? 'it refuses the request';
        if (refusal !== '') throw new NoAnswerError(refusal);
        appStatus = record.appStatus ?? 0;
        done();
      }
    });
    send(stream, params, body);
    return {
      onBytes: (piece) => void bytes.emit('data', piece),
      onEnd: () => {
        throw new NoAnswerError('it closed the connection before the end of the request');
      },
    };
  });
  return { ...answer, ...splitHead(Buffer.concat(out)), errors, endMs: elapsed(), appStatus };
}

function send(
  stream: { writeRecord(id: number, record: object): void },
  params: [string, string][],
  body: Buffer,
): void {
  const write = (name: keyof Package['records'], ...content: unknown[]): void =>
    stream.writeRecord(REQUEST_ID, new records[name](...content));
  write('BeginRequest', RESPONDER, 0);
  let group: [string, string][] = [];
  let bytes = 0;
  for (const pair of params) {
    const size = Buffer.byteLength(pair[0]) + Buffer.byteLength(pair[1]) + 8;
    if (size > 60_000) throw new NoAnswerError(`parameter ${pair[0]} is too long for one record`);
    if (bytes + size > 60_000) {
      write('Params', group);
      [group, bytes] = [[], 0];
    }
    group.push(pair);
    bytes += size;
  }
  write('Params', group);
  write('Params', []);
  for (let at = 0; at < body.length; at += PIECE_BYTES) {
    write('StdIn', body.subarray(at, at + PIECE_BYTES));
  }
  write('StdIn', Buffer.alloc(0));
}

/** A CGI response: header lines, an empty one, the body. Source: RFC 3875 §6. */
export function splitHead(bytes: Buffer): Pick<Answer, 'status' | 'headers' | 'body'> {
  const text = bytes.toString('latin1');
  const [separator = null] = /\r?\n\r?\n/.exec(text) ?? [];
  const at = separator === null ? -1 : text.indexOf(separator);
  if (separator === null) return { status: 0, headers: [], body: bytes };
  const headers = text
    .slice(0, at)
    .split(/\r?\n/)
    .map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, Math.max(0, colon)), line.slice(colon + 1).trim()];
    });
  const value = (name: string): string | undefined =>
    headers.find(([known]) => known.toLowerCase() === name)?.[1];
  const status = Number.parseInt(value('status') ?? '', 10);
  const otherwise = value('location') === undefined ? 200 : 302;
  const body = bytes.subarray(at + separator.length);
  return { status: Number.isNaN(status) ? otherwise : status, headers, body };
}
