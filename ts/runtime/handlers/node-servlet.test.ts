// SPDX-License-Identifier: Apache-2.0
// What as-node-http.test.ts cannot compare: backpressure, clients that leave, failures, the socket.
import { AsyncLocalStorage, executionAsyncId } from 'node:async_hooks';
import { once } from 'node:events';
import { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline, Readable } from 'node:stream';
import t from 'tap';
import { AlarmError, withAlarm } from '../guards/synchronous.ts';
import { fetchServlet } from './fetch-servlet.ts';
import { nodeServlet } from './node-servlet.ts';
import { metadataOf } from './request-metadata.ts';
import { MemoryExchange } from './testing/memory-exchange.ts';

t.test('a small answer is one begin and one end', async (t) => {
  const exchange = new MemoryExchange();
  nodeServlet((_, res) => res.end('hello'))(exchange);
  await exchange.over();
  t.same(exchange.calls, ['head', 'end 5']);
  t.same(exchange.fields, ['Content-Length', '5']);

  const pieces = new MemoryExchange();
  nodeServlet((_, res) => {
    res.write('a');
    res.write('b');
    res.end('c');
  })(pieces);
  await pieces.over();
  t.same(pieces.calls, ['head', 'end 3']);
});

t.test('what is written goes out in the same turn, flushHeaders at once', async (t) => {
  const exchange = new MemoryExchange();
  const seen: string[][] = [];
  nodeServlet((_, res) => {
    res.flushHeaders();
    seen.push([...exchange.calls]);
    res.write('a');
    res.write('b');
    setImmediate(() => {
      seen.push([...exchange.calls]);
      res.end();
    });
  })(exchange);
  await exchange.over();
  t.same(seen, [
    ['head', 'flush'],
    ['head', 'flush', 'body 2'],
  ]);
});

t.test('requests and answers are those of node:http', async (t) => {
  const exchange = new MemoryExchange({ httpVersion: '2.0', fields: ['TE', 'trailers'] });
  nodeServlet((req, res) => {
    t.ok(req instanceof IncomingMessage);
    t.ok(res instanceof ServerResponse);
    t.equal(`${req.httpVersion} ${req.httpVersionMajor} ${req.httpVersionMinor}`, '2.0 2 0');
    t.same(req.rawHeaders, ['TE', 'trailers']);
    t.equal(metadataOf(req), exchange.head.metadata);
    res.end('x');
  })(exchange);
  await exchange.over();
  t.same(exchange.values('content-length'), ['1'], 'also for versions without chunks');
});

t.test('bytes of fields are Latin-1 characters', async (t) => {
  const exchange = new MemoryExchange({ fields: ['X-A', '\xc3\xa9'] });
  nodeServlet((req, res) => {
    res.setHeader('X-B', req.headers['x-a'] as string);
    res.setHeader('Content-Disposition', 'attachment; filename="\xe9"');
    res.end('text');
  })(exchange);
  await exchange.over();
  t.same(exchange.values('x-b'), ['\xc3\xa9']);
  t.same(exchange.values('content-disposition'), ['attachment; filename="\xe9"']);
});

t.test('an answer waits for room', async (t) => {
  const exchange = new MemoryExchange();
  exchange.room = 1000;
  const piece = Buffer.alloc(70_000, 'x');
  const notes: string[] = [];
  nodeServlet((_, res) => {
    notes.push(`${res.write(piece, () => notes.push('written'))} ${res.writableNeedDrain}`);
    notes.push(`${res.writableLength}`);
    res.on('drain', () => {
      notes.push(`drain ${res.writableNeedDrain} ${res.writableLength}`);
      res.end();
    });
  })(exchange);
  await exchange.called('body 70000');
  await new Promise(setImmediate);
  t.same(notes, ['false true', '70000']);
  exchange.drain();
  await exchange.over();
  t.same(notes, ['false true', '70000', 'written', 'drain false 0']);
});

