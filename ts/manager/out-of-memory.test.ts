// SPDX-License-Identifier: Apache-2.0
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { OomCounters, oomVerdict } from './out-of-memory.ts';

/** A root directory with these files. */
function rootWith(dir: string, files: Record<string, string>): string {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(join(dir, dirname(path)), { recursive: true });
    writeFileSync(join(dir, path), text);
  }
  return `${dir}/`;
}

t.test('control groups of version 2', async (t) => {
  const root = rootWith(t.testdir({}), {
    'proc/self/cgroup': '0::/system.slice/usher.service\n',
    'proc/vmstat': 'pgpgin 1\noom_kill 7\n',
    'sys/fs/cgroup/system.slice/usher.service/memory.events': 'low 0\noom 3\noom_kill 2\n',
  });
  t.same(new OomCounters(root).read(), { machine: 7, group: 2 });
});

t.test('version 1, seen from inside a container', async (t) => {
  const root = rootWith(t.testdir({}), {
    'proc/self/cgroup': '5:cpu,cpuacct:/a\n4:memory:/outside/box\n0::/\n',
    'proc/vmstat': 'oom_kill 0\n',
    'sys/fs/cgroup/memory/memory.oom_control': 'oom_kill_disable 0\nunder_oom 0\noom_kill 1\n',
  });
  t.same(new OomCounters(root).read(), { machine: 0, group: 1 });
});

t.test('a system that does not tell', async (t) => {
  t.same(new OomCounters(`${t.testdir({})}/`).read(), { machine: null, group: null });
  t.ok(new OomCounters().read(), 'and this one');
});

t.test('who was killed', async (t) => {
  const before = { machine: 4, group: 1 };
  t.equal(oomVerdict(before, { machine: 5, group: 2 }), 'group');
  t.equal(oomVerdict(before, { machine: 5, group: 1 }), 'machine');
  t.equal(oomVerdict(before, before), null);
  t.equal(oomVerdict({ machine: null, group: null }, { machine: 5, group: 2 }), null);
});
