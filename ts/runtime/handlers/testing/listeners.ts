// SPDX-License-Identifier: Apache-2.0
// Small listeners of node:http, each for something that it promises: run over node:http and over ours, they
// have to give the same.

import type { IncomingMessage } from 'node:http';
import { ServerResponse } from 'node:http';
import { finished, pipeline, Readable, Transform } from 'node:stream';

export type Note = (what: string) => void;

export interface Listened {
  name: string;
  method?: string;
  fields?: readonly string[];
  body?: readonly string[];
  listen(request: IncomingMessage, response: ServerResponse, note: Note): unknown;
}

/** Code, or name, of what is thrown. */
function thrown(note: Note, what: string, call: () => unknown): void {
  try {
    call();
    note(`${what}: fine`);
  } catch (error) {
    note(`${what}: ${(error as NodeJS.ErrnoException).code ?? (error as Error).name}`);
  }
}

function states(note: Note, what: string, response: ServerResponse): void {
  note(
    `${what}: sent ${response.headersSent} ended ${response.writableEnded} finished ${response.writableFinished}` +
      ` needs drain ${response.writableNeedDrain} destroyed ${response.destroyed} writable ${response.writable}` +
      ` closed ${response.closed} errored ${response.errored?.message}`,
  );
}

function follow(note: Note, request: IncomingMessage, response: ServerResponse): void {
  for (const event of ['prefinish', 'finish', 'close', 'drain', 'pipe', 'unpipe']) {
    response.on(event, () => note(`res ${event}`));
  }
  response.on('error', (error: NodeJS.ErrnoException) => note(`res error ${error.code}`));
  for (const event of ['end', 'aborted', 'close']) request.on(event, () => note(`req ${event}`));
}

const later = (call: () => void): void => void setImmediate(() => setImmediate(call));

function collected(request: IncomingMessage, call: (text: string) => void): void {
  let text = '';
  request.setEncoding('utf8');
  request.on('data', (piece) => {
    text += piece;
  });
  request.on('end', () => call(text));
}

