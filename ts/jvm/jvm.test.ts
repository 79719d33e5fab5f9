// SPDX-License-Identifier: Apache-2.0
// usher-jvm as mod_jserv would run it, with the web server's side of AJP 1.2.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import t, { type Test } from 'tap';
import { Ajp12ClientDecoder } from '../protocols/ajp12/client-decoder.ts';
import { encodeRequest, encodeSignal } from '../protocols/ajp12/client-encoder.ts';
import { bundle } from '../runtime/testing/bundle.ts';
import { freePort } from '../runtime/testing/free-port.ts';
import { eventually } from '../runtime/testing/program.ts';

const root = mkdtempSync(`${tmpdir()}/usher-jvm-`);
t.teardown(() => rmSync(root, { recursive: true, force: true }));
const jvm = await bundle(new URL('./testing/start.ts', import.meta.url), `${root}/jvm.mjs`);
const runtime = await bundle(
  new URL('../runtime/index.ts', import.meta.url),
  `${root}/runtime.mjs`,
);

const secret = Buffer.from('all of it\nevery line\n');
writeFileSync(`${root}/secret`, secret);

class Jvm {
  readonly port: number;
  readonly child: ChildProcess;
  #said = '';

  constructor(t: Test, port: number, words: string[], env: NodeJS.ProcessEnv = {}) {
    this.port = port;
    this.child = spawn(process.execPath, [jvm, ...words], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (text) => {
        this.#said += text;
      });
    }
    t.teardown(() => this.child.kill('SIGKILL'));
  }

  says(text: string): boolean {
    return this.#said.includes(text);
  }

  /** What it said, when it has ended. */
  async ended(): Promise<string> {
    await eventually('its end', () => this.child.exitCode !== null || this.child.signalCode);
    return this.#said;
  }

  /** By AJP 1.2; the answer's status and text. */
  async ask(more: { zone?: string; servlet?: string; uri?: string }): Promise<string> {
    return eventually('an answer', () => ask(this.port, more).catch(() => null));
  }
}

function ask(
  port: number,
  { zone = '', servlet = '', uri = '/' }: { zone?: string; servlet?: string; uri?: string },
): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: '127.0.0.1', port });
    let status = 0;
    let text = '';
    const decoder = new Ajp12ClientDecoder(
      {
        onChallenge: (answer) => {
          socket.write(answer);
          decoder.begin('GET');
          socket.write(request);
        },
        onHead: (given) => {
          status = given;
        },
        onBody: (bytes) => {
          text += bytes.toString('latin1');
        },
        onEnd: () => resolve(`${status} ${text}`),
        onPong: () => undefined,
      },
      secret,
    );
    const request = encodeRequest({
      ...{ method: 'GET', zone, servlet, engineHost: '', documentRoot: '', pathInfo: '' },
      ...{ pathTranslated: '', queryString: '', remoteAddr: '192.0.2.7', remoteHost: '' },
      ...{ remoteUser: '', authType: '', requestUri: uri, scriptFilename: '', scriptName: '' },
      ...{ serverName: 'shop', serverPort: 80, serverProtocol: 'HTTP/1.0', serverSignature: '' },
      ...{ serverSoftware: '', route: 'r1', environment: [], fields: [] },
    });
    const attempt = (call: () => void) => {
      try {
        call();
      } catch (error) {
        reject(error);
        socket.destroy();
      }
    };
    socket.on('data', (bytes) => attempt(() => decoder.push(bytes)));
    socket.on('end', () => attempt(() => decoder.end()));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error('closed')));
  });
}

function properties(port: number, more = ''): string {
  const file = `${root}/jserv-${port}.properties`;
  writeFileSync(file, `port=${port}\nsecurity.secretKey=${root}/secret\n${more}`);
  return file;
}

t.test('a program, options of a virtual machine, arguments', async (t) => {
  writeFileSync(
    `${root}/program.mjs`,
    `import { metadataOf, serve } from ${JSON.stringify(runtime)};
     await serve((req, res) => res.end(
       [req.url, metadataOf(req).route, process.env.tenant, process.argv.slice(2)].join(' ')));`,
  );
  const port = await freePort();
  const words = [
    '-Xmx64m',
    '-cp',
    '/nowhere',
    `-Dusher.program=${root}/program.mjs`,
    '-Dtenant=blue',
  ];
  const jvm = new Jvm(t, port, [...words, 'org.apache.jserv.JServ', properties(port), 'a', '-b']);
  t.equal(await jvm.ask({ uri: '/x' }), '200 /x r1 blue a,-b');
  jvm.child.kill('SIGTERM');
  t.equal(await jvm.ended(), '');
  t.equal(jvm.child.exitCode, 0);
});

