// SPDX-License-Identifier: Apache-2.0
// packaging/systemd: what systemd says of the unit without running it, and its command run for real,
// with the capabilities that the unit leaves it and a notify socket of ours.

import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { apps, root } from '../servers/checkout.ts';
import { eventually } from '../servers/eventually.ts';
import { isRunning, parentOf, signal, userOf } from '../servers/processes.ts';
import { isRoot, Site } from '../servers/site.ts';
import { run, status } from '../servers/usher.ts';
import type { WebServer } from '../servers/web-server.ts';

/** The highest figure of `systemd-analyze security` that a change may bring; 10 is no protection. */
const exposureMax = 4.4;

const folder = `${root}/packaging/systemd`;
const nobody = 65534;

/** The unit as it would be installed from this checkout. */
const unit = readFileSync(`${folder}/usher.service`, 'utf8').replaceAll(
  '/usr/local/lib/usher/',
  `${root}/`,
);

/** All values of a setting, in order. */
function settings(name: string): string[] {
  return [...unit.matchAll(new RegExp(`^${name}=(.*)$`, 'gm'))].map(([, value = '']) => value);
}

const has = async (program: string): Promise<boolean> =>
  (await run(['/bin/sh', '-c', `command -v ${program}`])).status === 0;

export async function unitFile(t: Test): Promise<void> {
  if (!(await has('systemd-analyze')) || !(await has('systemd-sysusers'))) {
    t.fail('systemd-analyze and systemd-sysusers: install Debian’s package systemd');
    return;
  }
  const dir = mkdtempSync('/tmp/usher-unit-');
  t.teardown(() => rmSync(dir, { recursive: true }));
  writeFileSync(`${dir}/usher.service`, unit);

  await t.test('systemd understands every line of the unit', async (t) => {
    const { status, output } = await run([
      'systemd-analyze',
      ...['verify', '--man=no', '--recursive-errors=no', `${dir}/usher.service`],
    ]);
    t.same([status, output], [0, '']);
  });
  await t.test(`its exposure is at most ${exposureMax}`, async (t) => {
    const { output } = await run([
      'systemd-analyze',
      ...['security', '--offline=true', '--no-pager', `${dir}/usher.service`],
    ]);
    const figure = Number(/Overall exposure level for usher\.service: ([\d.]+)/.exec(output)?.[1]);
    t.ok(figure <= exposureMax, `${figure}: ${output.slice(-200)}`);
    const manual = readFileSync(`${root}/docs/systemd.md`, 'utf8');
    t.match(manual, `**${figure}**`, 'docs/systemd.md gives the same figure');
  });
  await t.test('systemd-sysusers would make the user', async (t) => {
    const { status, output } = await run([
      'systemd-sysusers',
      ...[`--root=${dir}`, '--dry-run', `${folder}/usher.sysusers`],
    ]);
    t.equal(status, 0, output);
    t.match(output, /Creating user 'usher'/);
  });
}

/** What is told to NOTIFY_SOCKET. */
class NotifySocket {
  readonly lines: string[] = [];
  readonly path: string;
  private readonly child: ChildProcess;

  constructor(t: Test, path: string) {
    this.path = path;
    this.child = spawn('/usr/bin/python3', [`${apps}/notify-socket.py`, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    createInterface({ input: this.child.stdout! }).on('line', (line) => this.lines.push(line));
    t.teardown(() => this.child.kill('SIGKILL'));
  }

  count(line: string): number {
    return this.lines.filter((heard) => heard === line).length;
  }

  async hears(line: string, times = 1): Promise<void> {
    await eventually(`${line} at the notify socket`, () => this.count(line) >= times);
  }
}

/** The ExecStart line as systemd would run it. */
function start(
  t: Pick<Test, 'teardown'>,
  runtimeDir: string,
  notify: NotifySocket,
  log: string[],
): ChildProcess {
  const [command = ''] = settings('ExecStart');
  const words = command.replace('/run/usher', runtimeDir).split(' ');
  const capabilities = settings('CapabilityBoundingSet')
    .flatMap((line) => line.split(' '))
    .map((name) => `+${name.replace(/^CAP_/, '').toLowerCase()}`);
  const confined = isRoot ? ['setpriv', `--bounding-set=-all,${capabilities.join(',')}`] : [];
  // as systemd does: one stream for both, and which one that is
  const journal = 'exec 1>&2; export JOURNAL_STREAM=$(stat -Lc %d:%i /dev/fd/2); exec "$@"';
  const shell = ['/bin/sh', '-c', journal, 'sh'];
  const inJournal = [...environment(), ...shell, ...confined, ...words];
  const [program = '', ...args] = ['/usr/bin/env', '-i', ...inJournal];
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream! }).on('line', (line) => log.push(line));
  }
  t.teardown(() => child.exitCode ?? child.kill('SIGKILL'));
  return child;

  function environment(): string[] {
    const seconds = Number(settings('WatchdogSec')[0]);
    return [
      // systemd's own PATH, and where the tests have Node
      `PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:${process.execPath.replace(/\/[^/]*$/, '')}`,
      'LANG=C.UTF-8',
      `NOTIFY_SOCKET=${notify.path}`,
      `WATCHDOG_USEC=${(seconds * 1_000_000) / 10}`, // sooner than the unit, for a test
    ];
  }
}

