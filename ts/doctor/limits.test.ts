// SPDX-License-Identifier: Apache-2.0
// Checks of limits, security modules and rights, on machines that are made up.
import t from 'tap';
import { sampleStatus } from '../control/testing/sample.ts';
import { limitChecks, limitIn, tightest } from './checks/limits.ts';
import { securityChecks } from './checks/security.ts';
import type { ClassPlan } from './classes.ts';
import {
  fakeHost,
  fakeScene,
  launcherFiles,
  look,
  plan,
  processFiles,
  type Tree,
} from './testing/fake-host.ts';

const run: Tree = { '/run/usher': { kind: 'directory' } };
const see = (id: string, files: Tree, plans: ClassPlan[] = [plan()]) =>
  look([...limitChecks, ...securityChecks], id, fakeScene({ files: { ...run, ...files } }, plans));

const limits = (files: number, processes = 'unlimited') =>
  `Limit                     Soft Limit           Hard Limit           Units     \nMax processes             ${processes}            unlimited            processes \nMax open files            1024                 ${files}               files     \n`;

t.test('limit-files', async (t) => {
  t.same(limitIn(limits(4096), 'Max open files'), { soft: 1024, hard: 4096 });
  t.equal(limitIn('', 'Max open files'), null);
  const launcher = (files: number) => ({ ...launcherFiles(7), '/proc/7/limits': limits(files) });
  t.match(await see('limit-files', launcher(4096)), { statuses: 'ok' });
  t.match(await see('limit-files', launcher(100), [plan({ instances: 50 })]), {
    statuses: 'error',
    text: /100 open files are too few: 164 may be needed \| usher-launcher, pid 7 .*LimitNOFILE=1024:256/,
  });
  t.match(await see('limit-files', launcher(4096), [plan({ fileLimit: 9000 })]), {
    statuses: 'error',
    text: /app: -limit nofile=9000 is above .*\[limit-denied\]/,
  });
  t.match(await see('limit-files', launcherFiles(7)), { statuses: 'skipped' });
  const conf =
    'load_module ngx_http_usher_module.so;\nevents { worker_connections 1000; }\nhttp { usher_config processes=1; }\n';
  const server = {
    '/etc/nginx/nginx.conf': conf,
    ...processFiles(50, { comm: 'nginx', words: ['nginx: master process /usr/sbin/nginx'] }),
    ...processFiles(51, { comm: 'nginx', words: ['nginx: worker process'], parent: 50 }),
    '/proc/51/limits': limits(4096),
  };
  t.match(await see('limit-files', server, [plan({ places: 4 })]), { statuses: '' });
  t.match(await see('limit-files', server, [plan({ places: 400 })]), {
    statuses: 'warning',
    text: /1024 open files are too few for a worker: 1400 .*worker_rlimit_nofile 2800; in \/etc\/nginx\/nginx.conf/,
  });
});

const cgroup = (max: string, current: string, name: string) => ({
  '/proc/7/cgroup': '0::/system.slice/usher.service\n',
  [`/sys/fs/cgroup/system.slice/usher.service/${name}.max`]: max,
  [`/sys/fs/cgroup/system.slice/usher.service/${name}.current`]: current,
});

t.test('limit-processes', async (t) => {
  const launcher = { ...launcherFiles(7), '/proc/7/limits': limits(4096, '3') };
  t.match(await see('limit-processes', launcherFiles(7)), {
    statuses: 'ok',
    text: /room for 4 instances/,
  });
  t.match(await see('limit-processes', launcher), {
    statuses: 'warning',
    text: /may have 3 processes, and 4 instances/,
  });
  t.match(await see('limit-processes', { ...launcherFiles(7), ...cgroup('20', '18', 'pids') }), {
    statuses: 'warning',
    text: /room for 2 more tasks.*usher.service.*TasksMax=/,
  });
  t.match(await see('limit-processes', { ...launcherFiles(7), ...cgroup('max', '18', 'pids') }), {
    statuses: 'ok',
  });
  const nested = {
    ...cgroup('100', '10', 'pids'),
    '/sys/fs/cgroup/system.slice/pids.max': '50',
    '/sys/fs/cgroup/system.slice/pids.current': '45',
  };
  t.match(tightest(fakeHost({ files: nested }), 7, 'pids.max', 'pids.current'), {
    group: '/sys/fs/cgroup/system.slice',
    max: 50,
  });
});

