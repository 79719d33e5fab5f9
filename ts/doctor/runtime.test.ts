// SPDX-License-Identifier: Apache-2.0
// Checks of the runtime directory and the manager, on machines that are made up.
import t from 'tap';
import { RequestFailedError } from '../control/client.ts';
import { sampleStatus } from '../control/testing/sample.ts';
import { managerChecks } from './checks/manager.ts';
import { judge, mountOf, runtimeDirectoryChecks } from './checks/runtime-directory.ts';
import {
  type FakeMachine,
  fakeScene,
  launcherFiles,
  look,
  processFiles,
  type Tree,
} from './testing/fake-host.ts';

const run = '/run/usher';
const directory: Tree = { [run]: { kind: 'directory', mode: 0o711, ino: 5 } };
const mounts = '1 0 8:1 / / rw - ext4 /dev/sda rw\n2 1 0:20 / /run rw,nosuid - tmpfs tmpfs rw\n';
const see = (id: string, files: Tree, changes: Partial<FakeMachine> = {}, wanted = {}) =>
  look(
    [...runtimeDirectoryChecks, ...managerChecks],
    id,
    fakeScene({ files: { ...directory, ...files }, ...changes }, [], wanted),
  );
const nginxConf = '/etc/nginx/nginx.conf';
const external = 'load_module ngx_http_usher_module.so;\nhttp {\n  usher_manager external;\n}\n';

const alive = (version = '0.1.0') => ({
  ping: async () => ({ pid: 99, version }),
  status: async () => sampleStatus(),
  events: async () => ({ schema: 1 as const, startedAt: '', events: [] }),
});
const failing = (code: string) => ({
  ping: async (): Promise<never> => {
    throw new RequestFailedError(code, `it is ${code}`);
  },
});

t.test('runtime-directory', async (t) => {
  t.match(await see('runtime-directory', {}), { statuses: 'ok', text: /owner 0, mode 0711/ });
  const facts = {
    kind: 'directory' as const,
    mode: 0o711,
    uid: 0,
    gid: 0,
    size: 0,
    mtimeMs: 0,
    dev: 1,
    ino: 1,
  };
  t.match(judge(run, { ...facts, mode: 0o777 }, 0), {
    status: 'error',
    fix: 'chmod 0711 /run/usher',
  });
  t.match(judge(run, { ...facts, uid: 5 }, 0), { status: 'error', what: /belongs to user 5/ });
  t.match(judge(run, { ...facts, uid: 5, mode: 0o700 }, 5), { status: 'ok' });
  t.match(judge(run, { ...facts, mode: 0o700 }, 0), {
    status: 'error',
    what: /workers may not pass/,
  });
  t.match(judge(run, { ...facts, kind: 'link' }, 0), { status: 'error', what: /no directory/ });
  const long = `/run/${'x'.repeat(70)}`;
  t.match(await see('runtime-directory', {}, {}, { runtimeDir: long }), {
    statuses: 'error skipped',
    text: /too long for sockets: 75 bytes/,
  });
  t.match(await see('runtime-directory', {}, { uid: 1000 }, { runtimeDir: null }), {
    statuses: 'skipped',
    text: /XDG_RUNTIME_DIR/,
  });
});

t.test('runtime-file-system', async (t) => {
  const files = { '/proc/self/mountinfo': mounts };
  t.match(await see('runtime-file-system', files), { statuses: 'ok', text: /on tmpfs \(\/run\)/ });
  t.match(await see('runtime-file-system', files, { free: 1000 }), {
    statuses: 'error',
    text: /only 1 kB are free/,
  });
  const nfs = { '/proc/self/mountinfo': mounts.replace('- tmpfs', '- nfs4') };
  t.match(await see('runtime-file-system', nfs), { statuses: 'error', text: /it is on nfs4/ });
  const readOnly = { '/proc/self/mountinfo': mounts.replace('rw,nosuid', 'ro') };
  t.match(await see('runtime-file-system', readOnly), { statuses: 'error', text: /read-only/ });
  t.match(mountOf(mounts, '/runner'), { point: '/' });
});

t.test('runtime-leftovers', async (t) => {
  const server =
    'UsherServer nginx-1 -generation 1 -kind nginx -pid 50 -user www-data -group www-data -configuration /srv/own.conf\n';
  const files = { [`${run}/servers/nginx-1.1.conf`]: server };
  t.match(await see('runtime-leftovers', files), {
    statuses: 'warning',
    text: /left by 1 server that ended: nginx-1/,
  });
  t.match(await see('runtime-leftovers', { ...files, '/proc/50/comm': 'nginx\n' }), {
    statuses: '',
  });
  t.match(await see('runtime-leftovers', files, { manager: alive() }), { statuses: '' });
  t.match(await see('runtime-leftovers', { [`${run}/servers`]: { error: 'EACCES' } }), {
    statuses: 'skipped',
  });
});

