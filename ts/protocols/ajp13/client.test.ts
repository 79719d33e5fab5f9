// SPDX-License-Identifier: Apache-2.0
// The web server's side, against bytes written by hand.
import t from 'tap';
import {
  BODY_END,
  bodyBytesMax,
  CPING,
  encodeBody,
  encodeForwardRequest,
} from './client-encoder.ts';
import { ClientLog, hex, packet, request } from './testing/peers.ts';

t.test('a request as mod_jk sends it', async (t) => {
  const bytes = encodeForwardRequest(
    request({
      fields: [
        ['host', 'a'],
        ['X-A', 'b'],
        ['Content-Length', '0'],
      ],
      attributes: { queryString: 'q=1', secret: 's', others: [['AJP_REMOTE_PORT', '4711']] },
    }),
  );
  t.equal(
    bytes.toString('hex'),
    packet(
      '1234',
      '02 02',
      ['0008', 'HTTP/1.1', '00 0005', '/a%20', '00 0009', '127.0.0.1', '00 ffff'],
      ['0001', 'a', '00 0050 00 0003'],
      ['a00b 0001', 'a', '00  0003', 'X-A', '00 0001', 'b', '00  a008 0001', '0', '00'],
      ['0c 0001', 's', '00 05 0003', 'q=1', '00'],
      ['0a 000f', 'AJP_REMOTE_PORT', '00 0004', '4711', '00 ff'],
    ).toString('hex'),
  );
});

t.test('all attributes, in the order of mod_jk', async (t) => {
  const bytes = encodeForwardRequest(
    request({
      method: 'PATCH',
      isSsl: true,
      remoteHost: 'h',
      attributes: {
        others: [['N', 'v\nw']],
        sslKeySize: 256,
        sslSession: 'id',
        sslCipher: 'c',
        sslCert: 'PEM\n',
        route: 'r',
        queryString: '',
        authType: 'Basic',
        remoteUser: 'u',
        servletPath: '/s',
        context: '/c',
        secret: 'geheim',
      },
    }),
  );
  t.equal(
    bytes.toString('hex'),
    packet(
      '1234',
      '02 ff',
      ['0008', 'HTTP/1.1', '00 0005', '/a%20', '00 0009', '127.0.0.1', '00 0001', 'h', '00'],
      ['0001', 'a', '00 0050 01 0000'],
      ['0c 0006', 'geheim', '00 01 0002', '/c', '00 02 0002', '/s', '00'],
      ['03 0001', 'u', '00 04 0005', 'Basic', '00 05 0000 00 06 0001', 'r', '00'],
      ['07 0004', 'PEM\n', '00 08 0001', 'c', '00 09 0002', 'id', '00 0b 0100'],
      ['0d 0005', 'PATCH', '00 0a 0001', 'N', '00 0003', 'v\nw', '00 ff'],
    ).toString('hex'),
  );
});

t.test('what may not be sent, or does not fit', async (t) => {
  const refused = (changes: Parameters<typeof request>[0], status: number, message: RegExp) =>
    t.throws(() => encodeForwardRequest(request(changes)), {
      name: 'ProtocolError',
      status,
      message,
    });
  refused({ fields: [['a', 'b\r\nc: d']] }, 400, /a holds byte 0d at 1/);
  refused({ fields: [['a', 'b\0']] }, 400, /byte 00/);
  refused({ fields: [['a', 'b\x7f']] }, 400, /byte 7f/);
  refused({ fields: [['a', 'Ċ']] }, 400, /byte 10a/);
  refused({ fields: [['a b', 'c']] }, 400, /a header name holds byte 20 at 1/);
  refused({ fields: [['', 'c']] }, 400, /empty/);
  refused({ method: 'GET /' }, 400, /method holds byte 20/);
  refused({ method: '' }, 400, /method is empty/);
  refused({ uri: '/a\nb' }, 400, /uri holds byte 0a/);
  refused({ attributes: { queryString: 'a\0b' } }, 400, /query string/);
  refused({ attributes: { others: [['a\nb', 'c']] } }, 400, /attribute name/);
  refused({ attributes: { sslKeySize: 1.5 } }, 400, /key size 1.5/);
  refused({ serverPort: 65536 }, 400, /server port 65536 is not within 0 to 65535/);
  refused({ fields: [['a', 'x'.repeat(8192)]] }, 431, /does not fit a packet of 8192 bytes/);
  refused({ fields: [['a', 'x'.repeat(70000)]] }, 431, /does not fit/);
  refused({ fields: [['x'.repeat(41000), '']] }, 431, /does not fit/);
  refused({ fields: Array.from({ length: 4000 }, () => ['a', ''] as const) }, 431, /does not fit/);
  const large = request({ fields: [['a', 'x'.repeat(65000)]] });
  t.equal(encodeForwardRequest(large, 65536).readUInt16BE(2), 65000 + 52);
  t.throws(() => encodeForwardRequest(large, 4096), /8192 to 65536/);
  const full = 8192 - encodeForwardRequest(request({ fields: [['a', '']] })).length;
  t.equal(encodeForwardRequest(request({ fields: [['a', 'x'.repeat(full)]] })).length, 8192);
  refused({ fields: [['a', 'x'.repeat(full + 1)]] }, 431, /does not fit/);
});

t.test('data packets, their end and CPING', async (t) => {
  t.equal(bodyBytesMax(8192), 8186);
  t.same(Buffer.concat(encodeBody(Buffer.from('abc'))), hex('1234 0005 0003', ['', 'abc']));
  t.same(encodeBody(Buffer.alloc(0)), [BODY_END]);
  t.same(BODY_END, hex('1234 0002 0000'));
  t.same(CPING, hex('1234 0001 0a'));
  t.equal(Buffer.concat(encodeBody(Buffer.alloc(65530))).length, 65536);
  t.throws(() => encodeBody(Buffer.alloc(65531)), RangeError);
});

t.test('an answer as Tomcat sends it', async (t) => {
  const log = new ClientLog();
  log.decoder.begin();
  log.push(
    hex(
      ['4142 0020 04 00c8 0003', '200', '00 0002'],
      ['a001 000a', 'text/plain', '00 0001', 'X', '00 ffff'],
      ['4142 0007 03 0003', 'abc', '00 4142 0004 03 0000 00'],
      '4142 0003 06 1ffa 4142 0002 05 01',
    ),
  );
  t.same(log.events, [
    'head 200 200 Content-Type=text/plain X=',
    'body abc',
    'flush',
    'get 8186',
    'end true',
  ]);
  t.ok(log.decoder.isIdle);
});
