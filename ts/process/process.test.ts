// SPDX-License-Identifier: Apache-2.0
import t from 'tap';
import { Launcher, LauncherError, type LauncherEvents, type Welcome } from './launcher.ts';
import { decodeMessage, encodeMessage, listOf, MESSAGE_MAX_BYTES, textOf } from './message.ts';

t.test('messages', async (t) => {
  const packet = encodeMessage('start', { id: 7, arg: ['/bin/x', 'a=b', ''], cwd: undefined });
  t.equal(packet.toString(), 'start\0id=7\0arg=/bin/x\0arg=a=b\0arg=\0');
  const message = decodeMessage(packet);
  t.equal(message.verb, 'start');
  t.equal(textOf(message, 'id'), '7');
  t.same(listOf(message, 'arg'), ['/bin/x', 'a=b', ''], 'lists keep order and empty values');
  t.throws(() => encodeMessage('x', { a: 'b\0c' }), /a holds a NUL/);
  t.throws(() => encodeMessage('x', { a: 'b'.repeat(MESSAGE_MAX_BYTES) }), /at most 131072/);
  t.throws(() => decodeMessage(Buffer.from('hello\0id=1')), /does not end with NUL/);
  t.throws(() => decodeMessage(Buffer.from('\0')), /without a verb/);
  t.throws(() => decodeMessage(Buffer.from('hello\0=1\0')), /field without a name/);
});

interface Peer {
  sent: string[][];
  say(verb: string, fields: Record<string, string | number | string[]>, fds?: number[]): void;
  full: boolean;
}

async function connect(): Promise<{ launcher: Launcher; welcome: Welcome; peer: Peer }> {
  let receive: (packet: Buffer, fds: number[]) => void = () => undefined;
  const peer: Peer = {
    sent: [],
    full: false,
    say: (verb, fields, fds = []) => receive(encodeMessage(verb, fields), fds),
  };
  const connected = Launcher.connect(
    (onMessage) => {
      receive = onMessage;
      return {
        send: (packet: Buffer) => {
          if (!peer.full) peer.sent.push(packet.toString().split('\0').slice(0, -1));
          return !peer.full;
        },
        close: () => undefined,
      };
    },
    () => undefined,
  );
  peer.say('hello', { runtime_dir: '/run/x', mode: 'embedded', launcher_pid: 5, uid: 0 }, [9]);
  peer.say('endpoint', { id: 1, name: 'e1', tag: 'T', inode: 44, server: ['a', 'b'] });
  peer.say('endpoint', { id: 9, name: 'e9', tag: '', inode: 45, listen: 'unix:/x.sock' });
  const lives = { endpoint: 1, tag: 'T', started_ns: 5e6, state: 'ready' };
  peer.say('instance', { id: 2, pid: 66, ...lives });
  peer.say('instance', { id: 20, pid: 68, ...lives }, [10]);
  peer.say('instance', {
    id: 3,
    endpoint: 1,
    pid: 67,
    tag: '',
    started_ns: 0,
    state: 'exited',
    exit_signal: 9,
  });
  const engine = { service: 1, tag: 'S', started_ns: 0, state: 'ready' };
  peer.say('instance', { id: 19, pid: 69, ...engine });
  peer.say('welcome', { next_id: 21 });
  return { ...(await connected), peer };
}

const deaf: LauncherEvents = {
  onStarted: () => undefined,
  onReady: () => undefined,
  onOutput: () => undefined,
  onExited: () => undefined,
  onDropped: () => undefined,
  onLog: () => undefined,
  onTerminate: () => undefined,
  onLastLook: () => undefined,
  onSnapshot: () => undefined,
};