export async function service(t: Test, server: WebServer): Promise<void> {
  const shared = mkdtempSync('/tmp/usher-unit-');
  chmodSync(shared, 0o755); // as /run is
  t.teardown(() => rmSync(shared, { recursive: true, force: true }));
  const runtimeDir = `${shared}/run`;
  const notify = new NotifySocket(t, `${shared}/notify`);
  await notify.hears('listening');
  const log: string[] = [];
  const owner = t; // of launchers, also of those that a check starts
  let launcher = start(owner, runtimeDir, notify, log);
  await notify.hears('READY=1');

  const site = await Site.create(t, server, { runtimeDir });
  const echo = site.program('bin/echo');
  const other = site.program('bin/other');
  await site.start({
    nginx: `
      usher_manager external;
      usher_app ${echo} on_demand=2;
      usher_app ${other} processes=1 ${isRoot ? 'user=nobody group=nogroup priority=5' : ''};
      server {
        listen 127.0.0.1:${site.port};
        location /echo { usher_pass ${echo}; include fastcgi_params; }
        location /other { usher_pass ${other}; include fastcgi_params; }
      }`,
    apache: `
      UsherManager external
      AppClass ${echo} -on-demand 2
      AppClass ${other} -processes 1 ${isRoot ? '-user nobody -group nogroup -priority 5' : ''}
      <Location /echo>
        UsherPass ${echo}
      </Location>
      <Location /other>
        UsherPass ${other}
      </Location>`,
  });
  const pidOf = async (path: string): Promise<number> =>
    Number((await site.request(`${path}?pid`)).text.trim());

  await site.check('the unit’s command is the launcher of external servers', async (t) => {
    t.equal(await pidOf('/echo').then(parentOf), launcher.pid, log.join('\n'));
    t.equal(parentOf((await status(runtimeDir)).manager.pid), launcher.pid);
    t.equal(notify.count('READY=1'), 1, 'ready is told once');
  });
  const confined = async (t: Test): Promise<void> => {
    const bounding = /^CapBnd:\t0*(\w+)$/m.exec(procStatus(launcher.pid!))?.[1];
    t.not(bounding, /^CapBnd:\t0*(\w+)$/m.exec(procStatus(process.pid))?.[1], 'it has fewer');
    t.equal(userOf(await pidOf('/echo')), site.instanceUid, 'to start as the workers’ user');
    const pid = await pidOf('/other');
    t.equal(userOf(pid), nobody, 'as a user of the class’s own');
    t.match(procStatus(pid), /^CapEff:\t0+$/m, 'which has none of them');
    const statOf = readFileSync(`/proc/${pid}/stat`, 'latin1');
    t.equal(statOf.slice(statOf.lastIndexOf(')') + 2).split(' ')[16], '5', 'with its priority');
    const class_ = await site.classStatus(other);
    t.equal(class_?.instances[0]?.state, 'ready', 'and to see in /proc that it is ready');
    signal(pid, 'SIGKILL');
    await eventually('another instance', async () => {
      const now = await pidOf('/other');
      return now > 0 && now !== pid;
    });
  };
  if (isRoot) await site.check('its capabilities are enough', confined);
  await site.check(
    'its log goes to the journal, a line of JSON an event, with its priority',
    async (t) => {
      await eventually('the manager is ready, it says', () =>
        log.some((line) => line.includes('"event":"manager.ready"')),
      );
      t.same(
        log.filter((line) => !/^<[346]>\{"level":"/.test(line)),
        [],
      );
      for (const who of ['launcher.started', 'manager.ready']) {
        t.ok(log.some((line) => line.startsWith('<6>') && line.includes(`"event":"${who}"`)));
      }
    },
  );
  await site.check('it tells the watchdog that it lives', async () => {
    await notify.hears('WATCHDOG=1', 2);
  });
  await site.check('ExecReload upgrades in place', async (t) => {
    const pids = [await pidOf('/echo'), await pidOf('/other')];
    const before = (await status(runtimeDir)).manager.pid;
    const [command = ''] = settings('ExecReload');
    const said = await run(command.replace('/run/usher', runtimeDir).split(' '));
    t.equal(said.status, 0, said.output);
    await eventually('another manager', async () => {
      const { pid } = (await status(runtimeDir)).manager;
      return pid !== before && parentOf(pid) === launcher.pid;
    });
    t.same([await pidOf('/echo'), await pidOf('/other')], pids, 'the programs are the same');
    const heard = notify.count('WATCHDOG=1');
    await notify.hears('WATCHDOG=1', heard + 1);
  });
  await site.check('programs survive its launcher, as KillMode=process lets them', async (t) => {
    t.same(settings('KillMode'), ['process']);
    const pids = [await pidOf('/echo'), await pidOf('/other')];
    const ready = notify.count('READY=1');
    launcher.kill('SIGKILL');
    await eventually('the launcher is gone', () => launcher.signalCode !== null);
    t.same([await pidOf('/echo'), await pidOf('/other')], pids, 'they serve without one');
    launcher = start(owner, runtimeDir, notify, log); // as Restart=always does
    await notify.hears('READY=1', ready + 1);
    t.same([await pidOf('/echo'), await pidOf('/other')], pids, 'and with the next one');
    const adopted = (await status(runtimeDir)).classes.flatMap((one) => one.instances);
    t.same(adopted.map(({ pid }) => pid).sort(), pids.sort(), 'which knows them');
  });
  await site.check('TERM, as systemctl stop sends it, ends everything', async (t) => {
    const pids = [await pidOf('/echo'), await pidOf('/other')];
    const manager = (await status(runtimeDir)).manager.pid;
    launcher.kill('SIGTERM');
    await eventually('the launcher ends', () => launcher.exitCode !== null);
    t.equal(launcher.exitCode, 0);
    t.same([manager, ...pids].filter(isRunning), [], 'before it ends itself');
    await notify.hears('STOPPING=1');
    t.equal(notify.count('STOPPING=1'), 1);
    t.ok(isRunning(site.pid), 'the web server runs on');
  });
  await site.end('TERM');
}

function procStatus(pid: number): string {
  return readFileSync(`/proc/${pid}/status`, 'latin1');
}