t.test('servlets of zones; stop by a signal of AJP', async (t) => {
  mkdirSync(`${root}/servlets`, { recursive: true });
  writeFileSync(
    `${root}/servlets/hello.mjs`,
    `let greeting;
     export const init = ({ greeting: given }) => { greeting = given; };
     export default (req, res) => res.end(greeting + ' ' + process.pid);`,
  );
  const usher = `import { metadataOf } from ${JSON.stringify(runtime)};`; // not the engine's own copy
  writeFileSync(
    `${root}/servlets/web.mjs`,
    `${usher} export default (request) => new Response('fetched ' + metadataOf(request).servlet);`,
  );
  writeFileSync(
    `${root}/servlets/node.mjs`,
    `${usher} export default (req, res) => res.end('for ' + metadataOf(req).zone);`,
  );
  writeFileSync(
    `${root}/root.properties`,
    'repositories=./servlets\nservlet.hello.code=hello\nservlet.hello.initArgs=greeting=Hi\n' +
      'servlet.web.code=web.mjs\nservlet.node.code=node.mjs\n',
  );
  const port = await freePort();
  const file = properties(
    port,
    `zones=root\nroot.properties=${root}/root.properties\nusher.model=process-pool\nusher.processes=2\n`,
  );
  const jvm = new Jvm(t, port, ['org.apache.jserv.JServ', file]);
  t.match(await jvm.ask({ zone: 'root', servlet: 'hello' }), /^200 Hi \d+$/);
  t.notMatch(await jvm.ask({ zone: 'root', servlet: 'hello' }), ` ${jvm.child.pid}`, 'a worker');
  t.equal(await jvm.ask({ uri: '/servlets/web' }), '200 fetched web', 'as mod_jk asks');
  t.equal(await jvm.ask({ zone: 'root', servlet: 'node' }), '200 for root');
  t.match(await jvm.ask({ zone: 'root', servlet: 'nobody' }), /^404 /);

  const stranger = net.connect({ host: '127.0.0.1', port });
  await new Promise((resolve) => stranger.once('data', resolve));
  stranger.end(Buffer.concat([Buffer.alloc(16), encodeSignal('shutdown')]));
  await new Promise((resolve) => stranger.once('close', resolve));
  t.match(await jvm.ask({ zone: 'root', servlet: 'hello' }), /^200 Hi/, 'strangers are not obeyed');

  const { 2: pid } = (await jvm.ask({ zone: 'root', servlet: 'hello' })).split(' ');
  const restart = new Jvm(t, port, ['org.apache.jserv.JServ', file, '-r']);
  t.equal(await restart.ended(), '');
  await eventually('new workers', async () => {
    return (
      (await jvm.ask({ zone: 'root', servlet: 'hello' })) !== `200 Hi ${pid}` && jvm.says('new')
    );
  });

  const stop = new Jvm(t, port, ['org.apache.jserv.JServ', file, '-s']);
  t.equal(await stop.ended(), '');
  t.match(
    await jvm.ended(),
    /a web server asks for a restart \(AJP 1.2\): all workers are new\n.*a web server asks for a shutdown/,
  );
  t.equal(jvm.child.exitCode, 0);
});

t.test('one file for several engines of a class: Usher says where each listens', async (t) => {
  const file = properties(await freePort());
  writeFileSync(
    `${root}/several.mjs`,
    `import { serve } from ${JSON.stringify(runtime)};
     await serve((req, res) => res.end(process.env.USHER_ROUTE));`,
  );
  const words = [`${root}/several.mjs`, file];
  const start = async (route: string) => {
    const port = await freePort();
    const address = { USHER_HOST: '127.0.0.1', USHER_PORT: `${port}` };
    const env = { USHER_ADDRESS: `127.0.0.1:${port}`, ...address, USHER_ROUTE: route };
    return { engine: new Jvm(t, port, words, env), env };
  };
  const [a, b] = await Promise.all([start('a'), start('b')]);
  t.equal(await a.engine.ask({}), '200 a');
  t.equal(await b.engine.ask({}), '200 b');
  const stop = new Jvm(t, 0, [...words, '-s'], a.env);
  t.equal(await stop.ended(), '');
  t.match(await a.engine.ended(), /a web server asks for a shutdown/);
  t.equal(await b.engine.ask({}), '200 b');
});

t.test('mistakes', async (t) => {
  const of = async (words: string[]) => {
    const jvm = new Jvm(t, 0, words);
    const said = await jvm.ended();
    t.equal(jvm.child.exitCode, 1);
    return said;
  };
  t.match(
    await of(['-foo']),
    /-foo: no option of a virtual machine that is known\nusage: usher-jvm/,
  );
  t.match(
    await of(['JServ', properties(8007)]),
    /nothing to run: neither a program .* nor servlets/,
  );
  t.match(
    await of(['JServ', properties(8007, 'usher.modell=x')]),
    /usher.modell is unknown; known are/,
  );
  t.match(
    await of(['JServ', properties(8007, 'zones=a\n')]),
    /zone a: a.properties=FILE is missing/,
  );
  writeFileSync(`${root}/bad.properties`, 'repositories=/srv\nservlet.x.code=y\n');
  const bad = `zones=a\na.properties=${root}/bad.properties\n`;
  t.match(
    await of(['JServ', properties(8007, bad)]),
    /zone a, servlet x .*: no module y; looked for: \/srv\/y/,
  );
  t.match(
    await of(['/nowhere/x.mjs', properties(8007)]),
    /the program \/nowhere\/x.mjs does not exist/,
  );
});
