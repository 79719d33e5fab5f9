// SPDX-License-Identifier: Apache-2.0
// Who may do what: files and modes of the runtime directory, what programs are started with, and
// what somebody can do who has taken over a program or a worker. Two servers of different users
// share a manager; a third user's program runs behind the first.

import { execFileSync, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync, renameSync, statSync, unlinkSync } from 'node:fs';
import type { Test } from 'tap';
import { apps, root } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { environmentOf, isRunning, parentOf, userOf } from '../servers/processes.ts';
import { isRoot, Site, uidOf } from '../servers/site.ts';
import { tellTranscript } from '../servers/transcript.ts';
import type { WebServer } from '../servers/web-server.ts';

/** Of a class that names its user; not nobody, whom the manager may be. */
const guest = 'games';

/** All that a runtime directory of root's may hold: a pattern of the path, and kind, mode, owner. */
const expected: [path: RegExp, permissions: string][] = [
  [/^\.$/, 'd 0711 root'],
  [/^(lock|manager\.lock|usher\.log)$/, '- 0600 root'],
  [/^control\.sock$/, 's 0600 root'],
  [/^(channel|sockets|servers|state)$/, 'd 0700 root'],
  [/^channel\/(table|places|[\w.-]+\.cells)$/, '- 0600 root'],
  [/^servers\/[\w.-]+\.(conf|allow)$/, '- 0600 root'],
  [/^state\/output-\d+$/, 'p 0600 root'],
  [/^state\/(?!output-)[\w.-]+$/, '- 0600 root'],
];

/** Sockets are open to all: who reaches them is decided by the directories. */
const inSockets = /^sockets\/[\w.-]+$/;
const ofServer = /^[\w.-]+-[0-9a-f]{8}(?:\/([\w.-]+))?$/;

type Attempt = [verb: string, ...args: (string | number)[]];

interface Parties {
  site: Site;
  second: Site;
  launcher: number;
  manager: number;
  /** Folders of the two servers. */
  own: string;
  foreign: string;
  /** Sockets: of an instance that the first server uses, and of one that only the second does. */
  ownSocket: string;
  foreignSocket: string;
  guestPid: number;
  foreignPid: number;
}

/** What the intruder gets to hear for each attempt. */
function intrude(user: string, attempts: Attempt[]): string[] {
  const uid = uidOf(user);
  const gid = Number(execFileSync('id', ['-g', user], { encoding: 'utf8' }));
  const { stdout, stderr } = spawnSync(
    'setpriv',
    [
      ...[`--reuid=${uid}`, `--regid=${gid}`, '--clear-groups', '--'],
      ...['/usr/bin/python3', `${apps}/intruder.py`],
    ],
    { input: JSON.stringify(attempts), encoding: 'utf8', cwd: '/' },
  );
  if (stdout === '') throw new Error(`no answer of the intruder: ${stderr}`);
  return JSON.parse(stdout) as string[];
}

function transcript(user: string, attempts: Attempt[], results: string[]): void {
  tellTranscript([
    `as ${user}:`,
    ...attempts.map((attempt, i) => `  ${attempt.join(' ')}: ${results[i]}`),
  ]);
}

function allRefused(t: Test, user: string, attempts: Attempt[]): void {
  const results = intrude(user, attempts);
  transcript(user, attempts, results);
  for (const [i, attempt] of attempts.entries()) {
    t.match(results[i], /^(EACCES|EPERM)$/, `${user}: ${attempt.join(' ')}`);
  }
}

function allDone(t: Test, user: string, attempts: Attempt[]): void {
  const results = intrude(user, attempts);
  transcript(user, attempts, results);
  for (const [i, attempt] of attempts.entries()) {
    t.equal(results[i], 'done', `${user}: ${attempt.join(' ')}`);
  }
}

export async function permissions(t: Test, server: WebServer): Promise<void> {
  if (!isRoot) {
    t.pass('a server of an ordinary user has that user’s rights: users.ts');
    return;
  }
  const site = await Site.create(t, server);
  const second = await Site.create(t, server, {
    runtimeDir: site.runtimeDir,
    workersAs: 'daemon',
  });
  await site.start(firstTexts(site));
  await second.start(secondTexts(second));
  const parties = await meet(site, second);

  await site.check('the runtime directory holds what is documented', (t) => files(t, parties));
  await site.check('a program gets its user, and nothing else of ours', (t) => started(t, parties));
  await site.check('somebody else can do nothing', async (t) => {
    allRefused(t, guest, [...againstAnyone(parties), ...againstOwn(parties)]);
  });
  await site.check('a worker can do its work, and nothing to others', (t) => worker(t, parties));
  await site.check('a worker that spoils its own directory hurts its server only', (t) =>
    vandal(t, parties),
  );
  await second.end('TERM', 'others');
  await site.end();
}