t.test('launcher', async (t) => {
  const { launcher, welcome, peer } = await connect();
  t.match(welcome, {
    runtimeDir: '/run/x',
    mode: 'embedded',
    config: null,
    controlFd: 9,
  });
  t.match(welcome.endpoints, [
    { id: 1, name: 'e1', inode: 44, listen: null, servers: ['a', 'b'] },
    { id: 9, listen: 'unix:/x.sock', servers: [] },
  ]);
  t.match(welcome.instances, [
    { id: 2, pid: 66, startedMs: 5, state: 'ready', exit: null, linkFd: null, isService: false },
    { id: 20, pid: 68, linkFd: 10 },
    { id: 3, linkFd: null, state: 'exited', exit: { exitSignal: 9, exitCode: null } },
    { id: 19, pid: 69, tag: 'S', state: 'ready', isService: true, endpointId: 0 },
  ]);

  peer.say('ready', { id: 2 });
  const events: unknown[] = [];
  launcher.subscribe({
    ...deaf,
    onStarted: (id, pid) => events.push(['started', id, pid]),
    onReady: (id) => events.push(['ready', id]),
    onExited: (id, exit) => events.push(['exited', id, exit]),
  });
  t.same(events, [['ready', 2]], 'an event that came early is not lost');

  const bound = launcher.bind(4, 'e4', 'T', 100, ['a']);
  peer.say('bound', { id: 4, inode: 77 });
  t.equal(await bound, 77);
  t.same(peer.sent.at(-1), ['bind', 'id=4', 'name=e4', 'tag=T', 'backlog=100', 'server=a']);

  const spec = {
    endpointId: 4,
    tag: 'T',
    gateway: null,
    secretFile: null,
    args: ['/x'],
    env: ['A=1'],
    cwd: '/',
    user: null,
    group: null,
    nice: 0,
    resourceLimits: ['nofile=64', 'core=0'],
    logFile: '/var/log/x.log',
    allowSetuid: false,
    startTimeoutMs: 1,
  };
  const failed = launcher.start(5, spec);
  peer.say('failed', { id: 5, step: 'exec', errno: 13, error: 'exec /x: Permission denied' });
  await t.rejects(failed, new LauncherError('exec', 13, 'exec /x: Permission denied'));
  const started = launcher.start(7, spec);
  peer.say('started', { id: 7, pid: 4711 });
  peer.say('ready', { id: 7 });
  t.same(
    events.slice(-2),
    [
      ['started', 7, 4711],
      ['ready', 7],
    ],
    'a pid is known before all else',
  );
  t.same(await started, { linkFd: null });
  t.same(
    peer.sent.at(-1)?.filter((field) => /^(limit|log|gateway|secret)=/.test(field)),
    ['limit=nofile=64', 'limit=core=0', 'log=/var/log/x.log'],
    'limits and log file',
  );

  const gateway = launcher.start(10, { ...spec, gateway: 'ajp', secretFile: '/etc/s', args: [] });
  t.same(
    peer.sent.at(-1)?.filter((field) => /^(arg|gateway|secret)=/.test(field)),
    ['gateway=ajp', 'secret=/etc/s'],
  );
  peer.say('started', { id: 10, pid: 4712 }, [11]);
  t.same(await gateway, { linkFd: 11 }, 'a gateway comes with its link');

  const engine = {
    ...{ tag: 'S', args: ['/x/catalina.sh', 'run'], env: ['USHER_PORT=8009'], cwd: '/x' },
    ...{ user: 'app', group: null, nice: 3, resourceLimits: ['nofile=64'] },
    ...{ logFile: null, allowSetuid: true },
  };
  const service = launcher.startService(11, engine);
  t.same(peer.sent.at(-1), [
    ...['start', 'id=11', 'service=1', 'tag=S', 'arg=/x/catalina.sh', 'arg=run'],
    ...['env=USHER_PORT=8009', 'cwd=/x', 'user=app', 'nice=3', 'limit=nofile=64', 'setuid=1'],
  ]);
  peer.say('started', { id: 11, pid: 4713 });
  t.same(await service, { pid: 4713 }, 'a service runs');
  t.same(events.at(-1), ['started', 11, 4713]);
  const facts = {
    uid: 33,
    gid: 34,
    group: ['34', '5'],
    limit: ['nofile=64'],
    done: ['path=2000000'],
  };
  const asked = launcher.startService(13, engine);
  peer.say('failed', {
    ...{ id: 13, step: 'exec', errno: 2, error: 'exec /x: none', cause: 'file-missing' },
    ...facts,
  });
  const error: unknown = await asked.catch((reason: unknown) => reason);
  t.match(error, {
    ...{ step: 'exec', causeWord: 'file-missing' },
    facts: {
      uid: 33,
      gid: 34,
      groups: [34, 5],
      limits: ['nofile=64'],
      steps: [{ name: 'path', atMs: 2 }],
    },
  });
  const denied = launcher.startService(12, engine);
  peer.say('failed', { id: 12, step: 'allow', errno: 1, error: 'no registration' });
  await t.rejects(denied, new LauncherError('allow', 1, 'no registration'));

  const owner = { user: 'app', group: null };
  const open = launcher.bindPublic(8, 'e8', 'T', 'tcp:9000', owner);
  t.same(peer.sent.at(-1), [
    ...['bind', 'id=8', 'name=e8', 'tag=T', 'backlog=0', 'listen=tcp:9000', 'user=app'],
  ]);
  peer.say('bound', { id: 8, inode: 78 });
  t.equal(await open, 78);
  launcher.refuseWaiting(8, { reason: 'no\0t now', retryAfterS: 3 });
  t.same(peer.sent.at(-1), ['refuse', 'id=8', 'refusal=no?t now', 'retry_after_s=3']);
  const looks: boolean[] = [];
  launcher.look(7, 15, (idle) => looks.push(idle));
  t.same(peer.sent.at(-1), ['look', 'id=7', 'signal=15']);
  peer.say('looked', { id: 7, idle: 1 });
  launcher.look(7, 15, (idle) => looks.push(idle));
  peer.say('looked', { id: 7, idle: 0 });
  launcher.look(7, 15, (idle) => looks.push(idle));
  peer.say('failed', { id: 7, step: 'instance', errno: 2, error: 'there is no instance 7' });
  t.same(looks, [true, false, false], 'each look is answered, in the order of events');

  const huge = launcher.start(6, { ...spec, env: ['A='.padEnd(200_000, 'x')] });
  await t.rejects(huge, /at most 131072/, 'what does not fit one packet is said');

  const last = { id: 2, exit_code: 3, lived_ms: 12, rss_kb: 5, output: 'bye\n' };
  const exit = { exitCode: 3, exitSignal: null, livedMs: 12, rssBytes: 5120, output: 'bye\n' };
  peer.say('exited', { ...last, cpu_us: 12_345 });
  t.same(events.at(-1), ['exited', 2, { ...exit, cpuS: 0.012345 }]);
  peer.say('exited', last);
  t.same(events.at(-1), ['exited', 2, { ...exit, cpuS: null }], 'an older launcher');
  t.throws(() => peer.say('nonsense', {}), /unknown verb "nonsense"/);
});

t.test('a full socket keeps the order', async (t) => {
  const { launcher, peer } = await connect();
  launcher.subscribe(deaf);
  peer.full = true;
  launcher.signal(2, 15);
  launcher.forget(2);
  t.same(peer.sent, []);
  peer.full = false;
  launcher.flush();
  t.same(
    peer.sent.map((one) => one[0]),
    ['signal', 'forget'],
  );
});
