// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { JvmUsageError, parseJvmCommand } from './command-line.ts';

const parsed = (line: string) => parseJvmCommand(line.split(' '));

t.test('as mod_jserv starts it', async (t) => {
  t.same(parsed('-classpath /a:/b.jar org.apache.jserv.JServ /etc/jserv.properties'), {
    properties: new Map(),
    classPath: '/a:/b.jar',
    mainClass: 'org.apache.jserv.JServ',
    propertiesFile: '/etc/jserv.properties',
    action: 'run',
    rest: [],
  });
});

t.test('options of virtual machines', async (t) => {
  const line =
    '-server -Xms64m -Xmx512m -XX:+UseSerialGC -mx64m -ea:x -Dusher.program=/a=b.mjs -Dempty -cp /c' +
    ' --add-opens java.base/java.lang=ALL-UNNAMED --add-exports=a/b=c -verbose:gc Main p.properties x -y';
  t.match(parsed(line), {
    properties: new Map([
      ['usher.program', '/a=b.mjs'],
      ['empty', ''],
    ]),
    classPath: '/c',
    mainClass: 'Main',
    propertiesFile: 'p.properties',
    action: 'run',
    rest: ['x', '-y'],
  });
});

t.test("JServ's own words", async (t) => {
  t.equal(parsed('C p -s').action, 'stop');
  t.equal(parsed('C p -r').action, 'restart');
  t.equal(parsed('C p -V').action, 'version');
  t.equal(parsed('-version').action, 'version');
});

t.test('mistakes, with the usage', async (t) => {
  const mistakes: [line: string, message: RegExp][] = [
    ['-foo C p', /-foo: no option of a virtual machine/],
    ['-cp', /-cp: a value is missing/],
    ['-D=x C p', /"-D=x": expected -Dname=value/],
    ['-Xmx1g', /a class is missing/],
    ['Main', /after the class Main the path of a jserv.properties is missing/],
  ];
  for (const [line, message] of mistakes) {
    t.throws(() => parsed(line), JvmUsageError, line);
    t.throws(() => parsed(line), { message }, line);
    t.throws(() => parsed(line), { message: /^usage: usher-jvm/m }, line);
  }
});