function firstTexts(site: Site): Record<WebServer['kind'], string> {
  const echo = site.program('bin/echo');
  const other = site.program('bin/guest');
  return {
    nginx: `
      usher_app ${echo} processes=1 initial_env=TOKEN=1 cwd=${site.docs};
      usher_app ${other} processes=1 user=${guest} group=${guest} allow_setuid;
      server {
        listen 127.0.0.1:${site.port};
        location /echo { usher_pass ${echo}; include fastcgi_params; }
        location /guest { usher_pass ${other}; include fastcgi_params; }
      }`,
    apache: `
      AppClass ${echo} -processes 1 -initial-env TOKEN=1 -cwd ${site.docs}
      AppClass ${other} -processes 1 -user ${guest} -group ${guest} -allow-setuid
      <Location /echo>
        UsherPass ${echo}
      </Location>
      <Location /guest>
        UsherPass ${other}
      </Location>`,
  };
}

function secondTexts(site: Site): Record<WebServer['kind'], string> {
  const echo = site.program('bin/second');
  return {
    nginx: `
      usher_app ${echo} processes=1;
      server {
        listen 127.0.0.1:${site.port};
        location / { usher_pass ${echo}; include fastcgi_params; }
      }`,
    apache: `
      AppClass ${echo} -processes 1
      <Location />
        UsherPass ${echo}
      </Location>`,
  };
}

/** Who and what is there, once all of it runs. */
async function meet(site: Site, second: Site): Promise<Parties> {
  const pidOf = async (name: string): Promise<number> =>
    eventually(`${name} is ready`, async () => {
      const [instance] = (await site.classStatus(name))?.instances ?? [];
      return instance?.state === 'ready' && instance.pid;
    });
  await pidOf(`${site.dir}/bin/echo`);
  const guestPid = await pidOf(`${site.dir}/bin/guest`);
  const foreignPid = await pidOf(`${second.dir}/bin/second`);
  const folders = readdirSync(site.runtimeDir).filter((name) => ofServer.test(name));
  const of = (owner: Site) =>
    folders.find((name) => statSync(`${site.runtimeDir}/${name}`).uid === uidOf(owner.user!));
  const [own, foreign] = [`${site.runtimeDir}/${of(site)}`, `${site.runtimeDir}/${of(second)}`];
  const socketIn = (folder: string) =>
    eventually(`a socket in ${folder}`, () =>
      readdirSync(folder).find((name) => statSync(`${folder}/${name}`).isSocket()),
    );
  const { pid: manager } = (await site.status()).manager;
  const launcher = parentOf(manager);
  return {
    ...{ site, second, launcher, manager, own, foreign, guestPid, foreignPid },
    ownSocket: await socketIn(own),
    foreignSocket: await socketIn(foreign),
  };
}

// ---- files

async function files(t: Test, { site, second }: Parties): Promise<void> {
  const { stdout } = spawnSync(
    process.execPath,
    [`${root}/scripts/permissions.mjs`, site.runtimeDir],
    { encoding: 'utf8' },
  );
  const lines = stdout.trimEnd().split('\n');
  tellTranscript(lines);
  const workers = new Set([site.user, second.user]);
  for (const line of lines) {
    const [, kind, mode, owner = '', path = ''] = /^(\S) (\d+) (\S+) (.*)$/.exec(line) ?? [];
    const found = `${kind} ${mode} ${owner}`;
    const row = expected.find(([pattern]) => pattern.test(path));
    const inFolder = ofServer.exec(path);
    if (row !== undefined) t.equal(found, row[1], path);
    else if (inSockets.test(path)) t.match(found, /^s 0[67]\d\d root$/, path);
    else if (inFolder === null) t.fail(`${line}: nobody has documented that`);
    else if (inFolder[1] === undefined) {
      t.equal(`${kind} ${mode}`, 'd 0500', path);
      t.ok(workers.has(owner), `${path} is its workers’`);
    } else if (inFolder[1] === 'live') {
      t.equal(`${kind} ${mode}`, '- 0600', path);
      t.ok(workers.has(owner), `${path} is its workers’`);
    } else {
      const { ino } = statSync(`${site.runtimeDir}/sockets/${inFolder[1]}`);
      t.equal(statSync(`${site.runtimeDir}/${path}`).ino, ino, `${path} is a link to that socket`);
    }
  }
  for (const name of ['control.sock', 'channel/table', 'usher.log', 'lock']) {
    t.ok(
      lines.some((line) => line.endsWith(` ${name}`)),
      `${name} is there`,
    );
  }
  documented(t, lines);
}

