// SPDX-License-Identifier: Apache-2.0
// Both kinds of links, with a request at both ends of them.
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { duplexPair } from 'node:stream';
import { MessageChannel } from 'node:worker_threads';
import t, { type Test } from 'tap';
import { VariablesMetadata } from '../connections/variables-metadata.ts';
import type { Exchange, ExchangeListener } from '../exchange.ts';
import { RecordedExchange } from '../models/testing/recorded-exchange.ts';
import { eventually } from '../models/testing/world.ts';
import { LinkExchange } from './link-exchange.ts';
import { LinkRequest } from './link-request.ts';
import { type MasterLink, WINDOW_BYTES, type WorkerLink } from './messages.ts';
import { processMasterLink, processWorkerLink } from './process-link.ts';
import { threadMasterLink, threadWorkerLink } from './thread-link.ts';

type Pair = [MasterLink, WorkerLink];

async function socketPair(t: Test): Promise<Pair> {
  const server = createServer({ allowHalfOpen: false });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address() as { port: number };
  const here = connect(address.port, '127.0.0.1');
  const [there] = (await once(server, 'connection')) as [Socket];
  server.close();
  t.teardown(() => {
    here.destroy();
    there.destroy();
  });
  return [processMasterLink(here), processWorkerLink(there)];
}

async function portPair(t: Test): Promise<Pair> {
  const { port1, port2 } = new MessageChannel();
  t.teardown(() => port1.close());
  return [threadMasterLink(port1), threadWorkerLink(port2)];
}

/** A request that goes over the link, and who answers it. */
class Ends {
  readonly exchange: RecordedExchange;
  readonly request: LinkRequest;
  /** At the worker. */
  answering: Exchange | null = null;
  isDone = false;
  isWorkerDone = false;
  aborts = 0;

  constructor(
    [master, worker]: Pair,
    exchange: RecordedExchange,
    open: (exchange: Exchange) => Partial<ExchangeListener>,
  ) {
    this.exchange = exchange;
    this.request = new LinkRequest(exchange, 1, master, {
      onAbortSent: () => {
        this.aborts++;
      },
      onDone: () => {
        this.isDone = true;
      },
    });
    let remote: LinkExchange | null = null;
    worker.onMessage = (message) => {
      if (message.type === 'request') {
        remote = new LinkExchange(message.head, message.id, worker, () => {
          this.isWorkerDone = true;
        });
        this.answering = remote;
        const silent = { onBody() {}, onBodyEnd() {}, onAbort() {}, onDrain() {} };
        let events: Partial<ExchangeListener> = {};
        remote.open({
          onBody: (bytes) => (events.onBody ?? silent.onBody)(bytes),
          onBodyEnd: () => (events.onBodyEnd ?? silent.onBodyEnd)(),
          onAbort: (reason) => (events.onAbort ?? silent.onAbort)(reason),
          onDrain: () => (events.onDrain ?? silent.onDrain)(),
        });
        events = open(remote);
      } else if (!this.isWorkerDone) {
        remote?.take(message);
      }
    };
    master.onMessage = (message) => {
      if (!this.isDone && 'id' in message) this.request.take(message);
    };
    exchange.onOver = () => this.request.onOver();
    this.request.start();
  }
}

const kinds = [
  ['processes', socketPair],
  ['threads', portPair],
] as const;