t.test('a pipeline stops and goes on with the client', async (t) => {
  const exchange = new MemoryExchange();
  exchange.room = 100_000;
  let read = 0;
  const source = new Readable({
    read() {
      read++;
      this.push(read > 20 ? null : Buffer.alloc(50_000));
    },
  });
  const done = new Promise((resolve) => {
    nodeServlet((_, res) => pipeline(source, res, resolve))(exchange);
  });
  await exchange.called('body 50000');
  for (let i = 0; i < 20; i++) await new Promise(setImmediate);
  t.ok(read < 10, 'the source waits');
  exchange.drain();
  t.equal(await done, undefined);
  t.equal(Buffer.concat(exchange.pieces).length, 1_000_000);
});

t.test('small writes in one turn tell when it is enough', async (t) => {
  const exchange = new MemoryExchange();
  exchange.room = 10;
  let count = 1;
  nodeServlet((_, res) => {
    while (res.write(Buffer.alloc(1000))) count++;
    res.on('drain', () => res.end());
  })(exchange);
  t.ok(count > 60 && count < 70);
  exchange.drain();
  await exchange.over();
  t.equal(Buffer.concat(exchange.pieces).length, count * 1000);
});

t.test('a body waits for its reader', async (t) => {
  const pieces = Array.from({ length: 10 }, () => Buffer.alloc(30_000, 'x'));
  const exchange = new MemoryExchange({ method: 'POST', body: pieces });
  let go = (): void => undefined;
  const bytes: number[] = [];
  nodeServlet((req, res) => {
    req.once('readable', () => {
      go = () => {
        req.on('data', (piece) => bytes.push(piece.length));
        req.on('end', () => res.end('done'));
      };
    });
  })(exchange);
  t.same(exchange.calls, [], 'it does not flow before');
  await exchange.called('pause');
  t.notOk(exchange.isFlowing);
  go();
  await exchange.over();
  t.equal(
    bytes.reduce((sum, one) => sum + one, 0),
    300_000,
  );
  t.equal(exchange.text, 'done');
});

t.test('a request without a body does not wait for one', async (t) => {
  const exchange = new MemoryExchange({ method: 'POST', bodyBytes: 0 });
  nodeServlet((req, res) => {
    req.resume();
    req.on('end', () => res.end('end'));
  })(exchange);
  await exchange.over();
  t.same(exchange.calls, ['head', 'end 3']);
});

t.test('a body ends with the answer', async (t) => {
  const exchange = new MemoryExchange({ method: 'POST', body: null });
  const error = new Promise<NodeJS.ErrnoException>((resolve) => {
    nodeServlet((req, res) => {
      req.on('error', resolve);
      req.once('data', () => res.end('enough'));
    })(exchange);
  });
  exchange.give('part');
  t.match(await error, { code: 'ECONNRESET', message: /ends with the answer/ });
  t.ok(exchange.isWhole);
});

t.test('a client leaves', async (t) => {
  const notes: string[] = [];
  const exchange = new MemoryExchange({ method: 'POST', body: null });
  const closed = new Promise((resolve) => {
    nodeServlet((req, res) => {
      res.write('begun');
      req.on('aborted', () => notes.push(`aborted ${req.aborted}`));
      req.on('error', (error: NodeJS.ErrnoException) =>
        notes.push(`${error.code} ${error.message}`),
      );
      req.on('close', () => notes.push('req close'));
      req.on('close', resolve);
      req.socket.on('close', () => notes.push('socket close'));
      res.on('finish', () => notes.push('finish'));
      res.on('close', () => {
        notes.push(`res close ${res.destroyed} ${res.writableFinished} ${req.socket.destroyed}`);
        notes.push(`${res.write('x')}`);
        res.end('late');
      });
      req.resume();
    })(exchange);
  });
  await exchange.called('body 5');
  exchange.abort(new Error('the connection is gone'));
  await closed;
  t.same(notes, [
    'aborted true',
    'res close true false true',
    'false',
    'socket close',
    'ECONNRESET aborted',
    'req close',
  ]);
  t.notOk(exchange.isWhole);
});

