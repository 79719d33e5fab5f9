// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { bodyModeOf, bodyModeOfParams } from './body-mode.ts';
import type { Field } from './types.ts';

t.test('from header fields', async (t) => {
  const mode = (...fields: Field[]) => bodyModeOf(fields);
  t.same(mode(['host', 'a']), { kind: 'none' });
  t.same(mode(['Content-Length', '0']), { kind: 'none' });
  t.same(mode(['content-length', '10']), { kind: 'length', bytes: 10 });
  t.same(mode(['Content-Length', '10'], ['content-length', '10']), { kind: 'length', bytes: 10 });
  t.same(mode(['Transfer-Encoding', 'Chunked']), { kind: 'chunked' });
  const refused = (status: number, ...fields: Field[]) =>
    t.throws(() => mode(...fields), { name: 'ProtocolError', status }, JSON.stringify(fields));
  for (const length of ['', ' 1', '1 ', '+1', '-1', '1,1', '0x1', '1e3', '1.0', '१']) {
    refused(400, ['Content-Length', length]);
  }
  refused(400, ['Content-Length', '1'], ['Content-Length', '2']);
  refused(400, ['Content-Length', '1'], ['Content-Length', '01']);
  refused(413, ['Content-Length', '9007199254740993']);
  refused(413, ['Content-Length', '9'.repeat(400)]);
  refused(400, ['Content-Length', '0'], ['Transfer-Encoding', 'chunked']);
  refused(400, ['Transfer-Encoding', 'chunked'], ['Transfer-Encoding', 'chunked']);
  for (const coding of [
    '',
    'gzip',
    'gzip, chunked',
    'chunked, chunked',
    ' chunked',
    'chunked;a=b',
  ]) {
    refused(501, ['Transfer-Encoding', coding]);
  }
});

t.test('from parameters', async (t) => {
  const mode = (params: Record<string, string>) =>
    bodyModeOfParams(new Map(Object.entries(params)));
  t.same(mode({}), { kind: 'none' });
  t.same(mode({ CONTENT_LENGTH: '', HTTP_TRANSFER_ENCODING: '' }), { kind: 'none' });
  t.same(mode({ CONTENT_LENGTH: '3', HTTP_CONTENT_LENGTH: '3' }), { kind: 'length', bytes: 3 });
  t.same(mode({ HTTP_CONTENT_LENGTH: '3' }), { kind: 'length', bytes: 3 });
  t.same(mode({ CONTENT_LENGTH: '', HTTP_TRANSFER_ENCODING: 'chunked' }), { kind: 'chunked' });
  const buffered = { CONTENT_LENGTH: '3', HTTP_TRANSFER_ENCODING: 'chunked' };
  t.same(mode(buffered), { kind: 'length', bytes: 3 }, 'nginx has read a chunked body');
  t.same(mode({ ...buffered, CONTENT_LENGTH: '0' }), { kind: 'none' });
  const refused = (status: number, params: Record<string, string>) =>
    t.throws(() => mode(params), { name: 'ProtocolError', status }, JSON.stringify(params));
  refused(400, { CONTENT_LENGTH: '3', HTTP_CONTENT_LENGTH: '4' });
  refused(400, { ...buffered, HTTP_CONTENT_LENGTH: '3' });
  refused(400, { CONTENT_LENGTH: '3x' });
  refused(501, { CONTENT_LENGTH: '3', HTTP_TRANSFER_ENCODING: 'gzip' });
  refused(501, { HTTP_TRANSFER_ENCODING: 'gzip, chunked' });
});