for (const [kind, makePair] of kinds) {
  t.test(`${kind}: a request and its answer`, async (t) => {
    let seen: Exchange | null = null;
    const exchange = new RecordedExchange('/a?b');
    const ends = new Ends(await makePair(t), exchange, (remote) => {
      seen = remote;
      remote.report('a line');
      remote.begin(201, 'Made', ['X', '\xe9']);
      remote.write(Buffer.from('one '));
      remote.flush();
      remote.end(Buffer.from('two'));
      return {};
    });
    await exchange.whenOver;
    t.same(seen!.head, exchange.head);
    t.match(exchange, { status: 201, fields: ['X', '\xe9'], text: 'one two', flushes: 1 });
    t.same(exchange.lines, ['a line']);
    t.ok(ends.isDone && ends.isWorkerDone);
  });

  t.test(`${kind}: a request without a body and a small answer are a message each`, async (t) => {
    const [master, worker] = await makePair(t);
    const types: string[] = [];
    const send = worker.send.bind(worker);
    worker.send = (message) => {
      types.push(message.type);
      send(message);
    };
    const variables = new Map([['REMOTE_USER', 'fran\xe7ois']]);
    const metadata = new VariablesMetadata('fastcgi', 'responder', variables);
    const exchange = new RecordedExchange('/', [], { metadata });
    let user: string | null = null;
    const ends = new Ends([master, worker], exchange, (remote) => {
      user = remote.head.metadata.remoteUser;
      remote.begin(404, 'Gone', ['X', 'y']);
      remote.end(Buffer.from('whole'));
      return {};
    });
    await exchange.whenOver;
    t.same(types, ['answer']);
    t.equal(user, 'fran\xe7ois');
    t.same([...ends.answering!.head.metadata.variables], [...variables]);
    t.match(exchange, { status: 404, fields: ['X', 'y'], text: 'whole' });
  });

  t.test(`${kind}: an answer that breaks off before anything of it was sent`, async (t) => {
    const exchange = new RecordedExchange('/');
    const ends = new Ends(await makePair(t), exchange, (remote) => {
      remote.begin(200, '', []);
      remote.breakOff();
      return {};
    });
    await exchange.whenOver;
    t.ok(exchange.isBroken && ends.isDone && ends.isWorkerDone);
    t.equal(exchange.status, 0);
  });

  t.test(`${kind}: a body that nobody reads stays where it is, beyond a window`, async (t) => {
    const chunks = Array.from({ length: 64 }, (_, i) => Buffer.alloc(16 << 10, i));
    const exchange = new RecordedExchange('/', chunks);
    let bytes = 0;
    const ends = new Ends(await makePair(t), exchange, (remote) => ({
      onBody: (some) => {
        bytes += some.length;
        remote.pauseBody();
        setImmediate(() => remote.resumeBody());
      },
      onBodyEnd: () => {
        remote.begin(200, '', []);
        remote.end(Buffer.from(`${bytes}`));
      },
    }));
    await eventually(() => ends.answering !== null && !exchange.isFlowing);
    t.equal(exchange.unread, (64 << 14) - WINDOW_BYTES);
    ends.answering!.resumeBody();
    await exchange.whenOver;
    t.equal(exchange.text, `${64 << 14}`);
  });

  t.test(`${kind}: an answer that nobody reads stays where it is, beyond a window`, async (t) => {
    const exchange = new RecordedExchange('/');
    exchange.isFull = true;
    const whole = Buffer.alloc(3 * WINDOW_BYTES + 17, 'abc');
    let wasRoom = true;
    let drains = 0;
    const ends = new Ends(await makePair(t), exchange, (remote) => {
      remote.begin(200, '', []);
      wasRoom = remote.write(whole);
      return {
        onDrain: () => {
          drains++;
          remote.end(Buffer.from(whole));
        },
      };
    });
    await eventually(() => exchange.bytes === WINDOW_BYTES);
    t.notOk(wasRoom);
    t.equal(drains, 0);
    exchange.drain();
    await exchange.whenOver;
    t.equal(drains, 1);
    t.ok(Buffer.concat(exchange.chunks).equals(Buffer.concat([whole, whole])));
    t.ok(ends.isDone && ends.isWorkerDone);
  });

  t.test(`${kind}: bytes that were given are still the handler's`, async (t) => {
    const exchange = new RecordedExchange('/');
    const page = Buffer.from('a page that is kept');
    new Ends(await makePair(t), exchange, (remote) => {
      remote.begin(200, '', []);
      remote.write(page.subarray(0, 6));
      remote.end(page.subarray(6));
      return {};
    });
    await exchange.whenOver;
    t.equal(exchange.text, 'a page that is kept');
    t.equal(page.toString(), 'a page that is kept');
  });

  t.test(`${kind}: the client leaves`, async (t) => {
    const exchange = new RecordedExchange('/', [Buffer.alloc(10)]);
    let reason = '';
    const ends = new Ends(await makePair(t), exchange, (remote) => {
      remote.begin(200, '', []);
      remote.write(Buffer.from('half'));
      return {
        onAbort: (error) => {
          reason = error.message;
        },
      };
    });
    await eventually(() => exchange.bytes > 0);
    exchange.leave();
    await eventually(() => ends.isDone);
    t.equal(reason, 'the client has left');
    t.equal(ends.aborts, 1);
    t.ok(ends.isWorkerDone);
    t.equal(ends.answering!.state, 'over');
  });

  t.test(`${kind}: an answer that breaks off`, async (t) => {
    const exchange = new RecordedExchange('/');
    new Ends(await makePair(t), exchange, (remote) => {
      remote.begin(200, '', []);
      remote.write(Buffer.from('half'));
      remote.breakOff();
      return {};
    });
    await exchange.whenOver;
    t.ok(exchange.isBroken);
  });

  t.test(`${kind}: a head with what no field may have is refused where it is given`, async (t) => {
    const exchange = new RecordedExchange('/');
    const errors: unknown[] = [];
    new Ends(await makePair(t), exchange, (remote) => {
      for (const fields of [['X', 'a\r\nb'], ['X y', 'a'], ['X', '\u20ac'], ['X']]) {
        try {
          remote.begin(200, '', fields);
        } catch (error) {
          errors.push(error);
        }
      }
      remote.begin(204, '', []);
      remote.end();
      return {};
    });
    await exchange.whenOver;
    t.match(errors, Array(4).fill({ name: 'ProtocolError', status: 500 }));
    t.equal(exchange.status, 204);
  });

  t.test(`${kind}: the end of one side is told to the other`, async (t) => {
    const [master, worker] = await makePair(t);
    const closed: unknown[] = [];
    const messages: string[] = [];
    const whenClosed = new Promise<void>((resolve) => {
      master.onClose = (error) => {
        closed.push(error);
        resolve();
      };
    });
    master.onMessage = ({ type }) => messages.push(type);
    worker.send({ type: 'ready' });
    worker.send({ type: 'retire', reason: 'all' });
    worker.close();
    await whenClosed;
    t.same(messages, ['ready', 'retire']);
    t.same(closed, [null]);
    master.send({ type: 'ping' });
  });
}

t.test('a stream that ends within a message, or says what nobody may say', async (t) => {
  for (const [bytes, error] of [
    [Buffer.from([24, 0, 0]), /ended within a message/],
    [Buffer.from([99, 0, 0, 0, 0, 0, 0, 0, 0]), /a message of type 99; allowed are 16, /],
    [Buffer.from([18, 0, 0, 0, 0, 255, 0, 0, 0]), /"head" of 4278190080 bytes; allowed are/],
  ] as const) {
    const [here, there] = duplexPair();
    const link = processMasterLink(here);
    const whenClosed = new Promise<Error | null>((resolve) => {
      link.onClose = resolve;
    });
    there.resume();
    there.end(bytes);
    t.match(await whenClosed, error);
  }
});
