// SPDX-License-Identifier: Apache-2.0
// Against a client that others have written. It has no types, and pads records in its own way.
import { EventEmitter } from 'node:events';
import { createRequire } from 'node:module';
import t from 'tap';
import {
  endRecords,
  getValuesResult,
  stderrRecords,
  stdoutRecords,
  unknownType,
} from './encoder.ts';
import { protocolStatus } from './records.ts';
import { Told } from './testing/told.ts';

type Write = (id: number, record: object) => void;
interface Package {
  FastCGIStream: new (stream: EventEmitter) => EventEmitter & { writeRecord: Write };
  records: Record<string, new (...args: unknown[]) => object>;
}
const { FastCGIStream, records }: Package = createRequire(import.meta.url)('fastcgi-stream');

function client() {
  const sent: Buffer[] = [];
  const stream = Object.assign(new EventEmitter(), { write: (bytes: Buffer) => sent.push(bytes) });
  const client = new FastCGIStream(stream);
  const received: object[] = [];
  client.on('record', (id: number, record: object) => {
    const { data, appStatus, protocolStatus, values, type } = record as Record<string, unknown>;
    const content = { data: data && String(data), appStatus, protocolStatus, values, type };
    received.push({ id, ...JSON.parse(JSON.stringify(content)) });
  });
  const write = (id: number, name: string, ...args: unknown[]) => {
    client.writeRecord(id, new records[name]!(...args));
  };
  return { sent, write, receive: (bytes: Buffer) => stream.emit('data', bytes), received };
}

t.test('what it asks', async (t) => {
  const { sent, write } = client();
  const long = 'x'.repeat(300);
  write(1, 'BeginRequest', 1, 1);
  write(1, 'Params', [
    ['REQUEST_METHOD', 'POST'],
    ['LONG', long],
    [long, 'v'],
  ]);
  write(1, 'Params');
  write(1, 'StdIn', 'abc');
  write(1, 'StdIn', Buffer.from('defghij'));
  write(1, 'StdIn');
  write(0, 'GetValues', [['FCGI_MPXS_CONNS', 'x']]);
  write(1, 'AbortRequest');
  t.strictSame(new Told().push(...sent).lines, [
    `request 1 responder kept REQUEST_METHOD=POST&LONG=${long}&${long}=v`,
    'body 1 abcdefghij',
    'body end 1',
    `reply ${getValuesResult([['FCGI_MPXS_CONNS', '0']]).toString('hex')}`,
    'abort 1',
  ]);
});

t.test('what it reads', async (t) => {
  const { receive, received } = client();
  const output = 'o'.repeat(70000);
  for (const bytes of stdoutRecords(300, Buffer.from(output))) receive(bytes);
  for (const bytes of stderrRecords(300, 'why')) receive(bytes);
  receive(endRecords(300, 77, protocolStatus.overloaded));
  receive(getValuesResult([['FCGI_MAX_CONNS', '12']]));
  receive(unknownType(99));
  t.strictSame(received, [
    { id: 300, data: output.slice(0, 65535) },
    { id: 300, data: output.slice(65535) },
    { id: 300, data: 'why' },
    { id: 300, data: '' },
    { id: 300, appStatus: 77, protocolStatus: 2 },
    { id: 0, values: [['FCGI_MAX_CONNS', '12']] },
    { id: 0, type: 99 },
  ]);
});
