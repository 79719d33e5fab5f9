// SPDX-License-Identifier: Apache-2.0
// Programs asked by a client that others have written: the package fastcgi-stream. It has no types, and its
// records have at most 65535 bytes; names and values are not to be split over two.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { crc32 } from 'node:zlib';
import t, { type Test } from 'tap';
import type { ServeOptions } from './options.ts';
import { bundle } from './testing/bundle.ts';
import { connect } from './testing/clients.ts';
import { Program, patienceMs } from './testing/program.ts';

interface Received {
  data?: Buffer;
  protocolStatus?: number;
  values?: [string, string][];
}
interface Stream {
  on(event: 'record', listener: (id: number, record: Received) => void): void;
  writeRecord(id: number, record: object): void;
}
type RecordType = (new (...content: unknown[]) => object) & { TYPE: number };
interface Package {
  FastCGIStream: new (socket: Socket) => Stream;
  records: Record<
    | 'AbortRequest'
    | 'BeginRequest'
    | 'EndRequest'
    | 'GetValues'
    | 'GetValuesResult'
    | 'Params'
    | 'StdErr'
    | 'StdIn'
    | 'StdOut',
    RecordType
  >;
}
const { FastCGIStream, records }: Package = createRequire(import.meta.url)('fastcgi-stream');

const roles = { responder: 1, authorizer: 2 };
const KEEP_CONN = 1;
const PIECE_BYTES = 30_000;

interface Question {
  url: string;
  role?: keyof typeof roles;
  params?: [string, string][];
  body?: Buffer;
  closes?: boolean;
}

interface Answer {
  head: string;
  body: Buffer;
  errors: string;
  protocolStatus: number;
}

/** One connection. */
class Client {
  readonly socket: Socket;
  readonly #stream: Stream;
  #listener: (id: number, record: Received) => void = () => undefined;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.#stream = new FastCGIStream(socket);
    this.#stream.on('record', (id, record) => this.#listener(id, record));
  }

  static async connect(t: Test, program: Program): Promise<Client> {
    const socket = await connect(program.address);
    t.teardown(() => socket.destroy());
    return new Client(socket);
  }

  begin(id: number, question: Question): void {
    const { url, role = 'responder', params = [], body, closes = false } = question;
    this.write(id, 'BeginRequest', roles[role], closes ? 0 : KEEP_CONN);
    this.write(id, 'Params', [
      ['REQUEST_METHOD', body === undefined ? 'GET' : 'POST'],
      ['REQUEST_URI', url],
      ['QUERY_STRING', url.split('?')[1] ?? ''],
      ['SERVER_PROTOCOL', 'HTTP/1.1'],
      ['REMOTE_ADDR', '192.0.2.7'],
      ...(body === undefined ? [] : [['CONTENT_LENGTH', `${body.length}`]]),
      ...params,
    ]);
    this.write(id, 'Params');
  }

  /** Sends a request, and gathers what comes for it. */
  ask(id: number, question: Question): Promise<Answer> {
    const answer = this.answer(id);
    this.begin(id, question);
    const { body = Buffer.alloc(0) } = question;
    for (let at = 0; at < body.length; at += PIECE_BYTES) {
      this.write(id, 'StdIn', body.subarray(at, at + PIECE_BYTES));
    }
    this.write(id, 'StdIn');
    return answer;
  }

  answer(expected: number): Promise<Answer> {
    const output: Buffer[] = [];
    const errors: Buffer[] = [];
    return this.#receive('the end of a request', (id, record) => {
      if (id !== expected) return null;
      if (record instanceof records.StdOut && record.data) output.push(Buffer.from(record.data));
      if (record instanceof records.StdErr && record.data) errors.push(Buffer.from(record.data));
      if (!(record instanceof records.EndRequest)) return null;
      const whole = Buffer.concat(output);
      const end = whole.indexOf('\r\n\r\n');
      return {
        head: whole.subarray(0, end + 2).toString('latin1'),
        body: whole.subarray(end + 4),
        errors: Buffer.concat(errors).toString(),
        protocolStatus: (record as Received).protocolStatus ?? -1,
      };
    });
  }

  values(...names: string[]): Promise<[string, string][]> {
    const answer = this.#receive('values', (_, record) =>
      record instanceof records.GetValuesResult ? ((record as Received).values ?? []) : null,
    );
    // An empty value is nothing that the package can write.
    this.write(
      0,
      'GetValues',
      names.map((name) => [name, '?']),
    );
    return answer;
  }

  write(id: number, type: keyof Package['records'], ...content: unknown[]): void {
    this.#stream.writeRecord(id, new records[type](...content));
  }

  #receive<T>(what: string, read: (id: number, record: Received) => T | null): Promise<T> {
    return new Promise((resolve, reject) => {
      const late = setTimeout(
        () => reject(new Error(`not within ${patienceMs} ms: ${what}`)),
        patienceMs,
      );
      const onClose = () => end(() => reject(new Error(`the connection ended before ${what}`)));
      const end = (settle: () => void): void => {
        clearTimeout(late);
        this.socket.off('close', onClose);
        settle();
      };
      this.socket.on('close', onClose);
      this.#listener = (id, record) => {
        const result = read(id, record);
        if (result !== null) end(() => resolve(result));
      };
    });
  }
}

