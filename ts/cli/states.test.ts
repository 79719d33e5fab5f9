// SPDX-License-Identifier: Apache-2.0
// Every command that talks to a manager, whatever state that is in: it ends, says on standard error what is
// the matter and what to do, on standard output in JSON where that was asked for, and by its exit code.
// The commands are those that the command line has.
import { chmodSync, writeFileSync } from 'node:fs';
import { createServer as createHttpServer } from 'node:http';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { controlSocketName } from '../control/client.ts';
import { apiHeader, apiVersion, type Status, versionHeader } from '../control/messages.ts';
import type { ControlHandlers } from '../control/server.ts';
import { listenAsManager, makeRuntimeDir, sampleStatus } from '../control/testing/sample.ts';
import type { Context } from './context.ts';
import { makeProgram } from './program.ts';
import { contextFor, type Run, usher } from './testing/usher.ts';

/** What each command is called with. */
const withManager: Record<string, string[]> = {
  status: [],
  explain: ['hello'],
  top: ['--once', '-d', '0.1'],
  logs: ['hello'],
  restart: ['hello'],
  retry: ['hello'],
  scale: ['hello', '2'],
  backend: ['hello', '127.0.0.1:9000', 'active'],
  request: ['hello', '/'],
  reload: [],
  'reopen-logs': [],
  stop: [],
  upgrade: [],
  dashboard: ['--listen', '127.0.0.1:0'],
};
const withoutManager = [
  ...['run', 'doctor', 'config', 'migrate', 'jserv', 'snapshot', 'install', 'uninstall'],
];

const isRoot = process.getuid?.() === 0;
const nobody = 65_534;
const capture = async () => ({ exitCode: 0, output: '4\n' });

interface State {
  /** Where its commands look. */
  begin(t: Test): Promise<string>;
  exitCode: number;
  code: string;
  /** What is the matter, and what to do. */
  says: RegExp[];
  /** Who asks. */
  as?: number;
}

async function listens(t: Test, server: Server, runtimeDir = makeRuntimeDir(t)): Promise<string> {
  const connections = new Set<Socket>();
  server.on('connection', (socket: Socket) => connections.add(socket));
  await new Promise<void>((resolve) =>
    server.listen(join(runtimeDir, controlSocketName), () => resolve()),
  );
  t.teardown(() => {
    for (const socket of connections) socket.destroy();
    server.close();
  });
  return runtimeDir;
}

async function manages(t: Test, handlers: Partial<ControlHandlers> = {}): Promise<string> {
  const runtimeDir = makeRuntimeDir(t);
  const server = await listenAsManager(runtimeDir, handlers);
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return runtimeDir;
}

/** Whoever it is, this is all that it says. */
function answering(status: number, headers: Record<string, string>, text: string): Server {
  return createHttpServer((_request, response) => {
    response.writeHead(status, headers).end(text);
  });
}

/** A manager of another version: it knows nothing that is asked of it. */
function ofVersion(version: string, api: number): Server {
  const headers = { [apiHeader]: String(api), [versionHeader]: version };
  const error = { code: 'not-found', message: 'there is no route /v1/that' };
  return answering(404, headers, JSON.stringify({ error }));
}

/** A socket file at which nobody listens any more. */
async function abandoned(t: Test): Promise<string> {
  const runtimeDir = makeRuntimeDir(t);
  const path = join(runtimeDir, controlSocketName);
  const child = await import('node:child_process');
  const program = `require('net').createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, 'SIGKILL'))`;
  await new Promise((resolve) => {
    child.spawn(process.execPath, ['-e', program], { stdio: 'ignore' }).once('exit', resolve);
  });
  return runtimeDir;
}

const nobodyThere = {
  exitCode: 3,
  code: 'no-manager',
  says: [/no manager: nothing listens on \/.*control\.sock/, /"usher run FILE".*--runtime-dir DIR/],
};