t.test('a pipeline ends when the client leaves', async (t) => {
  const exchange = new MemoryExchange();
  const source = new Readable({ read() {} });
  source.push('x');
  const done = new Promise<NodeJS.ErrnoException>((resolve) => {
    nodeServlet((_, res) => pipeline(source, res, resolve as () => void))(exchange);
  });
  await exchange.called('body 1');
  exchange.abort(new Error('gone'));
  t.match(await done, { code: 'ERR_STREAM_PREMATURE_CLOSE' });
  t.ok(source.destroyed);
});

t.test('handlers that destroy', async (t) => {
  for (const what of ['req', 'res', 'socket']) {
    const exchange = new MemoryExchange();
    nodeServlet((req, res) => {
      ({ req, res, socket: req.socket })[what]?.destroy();
      res.end('late');
    })(exchange);
    await exchange.over();
    t.ok(exchange.isBroken, what);
    t.equal(exchange.status, 0);
  }
});

t.test('handlers that fail', async (t) => {
  const fails = async (listener: Parameters<typeof nodeServlet>[0]): Promise<MemoryExchange> => {
    const exchange = new MemoryExchange({ method: 'POST', url: '/x', body: ['abc'] });
    nodeServlet(listener)(exchange);
    await exchange.over();
    await new Promise(setImmediate);
    t.equal(exchange.reports.length, 1, 'one line');
    t.match(exchange.reports[0], /POST \/x: Error: oh no at .*node-servlet\.test/);
    t.notMatch(exchange.reports[0], '\n');
    t.notMatch(exchange.text, 'oh no', 'the client is not told');
    return exchange;
  };
  const thrown = await fails(() => {
    throw new Error('oh\n no');
  });
  t.equal(thrown.status, 500);
  const rejected = await fails(async (req) => {
    for await (const _ of req);
    throw new Error('oh no');
  });
  t.equal(rejected.status, 500);
  const headed = await fails((_, res) => {
    res.writeHead(200);
    throw new Error('oh no');
  });
  t.equal(headed.status, 500, 'no head went out yet');
  const begun = await fails((_, res) => {
    res.write('begun');
    return new Promise((_, reject) => setImmediate(() => reject(new Error('oh no'))));
  });
  t.ok(begun.isBroken);
  t.equal(begun.status, 200);
  const done = await fails((_, res) => {
    res.end('done');
    throw new Error('oh no');
  });
  t.ok(done.isWhole);
  t.equal(done.text, 'done');
  const listening = await fails((req) => {
    req.on('data', () => {
      throw new Error('oh no');
    });
  });
  t.equal(listening.status, 500);
});

t.test('what is thrown need not be an error', async (t) => {
  for (const thrown of [undefined, 'oh\x1b no', Object.create(null), Symbol('no')]) {
    const exchange = new MemoryExchange();
    nodeServlet(() => {
      throw thrown;
    })(exchange);
    t.equal(exchange.status, 500);
    t.match(exchange.reports[0], /^the handler failed: GET \/: [\x20-\x7e]+$/);
  }
});

t.test('what cannot be sent is answered for', async (t) => {
  class Strict extends MemoryExchange {
    protected override sendHead(status: number, reason: string, fields: readonly string[]): void {
      if (status === 200) throw new Error('too long');
      super.sendHead(status, reason, fields);
    }
  }
  for (const listener of [
    (_: IncomingMessage, res: ServerResponse) => res.end('x'),
    (_: IncomingMessage, res: ServerResponse) => res.write('x'),
  ]) {
    const exchange = new Strict();
    nodeServlet(listener)(exchange);
    await exchange.over();
    t.equal(exchange.status, 500);
    t.match(exchange.reports, [/too long/]);
  }
  const exchange = new MemoryExchange();
  nodeServlet((_, res) => res.writeHead(101))(exchange);
  await exchange.over();
  t.equal(exchange.status, 500);
  t.match(exchange.reports, [/status 101: .* 200 to 999/]);
});

t.test('an exchange that is over already is not handled', (t) => {
  const exchange = new MemoryExchange();
  exchange.abort(new Error('gone'));
  nodeServlet(() => t.fail('called'))(exchange);
  t.end();
});