/** ARCHITECTURE.md says the same of everything at the top. */
function documented(t: Test, lines: string[]): void {
  const text = readFileSync(`${root}/ARCHITECTURE.md`, 'utf8');
  const [, table = ''] = /## The runtime directory\n([\s\S]*?)\n## /.exec(text) ?? [];
  for (const line of lines) {
    const [, kind, mode = '', path = ''] = /^(\S) (\d+) \S+ ([^/]*)$/.exec(line) ?? [];
    if (path === '') continue;
    const name = ofServer.test(path)
      ? '<server>/'
      : kind === 'd' && path !== '.'
        ? `${path}/`
        : path;
    const row = table.split('\n').find((one) => one.split('|')[1]?.includes(`\`${name}\``));
    t.match(row ?? '', `| ${mode}`, `ARCHITECTURE.md has ${name}`);
  }
}

// ---- processes

const procStatus = (pid: number, name: string): string =>
  new RegExp(`^${name}:\\s*(.*)$`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ??
  '';

async function started(t: Test, { site, guestPid, launcher, manager }: Parties): Promise<void> {
  const instances = (await site.classStatus(`${site.dir}/bin/echo`))?.instances ?? [];
  const echoPid = instances[0]!.pid;
  const users: [pid: number, user: string, env: string[], cwd: string][] = [
    [echoPid, site.user!, ['TOKEN=1'], site.docs],
    [guestPid, guest, [], `${site.dir}/bin`],
  ];
  for (const [pid, user, env, cwd] of users) {
    const id = (option: string) => execFileSync('id', [option, user], { encoding: 'utf8' }).trim();
    const four = (number: string) => Array(4).fill(number).join('\t');
    t.equal(procStatus(pid, 'Uid'), four(id('-u')), `${user}: all four user numbers`);
    t.equal(procStatus(pid, 'Gid'), four(id('-g')), `${user}: all four group numbers`);
    const groups = id('-G').split(' ').map(Number).sort();
    t.same(procStatus(pid, 'Groups').trim().split(' ').map(Number).sort(), groups, 'its groups');
    for (const set of ['CapInh', 'CapPrm', 'CapEff', 'CapAmb']) {
      t.match(procStatus(pid, set), /^0+$/, `${user}: ${set} is empty`);
    }
    const mayGain = user === guest; // its class says -allow-setuid
    t.equal(procStatus(pid, 'NoNewPrivs'), mayGain ? '0' : '1', `${user}: no new privileges`);
    t.equal(procStatus(pid, 'Umask'), '0022', `${user}: umask`);
    t.same(readdirSync(`/proc/${pid}/fd`).sort(), ['0', '1', '2'], `${user}: descriptors`);
    t.same(environmentOf(pid), ['PATH=/usr/local/bin:/usr/bin:/bin', ...env], 'environment');
    t.equal(readlinkSync(`/proc/${pid}/cwd`), cwd, `${user}: working directory`);
    t.equal(parentOf(pid), launcher, `${user}: child of the launcher`);
  }
  t.equal(userOf(launcher), 0, 'the launcher is root');
  t.equal(procStatus(manager, 'Uid'), Array(4).fill(managerUid()).join('\t'), 'not the manager');
  t.match(procStatus(manager, 'CapPrm'), /^0+$/, 'which has no capability');
  t.equal(procStatus(manager, 'NoNewPrivs'), '1', 'and can gain none');
}

/** User usher where there is one, else nobody. */
function managerUid(): number {
  return Number.isNaN(uidOf('usher')) ? uidOf('nobody') : uidOf('usher');
}

// ---- intruders

/** What nobody but root may do. */
function againstAnyone(parties: Parties): Attempt[] {
  const { site, launcher, manager, foreign, foreignSocket, foreignPid } = parties;
  const { runtimeDir } = site;
  const registrations = readdirSync(`${runtimeDir}/servers`);
  const cells = readdirSync(`${runtimeDir}/channel`);
  const victims = [launcher, manager, foreignPid];
  return [
    ['list', runtimeDir],
    ...['channel', 'sockets', 'servers', 'state'].map(
      (name): Attempt => ['list', `${runtimeDir}/${name}`],
    ),
    ['create', `${runtimeDir}/intruder`],
    ['symlink', `${runtimeDir}/intruder`],
    ['mkdir', `${runtimeDir}/intruder-0123abcd`],
    ['connect', `${runtimeDir}/control.sock`],
    ['delete', `${runtimeDir}/control.sock`],
    ['rename', `${runtimeDir}/control.sock`],
    ...['lock', 'manager.lock', 'usher.log'].flatMap((name): Attempt[] => [
      ['read', `${runtimeDir}/${name}`],
      ['write', `${runtimeDir}/${name}`],
      ['delete', `${runtimeDir}/${name}`],
    ]),
    ...cells.flatMap((name): Attempt[] => [
      ['read', `${runtimeDir}/channel/${name}`],
      ['write', `${runtimeDir}/channel/${name}`],
      ['delete', `${runtimeDir}/channel/${name}`],
    ]),
    ...registrations.flatMap((name): Attempt[] => [
      ['read', `${runtimeDir}/servers/${name}`],
      ['write', `${runtimeDir}/servers/${name}`],
      ['delete', `${runtimeDir}/servers/${name}`],
    ]),
    ['create', `${runtimeDir}/servers/intruder-0123abcd.1.conf`],
    ['create', `${runtimeDir}/servers/intruder-0123abcd.1.allow`],
    // another server's directory, and its program by either path
    ['list', foreign],
    ['read', `${foreign}/live`],
    ['write', `${foreign}/live`],
    ['symlink', `${foreign}/intruder`],
    ['bind', `${foreign}/intruder`],
    ['delete', `${foreign}/${foreignSocket}`],
    ['chmod', foreign, 0o777],
    ['connect', `${foreign}/${foreignSocket}`],
    ['connect', `${runtimeDir}/sockets/${foreignSocket}`],
    ['bind', `${runtimeDir}/sockets/${foreignSocket}`],
    ['bind', `${runtimeDir}/sockets/e9999`],
    ['delete', `${runtimeDir}/sockets/${foreignSocket}`],
    ['link', `${runtimeDir}/sockets/${foreignSocket}`, '/tmp/usher-intruder'],
    // processes of others
    ...victims.flatMap((pid): Attempt[] => [
      ['signal', pid],
      ['trace', pid],
      ['descriptor', pid, 0],
      ['read', `/proc/${pid}/environ`],
      ['read', `/proc/${pid}/mem`],
      ['list', `/proc/${pid}/fd`],
      ['enter', `/proc/${pid}/cwd`],
    ]),
    ['descriptor', manager, 3], // its link to the launcher
  ];
}

/** What the first server's workers may do, and nobody else. */
function againstOwn({ site, own, ownSocket }: Parties): Attempt[] {
  return [
    ['list', own],
    ['write', `${own}/live`],
    ['connect', `${own}/${ownSocket}`],
    ['connect', `${site.runtimeDir}/sockets/${ownSocket}`],
  ];
}

async function worker(t: Test, parties: Parties): Promise<void> {
  const { site, own, ownSocket, guestPid } = parties;
  const user = site.user!;
  allDone(t, user, [
    ['list', own],
    ['write', `${own}/live`],
    ['connect', `${own}/${ownSocket}`],
  ]);
  allRefused(t, user, [
    ...againstAnyone(parties),
    ['connect', `${site.runtimeDir}/sockets/${ownSocket}`],
    ['symlink', `${own}/intruder`],
    ['bind', `${own}/intruder`],
    ['delete', `${own}/${ownSocket}`],
    // a program of another user that it may send requests to
    ['signal', guestPid],
    ['trace', guestPid],
    ['descriptor', guestPid, 0],
    ['read', `/proc/${guestPid}/environ`],
    ['list', `/proc/${guestPid}/fd`],
  ]);
  t.equal((await site.request('/echo?text=served')).text, 'served');
}

/** The directory is the workers' own, so its mode keeps them from nothing that they insist on. */
async function vandal(t: Test, parties: Parties): Promise<void> {
  const { site, second, own, ownSocket, launcher, manager, foreignPid } = parties;
  const look = () => ({ ...statSync('/etc/passwd'), atime: 0, atimeMs: 0 });
  const before = look();
  allDone(t, site.user!, [
    ['chmod', own, 0o700],
    ['delete', `${own}/${ownSocket}`],
    ['symlink', `${own}/${ownSocket}`],
    ['symlink', `${own}/e9999`],
    ['rename', `${own}/live`],
    ['symlink', `${own}/live`],
  ]);
  await second.settled();
  t.equal((await second.request('/?text=served')).text, 'served', 'the other server goes on');
  t.ok([launcher, manager, foreignPid].every(isRunning), 'so do launcher, manager and programs');
  t.equal((await site.status()).manager.pid, manager, 'the same manager answers');
  t.same(look(), before, 'where the links lead, nothing was changed');
  // Usher removes nothing from there that it has not made.
  for (const link of [ownSocket, 'e9999', 'live']) unlinkSync(`${own}/${link}`);
  renameSync(`${own}/live.away`, `${own}/live`);
}