const root = mkdtempSync(`${tmpdir()}/usher-stream-`);
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const file = await bundle(
  new URL('./testing/behaving.ts', import.meta.url),
  `${root}/behaving.mjs`,
);

const models: ServeOptions[] = [
  { model: 'concurrent' },
  { model: 'sequential' },
  { model: 'process-pool', processes: 2 },
  { model: 'thread-pool', threads: 2 },
  { model: 'forking', processes: 2 },
];

for (const options of models) {
  t.test(`${options.model}`, async (t) => {
    const program = await Program.start(file, `${root}/${options.model}`, 'fastcgi', options);
    t.teardown(() => program.kill());
    await asked(t, program);
    program.signal('SIGTERM');
    t.equal(await program.ended(), 0);
  });
}

async function asked(t: Test, program: Program): Promise<void> {
  await t.test('requests over one connection, with bodies', async (t) => {
    const client = await Client.connect(t, program);
    for (const [i, bytes] of [0, 1, 30_000, 300_000].entries()) {
      const body = Buffer.alloc(bytes, 'body');
      const {
        head,
        body: said,
        protocolStatus,
      } = await client.ask(i + 1, {
        url: `/echo?n=${i}`,
        body,
        params: [
          ['HTTP_X_SOME', 'field'],
          ['REMOTE_USER', 'anna'],
        ],
      });
      t.match(head, /^Status: 200 OK\r\n/);
      t.equal(protocolStatus, 0);
      t.match(JSON.parse(said.toString()), {
        ...{ method: 'POST', url: `/echo?n=${i}`, bytes, crc: crc32(body) },
        ...{ headers: { 'x-some': 'field' }, address: '192.0.2.7' },
        metadata: { protocol: 'fastcgi', role: 'responder', remoteUser: 'anna' },
      });
    }
    const large = await client.ask(300, { url: '/large?bytes=1000000' });
    t.ok(large.body.equals(Buffer.alloc(1_000_000, 'x')), 'a large answer');
    const unread = await client.ask(1, { url: '/unread', body: Buffer.alloc(100_000) });
    t.equal(unread.body.toString(), 'not read');
    t.match((await client.ask(1, { url: '/nothing' })).head, /^Status: 404 /);
    const failed = await client.ask(1, { url: '/throw' });
    t.match(failed.head, /^Status: 500 /);
    t.match(failed.errors, /thrown on purpose/);
    const closed = once(client.socket, 'close');
    t.match((await client.ask(1, { url: '/unread', closes: true })).head, /^Status: 200 /);
    await closed;
  });

  await t.test('an authorizer', async (t) => {
    const client = await Client.connect(t, program);
    const of = (params: [string, string][]) =>
      client.ask(1, { url: '/authorize', role: 'authorizer', params });
    const granted = await of([['REMOTE_USER', 'anna']]);
    t.match(granted.head, /^Status: 200 OK\r\n(.*\r\n)*Variable-ROLE: authorizer\r\n/);
    t.match(granted.head, /^Variable-GROUP: of anna\r\n/m);
    const denied = await of([]);
    t.match(denied.head, /^Status: 403 Forbidden\r\n(.*\r\n)*X-Why: no name\r\n/);
    t.equal(denied.body.toString(), 'who are you?');
  });

  await t.test('what connections can carry', async (t) => {
    const client = await Client.connect(t, program);
    t.same(await client.values('FCGI_MPXS_CONNS', 'FCGI_OTHER'), [['FCGI_MPXS_CONNS', '0']]);
    t.match(
      (await client.ask(7, { url: '/unread' })).head,
      /^Status: 200 /,
      'and a request after it',
    );
    const first = client.answer(1);
    client.begin(1, { url: '/hang' });
    client.write(1, 'StdIn');
    client.write(1, 'AbortRequest');
    t.equal((await first).protocolStatus, 0, 'one that is given up ends');
  });
}