t.test('what stands in for the socket', async (t) => {
  const exchange = new MemoryExchange({
    metadata: {
      isSecure: true,
      serverPort: 443,
      remoteAddress: '2001:db8::1',
      tls: {
        protocol: 'TLSv1.3',
        cipher: 'TLS_AES_256_GCM_SHA384',
        sessionId: null,
        keyBits: 256,
        clientCertificate: null,
      },
      variables: new Map([['SSL_CLIENT_VERIFY', 'SUCCESS']]),
    },
  });
  let closed: Promise<unknown[]> | null = null;
  nodeServlet((req, res) => {
    t.match(req.socket, {
      remoteAddress: '2001:db8::1',
      remotePort: 40_000,
      remoteFamily: 'IPv6',
      localAddress: '192.0.2.1',
      localPort: 443,
      encrypted: true,
      authorized: true,
      readable: true,
      writable: true,
      destroyed: false,
    });
    t.same(req.socket.address(), { address: '192.0.2.1', family: 'IPv4', port: 443 });
    const tls = req.socket as unknown as import('node:tls').TLSSocket;
    t.equal(tls.getProtocol(), 'TLSv1.3');
    t.match(tls.getCipher(), { name: 'TLS_AES_256_GCM_SHA384' });
    t.same(tls.getPeerCertificate(), {});
    req.setTimeout(5);
    res.setTimeout(5, () => t.fail('no timeouts here'));
    req.socket.setNoDelay().setKeepAlive().ref().unref();
    t.notOk(req.socket.write('x'));
    closed = once(req.socket, 'close');
    res.end();
  })(exchange);
  await exchange.over();
  t.same(await closed, [false], 'it closes with its request');
});

t.test('what a handler enters holds for its request only', async (t) => {
  const storage = new AsyncLocalStorage<string>();
  const seen: (string | undefined)[] = [];
  const servlet = nodeServlet((req, res) => {
    seen.push(storage.getStore());
    storage.enterWith(req.url as string);
    req.on('data', () => seen.push(storage.getStore()));
    req.on('end', () => res.end());
  });
  const first = new MemoryExchange({ method: 'POST', url: '/1', body: ['a'] });
  const second = new MemoryExchange({ method: 'POST', url: '/2', body: ['b'] });
  servlet(first);
  servlet(second);
  await Promise.all([first.over(), second.over()]);
  t.same(seen, [undefined, undefined, '/1', '/2']);

  const events: (string | undefined)[] = [];
  const get = new MemoryExchange({ url: '/3' });
  nodeServlet((req, res) => {
    storage.enterWith(req.url as string);
    for (const event of ['end', 'close']) req.on(event, () => events.push(storage.getStore()));
    req.resume();
    res.on('close', () => events.push(storage.getStore()));
    res.end();
  })(get);
  while (events.length < 3) await new Promise(setImmediate);
  t.same(events, ['/3', '/3', '/3']);
});

t.test('a handler may be ended in the middle', async (t) => {
  const handlers = [
    nodeServlet(() => {
      for (;;);
    }),
    fetchServlet(() => {
      for (;;);
    }),
  ];
  for (const servlet of handlers) {
    const exchange = new MemoryExchange();
    exchange.alarm = (call) => {
      t.throws(() => withAlarm(20, call), AlarmError);
      exchange.giveUp({ status: 504, reason: 'Late.' });
      return undefined;
    };
    await new Promise(setImmediate);
    const scope = executionAsyncId();
    servlet(exchange);
    t.equal(executionAsyncId(), scope, 'no async scope is left open');
    t.equal(exchange.status, 504);
  }
});

t.test('one error event is enough to know of a write after the end', async (t) => {
  const exchange = new MemoryExchange();
  const [error] = await new Promise<unknown[]>((resolve) => {
    nodeServlet((_, res) => {
      resolve(once(res, 'error').catch((reason) => [reason]));
      res.end('x');
      res.end('y');
    })(exchange);
  });
  t.match(error, { code: 'ERR_STREAM_WRITE_AFTER_END' });
});
