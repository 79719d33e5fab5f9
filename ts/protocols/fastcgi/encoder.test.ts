// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import {
  ANSWER_RECORDS_BYTES,
  answerInOne,
  answerRecords,
  endRecords,
  endWithoutOutput,
  getValuesResult,
  OUTPUT_RECORDS_BYTES,
  outputInto,
  stderrRecords,
  stdoutHeader,
  stdoutRecords,
  unknownType,
} from './encoder.ts';
import { protocolStatus } from './records.ts';

const hex = (records: Buffer | Buffer[]) =>
  Buffer.concat(Array.isArray(records) ? records : [records]).toString('hex');

t.test('output', async (t) => {
  t.equal(hex(stdoutHeader(1, 5)), '0106000100050000');
  t.equal(hex(stdoutHeader(65535, 65535)), '0106ffffffff0000');
  t.equal(hex(stdoutRecords(258, Buffer.from('abc'))), `0106010200030000${'616263'}`);
  t.strictSame(stdoutRecords(1, Buffer.alloc(0)), [], 'an empty record would end it');
});

t.test('output longer than a record', async (t) => {
  const bytes = Buffer.alloc(2 * 65535 + 1, 'abcdefg');
  const records = stdoutRecords(3, bytes);
  t.strictSame(
    records.map((part) => (part.length === 8 ? part.toString('hex') : part.length)),
    ['01060003ffff0000', 65535, '01060003ffff0000', 65535, '0106000300010000', 1],
  );
  t.ok(Buffer.concat(records.filter((_, index) => index % 2 === 1)).equals(bytes));
  t.equal(records[1]!.buffer, bytes.buffer, 'the bytes are views');
  t.equal(stdoutRecords(3, bytes.subarray(0, 65535)).length, 2);
});

t.test('the error stream', async (t) => {
  t.equal(hex(stderrRecords(1, 'ä\n')), '0107000100030000c3a40a', 'a string is UTF-8');
  t.equal(hex(stderrRecords(1, Buffer.of(0xe4))), '0107000100010000e4');
  t.strictSame(stderrRecords(1, ''), []);
});

t.test('ends', async (t) => {
  t.equal(hex(endRecords(1)), '0106000100000000' + '0103000100080000' + '0000000000000000');
  t.equal(
    hex(endRecords(2, 0xfffffffe, protocolStatus.overloaded)),
    '0106000200000000' + '0103000200080000' + 'fffffffe02000000',
  );
  t.equal(
    hex(endWithoutOutput(1, protocolStatus.unknownRole)),
    '0103000100080000' + '0000000003000000',
  );
  t.equal(
    hex(answerRecords(1, Buffer.from('ok'))),
    '0106000100020000' + '6f6b' + '0106000100000000' + '0103000100080000' + '0000000000000000',
  );
});

t.test('an answer of head and body', async (t) => {
  const whole = (output: string) => answerRecords(5, Buffer.from(output, 'latin1'));
  const utf8 = Buffer.from('ä €').toString('latin1');
  t.ok(answerInOne(5, 'h\xe4', Buffer.from('body')).equals(whole('h\xe4body')));
  t.ok(answerInOne(5, 'h\xe4', 'body').equals(whole('h\xe4body')));
  t.ok(answerInOne(5, 'h', 'ä €').equals(whole(`h${utf8}`)), 'a text goes as UTF-8');
  t.ok(answerInOne(5, 'head', null).equals(whole('head')));

  const room = Buffer.alloc(ANSWER_RECORDS_BYTES + 5, '#');
  const bytes = answerInOne(5, 'h', 'body', room);
  t.ok(bytes.equals(whole('hbody')));
  t.equal(bytes.buffer, room.buffer, 'in the room that was given');
  t.not(
    answerInOne(5, 'h', 'bodies', room).buffer,
    room.buffer,
    'or in its own, if that is too small',
  );
});

t.test('output that is gathered', async (t) => {
  const room = Buffer.alloc(2 * 65535 + OUTPUT_RECORDS_BYTES, '#');
  const gathered = (head: string, pieces: string[], isLast: boolean): Buffer => {
    const bytes = pieces.map((piece) => Buffer.from(piece));
    const length = pieces.join('').length;
    return room.subarray(0, outputInto(room, 7, head, bytes, length, isLast));
  };
  const records = (...outputs: string[]): Buffer =>
    Buffer.concat(outputs.flatMap((output) => stdoutRecords(7, Buffer.from(output, 'latin1'))));
  t.ok(gathered('h\xe4', ['ab', 'c'], false).equals(records('h\xe4abc')));
  t.ok(gathered('', ['ab'], false).equals(records('ab')));
  t.ok(gathered('head', [], false).equals(records('head')));
  t.ok(gathered('h', ['ab'], true).equals(answerRecords(7, Buffer.from('hab'))));
  t.equal(hex(gathered('', [], true)), hex(endRecords(7)));
  const long = 'x'.repeat(65535);
  t.ok(gathered('', [long], false).equals(records(long)));
  t.ok(
    gathered('head', [long], true).equals(Buffer.concat([records('head', long), endRecords(7)])),
  );
  t.ok(gathered(long, [long], true).length === room.length, 'what it takes at most');
});

t.test('management', async (t) => {
  t.equal(hex(getValuesResult([['A', '1']])), '010a000000040000' + '01014131');
  const long = hex(getValuesResult([['A', 'x'.repeat(128)]]));
  t.equal(long, `010a000000860000${'0180000080'}41${'78'.repeat(128)}`);
  t.equal(hex(unknownType(200)), '010b000000080000' + 'c800000000000000');
});