const states: Record<string, State> = {
  'no socket': { ...nobodyThere, begin: async (t) => makeRuntimeDir(t) },
  'a socket at which nobody listens': { ...nobodyThere, begin: abandoned },
  'no runtime directory': {
    ...nobodyThere,
    begin: async (t) => join(makeRuntimeDir(t), 'none'),
  },
  'a file in place of the directory': {
    ...nobodyThere,
    begin: async (t) => {
      const file = join(makeRuntimeDir(t), 'file');
      writeFileSync(file, '');
      return file;
    },
  },
  'a directory of another user': {
    exitCode: 1,
    code: 'forbidden',
    says: [/no permission to use \/.*, which belongs to user 0: be that user or root/],
    as: nobody,
    begin: async (t) => {
      const runtimeDir = await manages(t);
      chmodSync(runtimeDir, 0o700);
      return runtimeDir;
    },
  },
  'a socket of another user': {
    exitCode: 1,
    code: 'forbidden',
    says: [/no permission to use \/.*, which belongs to user 0: be that user or root/],
    as: nobody,
    begin: async (t) => {
      const runtimeDir = await manages(t);
      chmodSync(runtimeDir, 0o711);
      chmodSync(join(runtimeDir, controlSocketName), 0o600);
      return runtimeDir;
    },
  },
  'refused by the manager': {
    exitCode: 1,
    code: 'forbidden',
    says: [/you are user 7: only root and the owner of \/run\/usher may use this manager/],
    begin: async (t) => {
      const runtimeDir = makeRuntimeDir(t);
      const refusal = 'you are user 7: only root and the owner of /run/usher may use this manager';
      const server = await listenAsManager(runtimeDir, {}, { refusal: () => refusal });
      t.teardown(() => server.close());
      return runtimeDir;
    },
  },
  'accepts and says nothing': {
    exitCode: 1,
    code: 'timeout',
    says: [/no answer within 0\.2 s: the manager is busy or stopped/, /--answer-timeout SECONDS/],
    begin: (t) => listens(t, createServer()),
  },
  'ends before it answers': {
    exitCode: 1,
    code: 'broken',
    says: [/ended before it had answered.*try again/],
    begin: (t) =>
      listens(
        t,
        createServer((socket) => socket.once('data', () => socket.destroy())),
      ),
  },
  'an older manager': {
    exitCode: 1,
    code: 'version',
    says: [/the manager at \/.* is older \(version 0\.0\.9/, /usher upgrade/],
    begin: (t) => listens(t, ofVersion('0.0.9', apiVersion - 1)),
  },
  'a newer manager': {
    exitCode: 1,
    code: 'version',
    says: [
      /the manager at \/.* is newer \(version 9\.0\.0/,
      /the usher that was installed with it/,
    ],
    begin: (t) => listens(t, ofVersion('9.0.0', apiVersion + 1)),
  },
  'somebody else': {
    exitCode: 1,
    code: 'broken',
    says: [/did not answer as a manager does: an answer that is not JSON; usher doctor/],
    begin: (t) => listens(t, answering(200, {}, '<h1>It works!</h1>')),
  },
};

async function ask(name: string, runtimeDir: string, more: string[], as?: number): Promise<Run> {
  const words = [name, ...(withManager[name] ?? []), '--runtime-dir', runtimeDir, ...more];
  if (as !== undefined) process.seteuid?.(as);
  try {
    return await usher(words, { capture });
  } finally {
    if (as !== undefined) process.seteuid?.(0);
  }
}

t.test('every command is one of the two kinds', async (t) => {
  const program = await makeProgram(contextFor({ exitCode: -1, out: '', err: '' }));
  const names = program.commands.map((command) => command.name());
  t.same(names.sort(), [...Object.keys(withManager), ...withoutManager].sort());
  for (const command of program.commands) {
    const asks = command.options.some(({ long }) => long === '--answer-timeout');
    t.equal(asks, command.name() in withManager, command.name());
  }
});

for (const [state, { begin, exitCode, code, says, as }] of Object.entries(states)) {
  const skip = as !== undefined && !isRoot && 'only root can be another user';
  t.test(state, { skip }, async (t) => {
    const runtimeDir = await begin(t);
    const soon = code === 'timeout' ? ['--answer-timeout', '0.2'] : [];
    for (const name of Object.keys(withManager)) {
      const { exitCode: actual, out, err } = await ask(name, runtimeDir, soon, as);
      t.equal(actual, exitCode, `usher ${name}: exit code`);
      for (const what of says) t.match(err, what, `usher ${name}`);
      t.equal(out, '', `usher ${name} prints nothing else`);
      const json = await ask(name, runtimeDir, [...soon, '--json'], as);
      t.equal(json.exitCode, exitCode);
      const { error } = JSON.parse(json.out) as { error: { code: string; message: string } };
      t.equal(error.code, code, `usher ${name} --json`);
      t.ok(json.err.includes(error.message), 'and says the same to people');
    }
  });
}

t.test('a status of another schema', async (t) => {
  for (const [schema, advice] of [
    [0, /is older .*schema 0, .* usher upgrade/],
    [2, /is newer .*schema 2, .* installed with it/],
  ] as const) {
    const status = (): Status => ({ ...sampleStatus(), schema: schema as unknown as 1 });
    const runtimeDir = await manages(t, { status });
    for (const name of ['status', 'top', 'reload']) {
      t.match(await ask(name, runtimeDir, []), { exitCode: 1, out: '', err: advice });
    }
  }
});

t.test('fields that a newer manager has added', async (t) => {
  const { classes, ...rest } = sampleStatus();
  const status = (): Status => {
    const more = { novelty: { at: 1 }, classes: classes.map((one) => ({ ...one, novelty: [] })) };
    return { ...rest, ...more };
  };
  const runtimeDir = await manages(t, { status });
  const plain = await ask('status', await manages(t), []);
  t.same(await ask('status', runtimeDir, []), plain);
});

t.test('several managers on one host', async (t) => {
  const [one, other] = [await manages(t), await manages(t)];
  const managers: Context['managers'] = () =>
    [one, other].map((runtimeDir) => ({ runtimeDir, pid: 1, uid: 0 }));
  for (const [name, words] of Object.entries(withManager).filter(([name]) => name !== 'status')) {
    const { exitCode, out, err } = await usher([name, ...words], { capture, managers });
    t.match({ exitCode, out }, { exitCode: 2, out: '' }, `usher ${name}`);
    t.match(err, `say which one is meant:\n  --runtime-dir ${one}\n  --runtime-dir ${other}`);
    const json = await usher([name, ...words, '--json'], { capture, managers });
    t.match(JSON.parse(json.out), { error: { code: 'usage', message: /2 managers run here/ } });
  }
  const list = await usher(['status'], { managers });
  t.match(list, { exitCode: 0, out: `  ${one}  pid 99` });
  t.match(await usher(['restart', 'hello', '--runtime-dir', other], { managers }), { exitCode: 0 });
});

t.test('a wrong command line', async (t) => {
  t.match(await usher(['stauts']), {
    exitCode: 2,
    err: /^usher: unknown command 'stauts'\n\(Did you mean status\?\)\nusher: --help/,
  });
  const json = await usher(['scale', 'hello', '2', '--by', '1', '--json']);
  t.match(json, { exitCode: 2, err: /^usher: unknown option '--by'/ });
  t.match(JSON.parse(json.out), { error: { code: 'usage', message: "unknown option '--by'" } });
});