export const listeners: Listened[] = [
  // ---- one end()
  { name: 'text', listen: (_, res) => res.end('hello') },
  { name: 'text of more bytes than characters', listen: (_, res) => res.end('grüße €') },
  { name: 'Buffer', listen: (_, res) => res.end(Buffer.from('bytes')) },
  { name: 'Uint8Array', listen: (_, res) => res.end(new Uint8Array([97, 98, 99]).subarray(1)) },
  { name: 'hex', listen: (_, res) => res.end('616263', 'hex') },
  { name: 'latin1', listen: (_, res) => res.end('é', 'latin1') },
  { name: 'utf16le', listen: (_, res) => res.end('ab', 'utf16le') },
  { name: 'nothing', listen: (_, res) => res.end() },
  { name: 'empty text', listen: (_, res) => res.end('') },
  {
    name: 'an unknown encoding',
    listen: (_, res, note) => {
      thrown(note, 'end', () => res.end('x', 'klingon' as BufferEncoding));
      res.destroy();
    },
  },
  // ---- status and fields
  {
    name: 'status',
    listen: (_, res) => {
      res.statusCode = 404;
      res.end('no');
    },
  },
  {
    name: 'status with a reason',
    listen: (_, res) => {
      res.statusCode = 299;
      res.statusMessage = 'Quite Fine';
      res.end();
    },
  },
  { name: 'a status without a name', listen: (_, res) => res.writeHead(799).end('x') },
  {
    name: 'writeHead with an object',
    listen: (_, res) => res.writeHead(201, { 'X-A': '1' }).end(),
  },
  {
    name: 'writeHead with a reason and numbers',
    listen: (_, res) => res.writeHead(200, 'Yes', { 'X-Number': 5, 'content-length': 2 }).end('ab'),
  },
  {
    name: 'writeHead with a list',
    listen: (_, res) => res.writeHead(200, ['X-A', '1', 'X-A', '2', 'Set-Cookie', 'c']).end('x'),
  },
  {
    name: 'writeHead with pairs',
    listen: (_, res) => {
      const pairs = [
        ['X-A', '1'],
        ['X-B', ['2', '3']],
      ];
      res.writeHead(200, pairs as never).end('x');
    },
  },
  {
    name: 'an odd list',
    listen: (_, res, note) => {
      thrown(note, 'writeHead', () => res.writeHead(200, ['X-A', '1', 'X-B']));
      res.end('x');
    },
  },
  {
    name: 'writeHead over setHeader',
    listen: (_, res) => {
      res.setHeader('X-A', 'first');
      res.setHeader('X-Kept', 'yes');
      res.writeHead(200, { 'x-a': 'second', 'X-C': ['1', '2'] });
      res.end('x');
    },
  },
  {
    name: 'fields of every kind',
    listen: (_, res) => {
      res.setHeader('Set-Cookie', ['a=1', 'b=2; Path=/']);
      res.setHeader('X-Many', ['1', '2']);
      res.setHeader('X-Number', 17);
      res.setHeader('X-Empty', '');
      res.setHeader('Cookie', ['a', 'b']);
      res.appendHeader('Vary', 'Accept');
      res.appendHeader('Vary', ['Cookie', 'Origin']);
      res.setHeaders(new Map([['x-map', 'yes']]));
      res.setHeaders(new Headers([['x-headers', 'yes']]));
      res.setHeader('X-Gone', '1');
      res.removeHeader('x-gone');
      res.end('x');
    },
  },
  {
    name: 'all fields removed again',
    listen: (_, res) => {
      res.setHeader('X-Gone', '1');
      res.removeHeader('x-gone');
      res.end('x');
    },
  },
  {
    name: 'what is said of the fields',
    listen: (_, res, note) => {
      res.setHeader('X-A', '1');
      res.setHeader('Content-Type', 'text/plain');
      note(JSON.stringify(res.getHeaders()));
      note(res.getHeaderNames().join());
      note((res as unknown as { getRawHeaderNames(): string[] }).getRawHeaderNames().join());
      note(`${res.getHeader('x-a')} ${res.hasHeader('X-B')}`);
      res.end(`${res.headersSent}`);
      note(`${res.headersSent} ${res.getHeader('x-a')} ${res.statusMessage}`);
    },
  },
  {
    name: 'content-length',
    listen: (_, res) => {
      res.setHeader('content-length', 3);
      res.write('a');
      res.end('bc');
    },
  },
  {
    name: 'no content-length wanted',
    listen: (_, res) => {
      res.removeHeader('content-length');
      res.end('abc');
    },
  },
  {
    name: 'transfer-encoding',
    listen: (_, res) => {
      res.setHeader('Transfer-Encoding', 'chunked');
      res.end('abc');
    },
  },
  {
    name: 'trailers',
    listen: (_, res) => {
      res.writeHead(200, { 'X-A': '1' });
      res.write('abc');
      res.addTrailers({ 'X-Trailer': '1' });
      res.end();
    },
  },
  {
    name: 'a date of its own',
    listen: (_, res) => {
      res.setHeader('Last-Modified', 'Tue, 15 Nov 1994 12:45:26 GMT');
      res.sendDate = false;
      res.end();
    },
  },
  {
    name: 'what no field may have',
    listen: (_, res, note) => {
      thrown(note, 'name', () => res.setHeader('a b', '1'));
      thrown(note, 'empty', () => res.setHeader('', '1'));
      thrown(note, 'value', () => res.setHeader('X-A', 'a\r\nX-B: 1'));
      thrown(note, 'far', () => res.setHeader('X-A', '€'));
      thrown(note, 'undefined', () => res.setHeader('X-A', undefined as never));
      thrown(note, 'head name', () => res.writeHead(200, { 'a b': '1' }));
      thrown(note, 'head value', () => res.writeHead(200, { a: '1\n' }));
      thrown(note, 'head values', () => res.writeHead(200, { a: ['1', '2\n'] }));
      thrown(note, 'status', () => res.writeHead(1000));
      thrown(note, 'low', () => res.writeHead(99));
      thrown(note, 'reason', () => res.writeHead(200, 'a\nb'));
      res.statusMessage = 'OK';
      states(note, 'then', res);
      res.writeHead(200).end('x');
    },
  },
  {
    name: 'too late',
    listen: (_, res, note) => {
      res.writeHead(200);
      thrown(note, 'setHeader', () => res.setHeader('a', 'b'));
      thrown(note, 'appendHeader', () => res.appendHeader('a', 'b'));
      thrown(note, 'removeHeader', () => res.removeHeader('a'));
      thrown(note, 'writeHead', () => res.writeHead(200));
      thrown(note, 'setHeaders', () => res.setHeaders(new Map()));
      thrown(note, 'flushHeaders', () => res.flushHeaders());
      res.end();
    },
  },
  // ---- no body
  { name: 'HEAD', method: 'HEAD', listen: (_, res) => res.end('hello') },
  {
    name: 'HEAD with a length',
    method: 'HEAD',
    listen: (req, res, note) => {
      follow(note, req, res);
      res.setHeader('Content-Length', 5);
      note(`${res.write('hello', () => note('written'))}`);
      res.end(() => note('ended'));
    },
  },
  { name: '204', listen: (_, res) => res.writeHead(204).end('dropped') },
  {
    name: '304',
    listen: (_, res) => {
      res.statusCode = 304;
      res.setHeader('ETag', '"1"');
      res.end();
    },
  },
  { name: '205', listen: (_, res) => res.writeHead(205).end() },
  // ---- more than one piece
  {
    name: 'write and end',
    listen: (_, res) => {
      res.write('a');
      res.write(Buffer.from('b'));
      res.write('63', 'hex');
      res.end('d');
    },
  },
  {
    name: 'pieces in their time',
    listen: (req, res, note) => {
      follow(note, req, res);
      res.write('a', () => note('a is written'));
      states(note, 'begun', res);
      later(() => {
        res.write('b', 'utf8', () => note('b is written'));
        later(() => res.end('c', 'utf8', () => note('ended')));
      });
    },
  },
  {
    name: 'end() long after the last piece',
    listen: (req, res, note) => {
      follow(note, req, res);
      res.write('a');
      later(() => res.end(() => note('ended')));
    },
  },
  {
    name: 'an empty piece',
    listen: (_, res, note) => {
      res.write('', () => note('empty'));
      note(`${res.headersSent}`);
      later(() => res.end('x'));
    },
  },
  {
    name: 'flushHeaders',
    listen: (_, res, note) => {
      res.setHeader('X-A', '1');
      res.flushHeaders();
      note(`${res.headersSent}`);
      later(() => res.end('x'));
    },
  },
  {
    name: 'cork',
    listen: (_, res, note) => {
      res.cork();
      note(`${res.writableCorked}`);
      res.write('a', () => note('a is written'));
      res.write('b', () => note('b is written'));
      res.uncork();
      res.end('c');
    },
  },
  {
    name: 'corked to its end',
    listen: (_, res) => {
      res.cork();
      res.cork();
      res.write('a');
      res.end('c');
    },
  },
  {
    name: 'answers before the answer',
    listen: (_, res, note) => {
      res.writeContinue(() => note('continue'));
      res.writeProcessing();
      res.writeEarlyHints({ link: '</a.css>; rel=preload; as=style' }, () => note('hints'));
      thrown(note, 'hints', () => res.writeEarlyHints({ link: 'what' }));
      note(`${res.headersSent}`);
      later(() => res.end('x'));
    },
  },
  // ---- the order of things
  {
    name: 'events of an answer',
    listen: (req, res, note) => {
      follow(note, req, res);
      states(note, 'before', res);
      res.end('x', () => {
        note('ended');
        states(note, 'at the end', res);
      });
      states(note, 'after', res);
      process.nextTick(() => note('next tick'));
      res.on('close', () => states(note, 'closed', res));
    },
  },
  {
    name: 'sockets come and go',
    listen: (req, res, note) => {
      note(`${res.socket === req.socket} ${res.connection === req.connection}`);
      res.on('finish', () => note(`${res.socket} ${typeof req.socket}`));
      res.end('x');
    },
  },
  {
    name: 'write after end',
    listen: (req, res, note) => {
      follow(note, req, res);
      res.end('x');
      const callback = (error?: NodeJS.ErrnoException | null): void => note(`write ${error?.code}`);
      note(`${res.write('late', callback)}`);
    },
  },
  {
    name: 'end after end',
    listen: (req, res, note) => {
      follow(note, req, res);
      res.end('x');
      res.end((error?: NodeJS.ErrnoException) => note(`again ${error?.code}`));
      const callback = ((error?: NodeJS.ErrnoException) =>
        note(`with bytes ${error?.code}`)) as () => void;
      res.end('late', callback);
      res.on('close', () => res.end());
    },
  },
  {
    name: 'what cannot be written',
    listen: (_, res, note) => {
      thrown(note, 'null', () => res.write(null));
      thrown(note, 'number', () => res.write(5));
      thrown(note, 'object', () => res.end({}));
      thrown(note, 'pipe', () => {
        res.on('error', (error: NodeJS.ErrnoException) => note(`${error.code}`));
        res.pipe(process.stdout);
      });
      res.end('x');
    },
  },
  {
    name: 'a length that has to fit',
    listen: (_, res, note) => {
      res.strictContentLength = true;
      res.setHeader('Content-Length', 3);
      thrown(note, 'write', () => res.write('four'));
      thrown(note, 'end', () => res.end('ab'));
      res.destroy();
    },
  },
  // ---- streams
  {
    name: 'pipe',
    listen: (req, res, note) => {
      follow(note, req, res);
      Readable.from(['a', 'b', 'c']).pipe(res);
    },
  },
  {
    name: 'pipeline',
    listen: (_, res, note) => {
      pipeline(Readable.from([Buffer.from('a'), 'b']), res, (error) => note(`done ${error?.name}`));
    },
  },
  {
    name: 'a pipeline that fails',
    listen: (_, res, note) => {
      const source = new Readable({
        read() {
          later(() => this.destroy(new Error('no more')));
        },
      });
      res.on('close', () => note('res close'));
      res.write('begun');
      pipeline(source, res, (error) => note(`done ${error?.message}`));
    },
  },
  {
    name: 'a pipeline through a transform from the body',
    method: 'POST',
    body: ['abc', 'def'],
    listen: (req, res, note) => {
      const upper = new Transform({
        transform(chunk, _, done) {
          done(null, `${chunk}`.toUpperCase());
        },
      });
      pipeline(req, upper, res, (error) => note(`done ${error}`));
    },
  },
  {
    name: 'finished',
    listen: (req, res, note) => {
      finished(res, (error) => note(`res finished ${error}`));
      finished(req, (error) => note(`req finished ${error}`));
      res.end('x');
    },
  },
  {
    name: 'finished after all',
    listen: (_, res, note) => {
      res.on('close', () => finished(res, (error) => note(`res finished ${error}`)));
      res.end('x');
    },
  },
  // ---- overrides
  {
    name: 'own write, end and writeHead, as compression',
    listen: (_, res) => {
      const { write, end, writeHead } = res;
      const over = res as unknown as Record<string, unknown>;
      over.writeHead = function (this: ServerResponse, status: number, ...rest: []) {
        this.setHeader('X-Late', 'yes');
        this.removeHeader('Content-Length');
        return writeHead.call(this, status, ...rest);
      };
      over.write = function (this: ServerResponse, chunk: unknown, encoding: BufferEncoding) {
        if (!this.headersSent) (this as unknown as { _implicitHeader(): void })._implicitHeader();
        return write.call(this, `<${chunk}>`, encoding);
      };
      over.end = function (this: ServerResponse, chunk: unknown) {
        return end.call(this, chunk === undefined ? undefined : `(${chunk})`, 'utf8');
      };
      res.setHeader('Content-Length', 2);
      res.write('a');
      res.end('b');
    },
  },
  {
    name: 'other prototypes, as Express',
    listen: (req, res, note) => {
      const ofRequest = Object.create(Object.getPrototypeOf(req), { app: { value: 'app' } });
      const ofResponse = Object.create(ServerResponse.prototype, {
        send: {
          value(this: ServerResponse, text: string) {
            this.statusCode = 202;
            this.end(text);
          },
        },
      });
      Object.setPrototypeOf(req, ofRequest);
      Object.setPrototypeOf(res, ofResponse);
      note(`${(req as unknown as { app: string }).app} ${req.headers.host !== undefined}`);
      (res as unknown as { send(text: string): void }).send('sent');
    },
  },
  // ---- requests
  {
    name: 'head of a request',
    method: 'PUT',
    fields: [
      'X-A',
      '1',
      'X-a',
      '2',
      'Cookie',
      'a=1',
      'Cookie',
      'b=2',
      'Set-Cookie',
      's',
      'Age',
      '1',
    ],
    listen: (req, res, note) => {
      const { host, connection, 'content-length': length, ...headers } = req.headers;
      note(JSON.stringify(headers));
      note(JSON.stringify(req.headersDistinct['x-a']));
      note(`${req.method} ${req.url} ${req.httpVersion} ${req.httpVersionMajor}`);
      note(
        `${JSON.stringify(req.trailers)} ${req.rawTrailers.length} ${req.aborted} ${req.complete}`,
      );
      note(`${req.statusCode} ${req.readable} ${req.readableFlowing} ${res.req === req}`);
      res.end();
    },
  },
  {
    name: 'a body',
    method: 'POST',
    body: ['first ', 'second'],
    listen: (req, res, note) => {
      follow(note, req, res);
      collected(req, (text) => {
        note(`${text}; complete ${req.complete} ended ${req.readableEnded}`);
        res.end(text);
      });
    },
  },
  {
    name: 'no body, and read',
    listen: (req, res, note) => {
      follow(note, req, res);
      collected(req, (text) => res.end(`${text.length}`));
    },
  },
  {
    name: 'a body, iterated',
    method: 'POST',
    body: ['abc'],
    listen: async (req, res) => {
      let text = '';
      for await (const piece of req) text += piece;
      res.end(text);
    },
  },
  {
    name: 'a body that nobody reads',
    method: 'POST',
    body: ['abc'],
    listen: (req, res, note) => {
      follow(note, req, res);
      res.end('x');
    },
  },
  {
    name: 'a body read late',
    method: 'POST',
    body: ['abc'],
    listen: (req, res) => {
      req.pause();
      later(() => {
        collected(req, (text) => res.end(text));
        req.resume();
      });
    },
  },
  {
    name: 'an answer after its events',
    listen: (req, res, note) => {
      req.on('close', () => note('req close'));
      res.on('close', () => note('res close'));
      res.on('finish', () => note(`finish ${req.complete} ${req.destroyed}`));
      later(() => res.end('x'));
    },
  },
  // ---- broken off
  {
    name: 'destroyed before the head',
    listen: (req, res, note) => {
      follow(note, req, res);
      res.destroy();
      states(note, 'destroyed', res);
    },
  },
  {
    name: 'destroyed in the middle',
    listen: (req, res, note) => {
      follow(note, req, res);
      res.write('begun');
      later(() => {
        res.destroy(new Error('enough'));
        states(note, 'destroyed', res);
        note(`${res.write('x', (error) => note(`${(error as NodeJS.ErrnoException)?.code}`))}`);
      });
    },
  },
  {
    name: 'the request destroyed',
    listen: (req, res, note) => {
      follow(note, req, res);
      req.on('error', (error) => note(`req ${error.message}`));
      req.destroy(new Error('enough'));
      note(`${req.destroyed} ${req.aborted}`);
    },
  },
  {
    name: 'the socket destroyed',
    listen: (req, res, note) => {
      follow(note, req, res);
      req.socket.on('close', () => note('socket close'));
      req.socket.destroy();
      note(`${req.socket.destroyed} ${req.destroyed} ${res.destroyed}`);
    },
  },
];
