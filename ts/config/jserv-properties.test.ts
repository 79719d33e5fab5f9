// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { parseJservProperties, parseZoneProperties } from './jserv-properties.ts';

const file = '/etc/jserv/jserv.properties';
const parse = (text: string) => parseJservProperties(text, file);

t.test('what mod_jserv ran', async (t) => {
  const read = parse(`
# comment
wrapper.bin=/usr/bin/java
wrapper.bin.parameters=-Xms16m  -Xmx64m
wrapper.bin.parameters = -Dfile.encoding=UTF-8
wrapper.class.parameters=-V
wrapper.path=/bin:/usr/bin
wrapper.classpath=/opt/jserv.jar
wrapper.classpath=/opt/jsdk.jar:/opt/more.jar
wrapper.env=LANG=C
wrapper.env=EMPTY=
wrapper.env.copy=TZ, HOME
port=8010
bindaddress=*
security.secretKey=/etc/jserv/jserv.secret.key
security.challengeSize=16
security.allowedAddresses=127.0.0.1, \\
  10.0.0.7
zones=root,shop
shop.properties=/etc/shop.properties
usher.model=forking
root.properties=/etc/jserv/root.properties
`);
  t.same(read, {
    command: [
      ...['/usr/bin/java', '-Xms16m', '-Xmx64m', '-Dfile.encoding=UTF-8'],
      ...['org.apache.jserv.JServ', file, '-V'],
    ],
    env: [
      'CLASSPATH=/opt/jserv.jar:/opt/jsdk.jar:/opt/more.jar',
      'PATH=/bin:/usr/bin',
      'LANG=C',
      'EMPTY=',
    ],
    copiedEnv: ['TZ', 'HOME'],
    copiesAllEnv: false,
    bindAddress: null,
    port: 8010,
    secretKeyFile: '/etc/jserv/jserv.secret.key',
    challengeSize: 16,
    maxConnections: 50,
    backlog: 5,
    allowedAddresses: ['127.0.0.1', '10.0.0.7'],
    zones: new Map([
      ['root', '/etc/jserv/root.properties'],
      ['shop', '/etc/shop.properties'],
    ]),
    usher: new Map([['model', 'forking']]),
  });
});

t.test('defaults', async (t) => {
  t.match(parse('security.authentication=false\r\nsecurity.allowedAddresses=DISABLED\r\n'), {
    command: ['java', 'org.apache.jserv.JServ', file],
    env: [],
    bindAddress: 'localhost',
    port: 8007,
    secretKeyFile: null,
    challengeSize: 5,
    allowedAddresses: null,
  });
  t.match(parse('security.secretKey=k\nwrapper.class=my.Engine\nport=\n'), {
    command: ['java', 'my.Engine', file],
    port: 8007,
    allowedAddresses: ['127.0.0.1'],
  });
});

t.test('what cannot be used is named', async (t) => {
  const off = 'security.authentication=false\n';
  const faults: [string, string][] = [
    [`${off}port=80o7`, `${file}:2: port=80o7: expected a number from 1 to 65535`],
    [`${off}port=0`, `${file}:2: port=0: expected a number from 1 to 65535`],
    [`${off}wrapper.env=LANG`, `${file}:2: wrapper.env=LANG: expected wrapper.env=NAME=VALUE`],
    [`${off}wrapper.env.copyall=yes`, `${file}:2: wrapper.env.copyall=yes: expected true or false`],
    [`${off}\nnonsense`, `${file}:3: "nonsense": expected NAME=VALUE`],
    [`${off}zones=a,\\`, `${file}:2: the last line goes on`],
    [
      'security.authentication=true',
      `${file}:1: security.secretKey=FILE is missing; security.authentication=false is without it`,
    ],
  ];
  for (const [text, message] of faults) t.throws(() => parse(text), { message }, message);
});

t.test('the file of a zone', async (t) => {
  const text = `
repositories=/srv/shop/servlets,./more
servlet.cart.code=cart.mjs
servlet.cart.initArgs=color=blue,size=7
servlet.pay.now.code=/opt/pay.js
servlets.default.initArgs=color=red
servlets.startup=cart
`;
  t.same(parseZoneProperties(text, 'shop.properties'), {
    repositories: ['/srv/shop/servlets', './more'],
    servlets: new Map([
      [
        'cart',
        {
          code: 'cart.mjs',
          initArgs: new Map([
            ['color', 'blue'],
            ['size', '7'],
          ]),
        },
      ],
      ['pay.now', { code: '/opt/pay.js', initArgs: new Map([['color', 'red']]) }],
    ]),
  });
  t.throws(
    () => parseZoneProperties('servlet.a.code=', 'z'),
    /^z:1: servlet.a.code: a program is missing/,
  );
  t.throws(() => parseZoneProperties('servlet.a.code=a\nservlet.a.initArgs=b', 'z'), {
    message: 'z:2: servlet.a.initArgs: "b": expected NAME=VALUE',
  });
});