t.test('limit-memory', async (t) => {
  t.match(
    await see('limit-memory', { '/proc/meminfo': 'MemTotal: 1000 kB\nMemAvailable: 500 kB\n' }),
    { statuses: 'ok' },
  );
  t.match(
    await see('limit-memory', {
      '/proc/meminfo': 'MemTotal: 1000000 kB\nMemAvailable: 10000 kB\n',
    }),
    { statuses: 'warning', text: /only 10 MB/ },
  );
  t.match(await see('limit-memory', { ...launcherFiles(7), ...cgroup('1000', '950', 'memory') }), {
    statuses: 'warning',
    text: /MemoryMax=/,
  });
  t.match(await see('limit-memory', { '/proc/sys/vm/overcommit_memory': '2\n' }), {
    statuses: 'warning',
    text: /overcommit/,
  });
});

t.test('limit-backlog', async (t) => {
  const most = (number: number) => ({ '/proc/sys/net/core/somaxconn': `${number}\n` });
  t.match(await see('limit-backlog', most(4096)), { statuses: 'ok' });
  t.match(await see('limit-backlog', most(64)), { statuses: 'warning', text: /few connections/ });
  t.match(await see('limit-backlog', most(512), [plan({ listen: 'tcp:9000', backlog: 1000 })]), {
    statuses: 'warning',
    text: /app \(1000\)/,
  });
  t.match(await see('limit-backlog', {}), { statuses: 'skipped' });
});

t.test('selinux, apparmor', async (t) => {
  const nginx = processFiles(50, { comm: 'nginx', words: ['nginx: master process nginx'] });
  const label = (text: string) => ({ ...nginx, '/proc/50/attr/current': `${text}\0` });
  t.match(await see('selinux', nginx), { statuses: 'ok', text: /not there/ });
  const enforcing = { '/sys/fs/selinux/enforce': '1' };
  t.match(await see('selinux', { ...enforcing, ...label('system_u:system_r:httpd_t:s0') }), {
    statuses: 'warning',
    text: /confines nginx, pid 50 \(system_u:system_r:httpd_t:s0\).*audit2allow/,
  });
  t.match(
    await see('selinux', { ...enforcing, ...label('unconfined_u:unconfined_r:unconfined_t:s0') }),
    { statuses: 'ok' },
  );
  t.match(await see('selinux', { '/sys/fs/selinux/enforce': '0' }), {
    statuses: 'ok',
    text: /permissive/,
  });
  const enabled = { '/sys/module/apparmor/parameters/enabled': 'Y\n' };
  t.match(await see('apparmor', nginx), { statuses: 'ok', text: /not there/ });
  t.match(await see('apparmor', { ...enabled, ...label('nginx (enforce)\n') }), {
    statuses: 'warning',
    text: /AppArmor confines nginx: nginx \(enforce\) \| pid 50 .*\/run\/usher\/\*\* rwkml/,
  });
  t.match(await see('apparmor', { ...enabled, ...label('nginx (complain)') }), { statuses: 'ok' });
});

t.test('rights', async (t) => {
  const launcher = (status: string) => {
    const files = launcherFiles(7);
    return { ...files, '/proc/7/status': `${files['/proc/7/status']}${status}` };
  };
  t.match(await see('rights', launcher('NoNewPrivs:\t0\nCapEff:\t000001ffffffffff\n')), {
    statuses: 'ok',
  });
  t.match(
    await see('rights', launcher('NoNewPrivs:\t1\nCapEff:\t000001ffffffffff\n'), [
      plan({ allowSetuid: true }),
    ]),
    {
      statuses: 'error',
      text: /-allow-setuid of app has no effect/,
    },
  );
  t.match(await see('rights', launcher('NoNewPrivs:\t1\nCapEff:\t0000000000080021\n')), {
    statuses: 'error',
    text: /root without CAP_SETGID, CAP_SETUID \|/,
  });
  t.match(await see('rights', launcher('CapEff:\t00000000000000ff\n')), {
    statuses: 'warning',
    text: /CAP_SYS_PTRACE/,
  });
  const manager = { ping: async () => ({ pid: 99, version: '' }) };
  const as = (uid: number) =>
    fakeScene({
      files: {
        ...run,
        ...launcher('CapEff:\t000001ffffffffff\n'),
        '/etc/passwd': 'nobody:x:65534:65534::/:\nusher:x:900:900::/:\n',
        '/proc/99/status': `Uid:\t${uid}\t${uid}\t${uid}\t${uid}\n`,
      },
      manager: { ...manager, status: async () => sampleStatus() },
    });
  t.match(await look(securityChecks, 'rights', as(900)), { statuses: 'ok' });
  t.match(await look(securityChecks, 'rights', as(65534)), {
    statuses: 'warning',
    text: /the manager runs as nobody, not as usher \| pid 99/,
  });
});
