// SPDX-License-Identifier: Apache-2.0
// What the kernel may forbid that modes do not show: SELinux, AppArmor, capabilities.
import { accountOf } from '../accounts.ts';
import { type Check, failure, ok, orOk, some, warning } from '../check.ts';
import { type Host, textOf } from '../host.ts';
import { field, mastersOf, programName, type RunningProcess } from '../processes.ts';
import type { FoundOut } from '../report.ts';
import { plansOf, type Scene } from '../scene.ts';

const group = 'Security modules and rights';

function labelled({
  host,
  processes,
  runtimeDirs,
}: Scene): { one: RunningProcess; label: string }[] {
  const launchers = runtimeDirs.flatMap(({ launcher }) => launcher ?? []);
  const all = [...mastersOf(processes, 'nginx'), ...mastersOf(processes, 'apache'), ...launchers];
  return all.flatMap((one) => {
    const label = labelOf(host, one.pid);
    return label === null ? [] : [{ one, label }];
  });
}

function labelOf(host: Host, pid: number): string | null {
  return textOf(host, `/proc/${pid}/attr/current`)?.replace(/\0/g, '').trim() ?? null;
}

const selinux: Check = {
  id: 'selinux',
  group,
  looksAt: 'whether SELinux is enforcing and confines web servers or launcher',
  worst: 'warning',
  remedy: '`ausearch -m avc` shows what was denied; allow it by a module of your own',
  run(scene) {
    const mode = textOf(scene.host, '/sys/fs/selinux/enforce')?.trim();
    if (mode !== '1') return [ok(mode === '0' ? 'SELinux is permissive' : 'SELinux is not there')];
    const confined = labelled(scene).filter(
      ({ label }) => !/unconfined/.test(label) && label.includes(':'),
    );
    if (confined.length === 0) return [ok('SELinux is enforcing, and confines none of them')];
    const names = some(
      confined.map(({ one, label }) => `${programName(one)}, pid ${one.pid} (${label})`),
    );
    const why =
      'it must be able to connect to sockets in the runtime directory, map its channel/, and, embedded, start the launcher';
    const fix =
      'ausearch -m avc -ts recent | audit2allow -M usher && semodule -i usher.pp; programs on other hosts: setsebool -P httpd_can_network_connect 1';
    return [warning(`SELinux is enforcing and confines ${names}`, fix, { why })];
  },
};

const apparmor: Check = {
  id: 'apparmor',
  group,
  looksAt: 'whether a profile of AppArmor is enforced on web servers or launcher',
  worst: 'warning',
  remedy: 'let the profile allow the runtime directory and the installation',
  run(scene) {
    if (textOf(scene.host, '/sys/module/apparmor/parameters/enabled')?.trim() !== 'Y')
      return [ok('AppArmor is not there')];
    const confined = labelled(scene).filter(({ label }) => label.endsWith('(enforce)'));
    const { root } = scene.installation;
    const dirs = some(scene.runtimeDirs.map(({ path }) => `${path}/** rwkml`));
    return orOk(
      confined.map(({ one, label }) => {
        const fix = `allow in the profile: ${dirs}, ${root}/** mr, and programs (embedded: ${root}/build/usher-launcher Ux); then apparmor_parser -r`;
        const why = 'journalctl -k | grep DENIED shows what it has refused';
        return warning(`AppArmor confines ${programName(one)}: ${label}`, fix, {
          where: `pid ${one.pid}`,
          why,
        });
      }),
      'no profile of AppArmor is enforced on them',
    );
  },
};

const capabilities = new Map([
  ['CAP_CHOWN', 0],
  ['CAP_KILL', 5],
  ['CAP_SETGID', 6],
  ['CAP_SETUID', 7],
]);
const CAP_SYS_PTRACE = 19;

const rights: Check = {
  id: 'rights',
  group,
  looksAt:
    'NoNewPrivs of the launcher where classes have `-allow-setuid`; where it is root, its capabilities and the user that the manager is',
  worst: 'error',
  remedy: '`NoNewPrivileges=no`, `CapabilityBoundingSet=` as in packaging/systemd/usher.service',
  async run(scene) {
    const plans = (await plansOf(scene)) ?? [];
    const found = scene.runtimeDirs.map(async ({ path, launcher }): Promise<FoundOut[]> => {
      if (launcher === null) return [];
      const status = textOf(scene.host, `/proc/${launcher.pid}/status`) ?? '';
      const where = `usher-launcher, pid ${launcher.pid}`;
      const setuid = plans.filter(({ allowSetuid }) => allowSetuid).map(({ name }) => name);
      const view = await scene.manager(path);
      const wrong = launcher.uid === 0 ? missingRights(status, where) : [];
      if (field(status, 'NoNewPrivs') === '1' && setuid.length > 0) {
        const fix =
          'NoNewPrivileges=no in its unit (container: no --security-opt no-new-privileges)';
        const what = `-allow-setuid of ${some(setuid)} has no effect: NoNewPrivs is set`;
        wrong.push(failure(what, fix, { where }));
      }
      if (launcher.uid === 0 && view.state === 'alive') {
        wrong.push(...userOf(scene.host, view.pong.pid));
      }
      return orOk(wrong, 'launcher and manager have the rights that they need', { where });
    });
    return (await Promise.all(found)).flat();
  },
};

/** Of a manager whose launcher is root. */
function userOf(host: Host, pid: number): FoundOut[] {
  const ids = field(textOf(host, `/proc/${pid}/status`) ?? '', 'Uid');
  if (ids === '') return [];
  const { name } = accountOf(host, Number(ids.split(/\s+/)[0]));
  if (name === 'usher') return [];
  const fix = 'useradd --system --shell /usr/sbin/nologin usher, then usher upgrade';
  const why = 'other services may run as that user, and could reach the manager’s memory';
  return [warning(`the manager runs as ${name}, not as usher`, fix, { where: `pid ${pid}`, why })];
}

function missingRights(status: string, where: string): FoundOut[] {
  const text = field(status, 'CapEff');
  if (!/^[0-9a-f]+$/.test(text)) return [];
  const effective = BigInt(`0x${text}`);
  const has = (bit: number): boolean => (effective & (1n << BigInt(bit))) !== 0n;
  const missing = [...capabilities].filter(([, bit]) => !has(bit)).map(([name]) => name);
  const fix = 'CapabilityBoundingSet= as in packaging/systemd/usher.service (container: --cap-add)';
  const found: FoundOut[] = [];
  if (missing.length > 0) {
    const why = 'it cannot start or end programs of other users';
    found.push(failure(`the launcher is root without ${missing.join(', ')}`, fix, { where, why }));
  }
  if (!has(CAP_SYS_PTRACE)) {
    const why =
      'after its death the next one cannot take over the sockets of programs that run on: they serve, and nothing else starts there';
    found.push(warning('the launcher has no CAP_SYS_PTRACE', fix, { where, why }));
  }
  return found;
}

export const securityChecks: readonly Check[] = [selinux, apparmor, rights];