t.test('runtime-view', async (t) => {
  const master = processFiles(50, {
    comm: 'nginx',
    words: ['nginx: master process /usr/sbin/nginx'],
  });
  const files = {
    ...master,
    [nginxConf]: `${external}`.replace('external;', 'external;\n usher_runtime_dir /run/usher;'),
  };
  t.match(await see('runtime-view', files), { statuses: 'ok', text: /seen alike by 1 process/ });
  const jailed = {
    ...files,
    '/proc/50/root': { kind: 'directory' as const },
    [`/proc/50/root${nginxConf}`]: { link: nginxConf },
  };
  t.match(await see('runtime-view', jailed), {
    statuses: 'error',
    text: /nginx, pid 50 sees another directory/,
  });
  const tmp = {
    ...jailed,
    [nginxConf]: external.replace('external;', 'external;\n usher_runtime_dir /tmp/usher;'),
  };
  t.match(
    await see(
      'runtime-view',
      { ...tmp, '/tmp/usher': { kind: 'directory' } },
      {},
      { runtimeDir: '/tmp/usher' },
    ),
    {
      statuses: 'error',
      text: /PrivateTmp=yes, most likely/,
    },
  );
  const closed = { ...files, '/proc/50/root': { error: 'EACCES' } };
  t.match(await see('runtime-view', closed), { statuses: 'skipped', text: /be root/ });
});

t.test('manager', async (t) => {
  t.match(await see('manager', {}, { manager: alive() }), {
    statuses: 'ok',
    text: /pid 99, version 0.1.0/,
  });
  t.match(await see('manager', {}), { statuses: 'skipped', text: /no web server that needs one/ });
  t.match(await see('manager', { [nginxConf]: external }), {
    statuses: 'error',
    text: /nginx.conf:3 says external, and no manager runs/,
  });
  const master = processFiles(50, {
    comm: 'nginx',
    words: ['nginx: master process /usr/sbin/nginx'],
  });
  const server =
    'UsherServer nginx-1 -generation 1 -kind nginx -pid 50 -user w -group w -configuration /etc/nginx/nginx.conf\n';
  t.match(await see('manager', { ...master, [`${run}/servers/nginx-1.1.conf`]: server }), {
    statuses: 'error',
    text: /a web server runs \(pid 50\) without a manager/,
  });
  t.match(await see('manager', launcherFiles(7)), {
    statuses: 'error',
    text: /a launcher runs, and its manager/,
  });
  t.match(await see('manager', {}, { manager: failing('timeout') }), {
    statuses: 'error',
    text: /does not answer/,
  });
  t.match(await see('manager', {}, { manager: failing('forbidden') }), {
    statuses: 'skipped',
    text: /another user/,
  });
  t.match(await see('manager', {}, { manager: failing('broken') }), {
    statuses: 'error',
    text: /what listens is no manager/,
  });
  const container = { ...launcherFiles(7), '/proc/7/root': { kind: 'directory' as const } };
  t.match(
    await see('manager', container),
    { statuses: 'skipped' },
    'the launcher of a container is not ours',
  );
});

t.test('the launcher is told from its standby', (t) => {
  const args = ['--runtime-dir', run];
  const files = {
    ...processFiles(7, {
      comm: 'usher-launcher',
      words: ['usher-standby', ...args, '--standby-of', '9'],
    }),
    ...processFiles(9, { comm: 'usher-launcher', words: ['usher-launcher', ...args] }),
  };
  t.match(fakeScene({ files: { ...directory, ...files } }).runtimeDirs, [{ launcher: { pid: 9 } }]);
  t.end();
});

t.test('versions', async (t) => {
  const { version } = fakeScene({ files: {} }).installation;
  t.equal(version, '', 'there is no package.json here');
  t.match(await see('versions', {}, { manager: alive('') }), { statuses: 'ok' });
  t.match(await see('versions', {}, { manager: alive('9.9.9') }), {
    statuses: 'warning',
    text: /of version 9.9.9.*usher upgrade/,
  });
  const replaced = processFiles(7, {
    comm: 'usher-launcher',
    words: ['usher-launcher', '--runtime-dir', run],
    exe: '/x (deleted)',
  });
  t.match(await see('versions', replaced, { manager: alive('') }), {
    statuses: 'warning',
    text: /file was replaced/,
  });
  const header = Buffer.from('USHTABLE\x03\0\0\0', 'latin1');
  t.match(await see('versions', { [`${run}/channel/table`]: { text: header } }), {
    statuses: 'error',
    text: /layout 3, installed is 4/,
  });
});

t.test('managers, log, clock', async (t) => {
  t.match(await see('managers', {}), { statuses: '' });
  t.match(await see('managers', launcherFiles(7)), {
    statuses: 'ok',
    text: /1 manager on this host, 1 of this user: \/run\/usher/,
  });
  const log = (entry: Tree[string]) => ({
    ...launcherFiles(7, ['--log', '/var/log/usher.log']),
    '/var/log/usher.log': entry,
  });
  t.match(await see('log', log('x')), { statuses: 'ok' });
  t.match(await see('log', log({ text: '', size: 2e9 })), {
    statuses: 'warning',
    text: /logrotate/,
  });
  t.match(await see('log', log('x'), { free: 1e6 }), { statuses: 'warning', text: /make room/ });
  t.match(await see('log', log({ error: 'EACCES' })), { statuses: 'skipped' });
  t.match(await see('log', launcherFiles(7, ['--log', '/var/gone.log'])), {
    statuses: 'warning',
    text: /reopen-logs/,
  });
  t.match(await see('log', launcherFiles(7)), { statuses: 'ok', text: /journalctl/ });
  t.match(await see('clock', {}), { statuses: 'skipped' });
});
