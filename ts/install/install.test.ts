// SPDX-License-Identifier: Apache-2.0
import { existsSync, lstatSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { manifestPath, readManifest } from './manifest.ts';
import { Machine, told } from './testing/machine.ts';

const prefix = '/usr/local/lib/usher';
const loadFile = (m: Machine): string => join(m.etc, 'nginx/modules-available/mod-http-usher.conf');
const confFile = (m: Machine): string => join(m.etc, 'nginx/snippets/usher.conf');

t.test('installs for one server', async (t) => {
  const machine = new Machine(t);
  const { steps } = await machine.install();
  const manifest = readManifest(machine.root);
  const [tree] = manifest?.trees ?? [];
  t.match(tree?.path, /^\/usr\/local\/lib\/usher-1\.0\.0-[0-9a-f]{8}$/);
  t.match(machine.ran, [/^useradd --system .* usher$/]);
  t.same(
    told(steps, machine).filter((line) => !line.startsWith('run')),
    [
      'check nginx/1.2.3',
      `create ${tree?.path}`,
      `create ${prefix}`,
      'create /usr/local/bin/usher',
      'create /etc/logrotate.d/usher',
      'create /etc/nginx/modules-available/mod-http-usher.conf',
      'create /etc/nginx/modules-enabled/50-mod-http-usher.conf',
      'create /etc/nginx/snippets/usher.conf',
      'create /etc/nginx/conf.d/usher.conf',
      'check nginx/1.2.3',
    ],
  );
  t.equal(readlinkSync(join(machine.root, prefix)), tree?.path.split('/').at(-1));
  t.equal(machine.read(`${prefix}/bin/usher`), '#!/usr/bin/node\n', 'programs name their Node');
  t.equal(readlinkSync(join(machine.root, prefix, 'build/node')), '/usr/bin/node');
  t.match(machine.read(confFile(machine)), /^usher_manager embedded;$/m);
  t.ok(existsSync(join(machine.root, prefix, 'node_modules/some/node_modules/deep')));
  t.notOk(existsSync(join(machine.root, prefix, 'node_modules/other')), 'what nobody needs');
  t.notOk(
    existsSync(join(machine.root, prefix, 'node_modules/deep')),
    'nor what is not found there',
  );
  t.notOk(existsSync(join(machine.root, prefix, 'dist/.tsbuildinfo')));
  t.equal(lstatSync(join(machine.root, prefix, 'dist/cli/main.js')).mode & 0o777, 0o644);
  t.same(manifest?.servers, ['nginx']);

  await t.test('a second time nothing changes', async (t) => {
    const before = machine.contents();
    const { steps } = await machine.install();
    t.same(machine.contents(), before);
    t.same([...new Set(steps.map(({ action }) => action))].sort(), ['already', 'check']);
  });
  await t.test('another server joins, uninstalling one leaves the other', async (t) => {
    await machine.install({ servers: ['apache'] });
    t.same(readManifest(machine.root)?.servers, ['apache', 'nginx']);
    const load = join(machine.etc, 'apache2/mods-enabled/usher.load');
    t.equal(
      machine.read(load).split('\n')[1],
      `LoadModule usher_module ${prefix}/build/mod_usher.so`,
    );
    await machine.uninstall({ servers: ['nginx'] });
    t.notOk(existsSync(join(machine.root, loadFile(machine))));
    t.ok(existsSync(join(machine.root, load)));
    t.same(readManifest(machine.root)?.servers, ['apache']);
  });
  await t.test('the last one takes everything along', async (t) => {
    await machine.uninstall({ servers: ['apache'] });
    t.same(machine.contents(), {});
    t.notOk(machine.hasUser);
    t.equal(await machine.uninstall(), null);
  });
});

t.test('the same files give the same tree, whatever the umask', async (t) => {
  const former = process.umask(0o077);
  t.teardown(() => process.umask(former));
  const [one, other] = [new Machine(t), new Machine(t)];
  await one.install();
  await other.install();
  t.equal(readManifest(one.root)?.trees[0]?.path, readManifest(other.root)?.trees[0]?.path);
  for (const path of ['/usr/local/lib', `${prefix}/dist`, `${prefix}/bin/usher`, confFile(one)]) {
    t.equal(lstatSync(join(one.root, path)).mode & 0o044, 0o044, `${path} is for all to read`);
  }
});

t.test('what somebody has changed is left alone', async (t) => {
  const machine = new Machine(t);
  await machine.install();
  const conf = confFile(machine);
  machine.write(conf, '# mine\n');
  rmSync(join(machine.root, loadFile(machine)));
  machine.release('1.0.1');
  const { steps } = await machine.install();
  t.equal(machine.read(conf), '# mine\n');
  t.match(
    told(steps, machine),
    [`keep ${conf.replace(machine.folder, '')}`].map((one) => one) && /./,
  );
  t.ok(told(steps, machine).includes('keep /etc/nginx/snippets/usher.conf'));
  t.ok(existsSync(join(machine.root, loadFile(machine))), 'what was taken away comes back');
  const tree = readManifest(machine.root)?.trees[0]?.path ?? '';
  machine.write(`${tree}/dist/cli/main.js`, '// corrected by hand\n');
  const report = await machine.uninstall();
  t.same(
    Object.entries(machine.contents()).filter(([, text]) => text !== 'directory'),
    [
      [conf, '# mine\n'],
      [`${tree}/dist/cli/main.js`, '// corrected by hand\n'],
    ],
  );
  t.ok(told(report?.steps ?? [], machine).includes(`keep ${tree}/dist/cli/main.js`));
});

t.test('below another root only files are made', async (t) => {
  const machine = new Machine(t);
  machine.uid = 1000;
  machine.hasSystemd = true;
  const root = join(machine.root, 'to/be/made');
  const { next } = await machine.install({ root, isStaged: true });
  t.same(machine.ran, []);
  t.match(next.at(-1), /^systemctl enable --now usher /);
  t.equal(readlinkSync(join(root, '/usr/local/bin/usher')), `${prefix}/bin/usher`);
  await machine.uninstall({ root, isStaged: true });
  t.same(machine.contents(), {
    '/to': 'directory',
    '/to/be': 'directory',
    '/to/be/made': 'directory',
  });
});

t.test('what was there before Usher is left alone', async (t) => {
  const machine = new Machine(t);
  machine.write('/usr/local/bin/usher', 'another program');
  const { steps } = await machine.install();
  t.ok(told(steps, machine).includes('keep /usr/local/bin/usher'));
  await machine.uninstall();
  t.equal(machine.read('/usr/local/bin/usher'), 'another program');
});

t.test('an upgrade', async (t) => {
  const machine = new Machine(t);
  await machine.install();
  const [former] = readManifest(machine.root)?.trees ?? [];
  machine.release('1.1.0');

  await t.test('keeps the former version while it runs', async (t) => {
    machine.running.push({ pid: 17, path: `${former?.path}/build/usher-launcher` });
    const { next } = await machine.install();
    t.equal(machine.read(`${prefix}/dist/cli/main.js`), '// 1.1.0\n');
    t.equal(machine.read(`${former?.path}/dist/cli/main.js`), '// 1.0.0\n');
    t.ok(
      next.some((line) => line.startsWith('usher upgrade ')),
      `${next}`,
    );
  });
  await t.test('and removes it later', async (t) => {
    machine.running.length = 0;
    await machine.install();
    t.notOk(existsSync(join(machine.root, former?.path ?? '')));
    t.equal(readManifest(machine.root)?.trees.length, 1);
  });
});

t.test('systemd: a service, and back to embedded', async (t) => {
  const machine = new Machine(t);
  machine.hasSystemd = true;
  await machine.install();
  t.match(machine.ran, [/^useradd/, 'systemctl daemon-reload', 'systemctl enable --now usher']);
  const unit = machine.read('/etc/systemd/system/usher.service');
  t.match(
    unit,
    `ExecStart=${prefix}/build/usher-launcher --mode external --runtime-dir /run/usher --node /usr/bin/node `,
  );
  t.match(machine.read(confFile(machine)), /^usher_manager external;$/m);

  machine.answer('systemctl is-active', { status: 0, output: '' });
  await t.rejects(machine.install({ manager: 'embedded' }), { message: /systemctl stop usher/ });
  machine.answer('systemctl is-active', { status: 3, output: '' });
  machine.ran.length = 0;
  await machine.install({ manager: 'embedded' });
  t.same(machine.ran, ['systemctl disable usher']);
  t.notOk(existsSync(join(machine.root, '/etc/systemd/system/usher.service')));
  t.match(machine.read(confFile(machine)), /^usher_manager embedded;$/m);
  await machine.install({ manager: 'external' });
  machine.ran.length = 0;
  await machine.uninstall();
  t.same(machine.ran, ['systemctl disable usher', 'userdel usher', 'systemctl daemon-reload']);
  t.same(machine.contents(), {});
});

t.test('nothing is changed', async (t) => {
  const refused = async (
    t: Test,
    machine: Machine,
    message: RegExp,
    changes = {},
  ): Promise<void> => {
    const before = machine.contents();
    await t.rejects(machine.install(changes), { name: 'InstallError', message });
    t.same(machine.contents(), before);
    t.notOk(machine.hasUser);
  };
  await t.test('not root', async (t) => {
    const machine = new Machine(t);
    machine.uid = 1000;
    await refused(t, machine, /only root/);
  });
  await t.test('no such server', async (t) => {
    const machine = new Machine(t);
    machine.answer('nginx -V', { status: null, output: '' });
    await refused(t, machine, /nginx is not installed: apt-get install nginx/);
  });
  await t.test('a prefix that others can write to', async (t) => {
    const machine = new Machine(t);
    machine.folderFault = '/usr/local can be written by others';
    await refused(t, machine, /\/usr\/local can be written by others/);
  });
  await t.test('something else at the prefix', async (t) => {
    const machine = new Machine(t);
    machine.write(`${prefix}/mine`, '');
    await refused(t, machine, /lib\/usher is there already, and not by "usher install"/);
  });
  await t.test('another prefix than before', async (t) => {
    const machine = new Machine(t);
    await machine.install();
    await t.rejects(machine.install({ prefix: '/opt/usher' }), {
      message: /is installed at \/usr\/local/,
    });
  });
  await t.test('a module that does not fit, and nothing to build it from', async (t) => {
    const machine = new Machine(t);
    machine.answer('nginx -t -q -e', { status: 1, output: 'is not binary compatible' });
    await refused(
      t,
      machine,
      /no module for nginx\/1\.2\.3: is not binary compatible\nTo build it: apt-get install .*nginx-dev/,
    );
  });
  await t.test('a module that cannot be built for it', async (t) => {
    const machine = new Machine(t);
    for (const path of [
      'scripts/build.mjs',
      'CMakeLists.txt',
      'node_modules/cmake-js/a',
      'nginx/config',
    ]) {
      machine.put(join(machine.source, path), '');
    }
    const module = join(machine.source, 'build/ngx_http_usher_module.so');
    machine.put(module, 'former');
    machine.answer('nginx -t -q -e', { status: 1, output: 'is not binary compatible' });
    machine.answer(process.execPath, { status: 1, output: 'no compiler' });
    await refused(t, machine, /building it failed:\nno compiler\nTo build it/);
    t.equal(readFileSync(module, 'utf8'), 'former');

    machine.answer(process.execPath, () => {
      machine.answer('nginx -t -q -e', { status: 0, output: '' });
      machine.put(module, 'latter');
      return { status: 0, output: '' };
    });
    const { steps } = await machine.install();
    t.same(told(steps, machine).slice(0, 2), [
      'build /source/build/ngx_http_usher_module.so',
      'check nginx/1.2.3',
    ]);
    t.equal(machine.read(`${prefix}/build/ngx_http_usher_module.so`), 'latter');
  });
  await t.test('a configuration that is broken already', async (t) => {
    const machine = new Machine(t);
    machine.answer('nginx -t -q', { status: 1, output: 'unknown directive "x"' });
    machine.answer('nginx -t -q -e', { status: 0, output: '' });
    await refused(t, machine, /broken as it is; put it right first:\nunknown directive "x"/);
  });
  await t.test('--dry-run', async (t) => {
    const machine = new Machine(t);
    const { steps } = await machine.install({ isDryRun: true, servers: ['nginx', 'apache'] });
    t.ok(told(steps, machine).includes('create /etc/apache2/mods-enabled/usher.load'));
    t.same(machine.contents(), {});
    t.same(machine.ran, []);
    await machine.install();
    const before = machine.contents();
    machine.ran.length = 0;
    await machine.uninstall({ isDryRun: true });
    t.same(machine.contents(), before);
    t.same(machine.ran, []);
  });
});

t.test('after an upgrade of the server its old module is no obstacle', async (t) => {
  const machine = new Machine(t);
  await machine.install();
  const output = `module "${prefix}/build/ngx_http_usher_module.so" version 1 instead of 2`;
  let checks = 0;
  machine.answer('nginx -t -q', () => ({ status: checks++ === 0 ? 1 : 0, output }));
  machine.answer('nginx -t -q -e', { status: 0, output: '' });
  machine.release('1.0.1');
  await machine.install();
  t.equal(machine.read(`${prefix}/dist/cli/main.js`), '// 1.0.1\n');
});

t.test('a failure in the middle undoes what was done', async (t) => {
  const installed = async (t: Test): Promise<Machine> => {
    const machine = new Machine(t);
    machine.hasSystemd = true;
    await machine.install();
    machine.ran.length = 0;
    machine.release('2.0.0');
    return machine;
  };
  const failing = { status: 1, output: 'no' };
  await t.test('the server does not take it', async (t) => {
    const machine = new Machine(t);
    machine.hasSystemd = true;
    let checks = 0;
    machine.answer('nginx -t -q', () => (checks++ === 0 ? { status: 0, output: '' } : failing));
    machine.answer('nginx -t -q -e', { status: 0, output: '' });
    await t.rejects(machine.install(), {
      message: /does not take its configuration with Usher in it:\nno\nnothing was changed/,
    });
    t.same(machine.contents(), {});
    t.notOk(machine.hasUser);
    t.same(machine.ran.slice(-3), [
      'systemctl disable --now usher',
      'systemctl daemon-reload',
      'userdel usher',
    ]);
  });
  await t.test('of an upgrade', async (t) => {
    const machine = await installed(t);
    const before = machine.contents();
    let checks = 0;
    machine.answer('nginx -t -q', () => (checks++ === 0 ? { status: 0, output: '' } : failing));
    machine.answer('nginx -t -q -e', { status: 0, output: '' });
    await t.rejects(machine.install({ servers: ['nginx', 'apache'] }), {
      message: /nothing was changed/,
    });
    t.same(machine.contents(), before);
  });
  await t.test('interrupted', async (t) => {
    const machine = await installed(t);
    const before = machine.contents();
    for (const last of ['2.0.0', 'usher.load']) {
      const controller = new AbortController();
      const tell = ({ subject }: { subject: string }): void => {
        if (subject.includes(last)) controller.abort(new Error('ended by SIGINT'));
      };
      const going = machine.install({ servers: ['apache'], signal: controller.signal, tell });
      await t.rejects(going, { message: /^ended by SIGINT\nnothing was changed/ }, last);
      t.same(machine.contents(), before, last);
    }
  });
  await t.test('the file system', async (t) => {
    const machine = await installed(t);
    machine.write(join(machine.etc, 'apache2/mods-available'), 'not a directory');
    const before = machine.contents();
    await t.rejects(machine.install({ servers: ['apache'] }), {
      message: /ENOTDIR.*\nnothing was changed/,
    });
    t.same(machine.contents(), before);
  });
});

t.test('uninstalling', async (t) => {
  await t.test('is refused while the configuration uses Usher', async (t) => {
    const machine = new Machine(t);
    await machine.install();
    const before = machine.contents();
    const dump = [
      `# configuration file ${confFile(machine).replace('snippets', 'conf.d')}:`,
      'usher_manager embedded;',
      '# configuration file /etc/nginx/sites-enabled/shop:',
      'server {',
      '    location / { usher_pass php; }',
      '}',
    ].join('\n');
    machine.answer('nginx -T', { status: 0, output: dump });
    await t.rejects(machine.uninstall(), {
      message:
        /would not start any more: .*uses Usher at\n {2}\/etc\/nginx\/sites-enabled\/shop:2: location \/ \{ usher_pass php; \}\nNothing was changed/,
    });
    t.same(machine.contents(), before);
    await machine.uninstall({ isForced: true });
    t.same(machine.contents(), {});
  });
  await t.test('is undone where only the server knew that it uses it', async (t) => {
    const machine = new Machine(t);
    await machine.install();
    const before = machine.contents();
    machine.answer('nginx -t -q', { status: 1, output: 'unknown directive "usher_x" in a:1' });
    await t.rejects(machine.uninstall(), { message: /usher_x" in a:1\nnothing was changed/ });
    t.same(machine.contents(), before);
  });
  await t.test('is refused while a manager runs', async (t) => {
    const machine = new Machine(t);
    await machine.install();
    const path = `${readManifest(machine.root)?.trees[0]?.path}/build/usher-launcher`;
    machine.running.push({ pid: 17, path });
    await t.rejects(machine.uninstall(), { message: /a manager runs .*\(pid 17\): --stop/ });
    machine.answer('/usr/bin/node', () => {
      machine.running.length = 0;
      return { status: 0, output: '' };
    });
    const report = await machine.uninstall({ stops: true });
    t.ok(told(report?.steps ?? [], machine).includes('run usher stop'));
    t.same(machine.contents(), {});
  });
  await t.test('knows what an installation that was killed has left', async (t) => {
    const machine = new Machine(t);
    let whole = {};
    const tell = ({ subject }: { subject: string }): void => {
      if (subject.endsWith('50-mod-http-usher.conf')) whole = machine.contents();
    };
    await machine.install({ tell });
    await machine.uninstall();
    for (const [path, text] of Object.entries<string>(whole)) {
      if (text !== 'directory' && !text.startsWith('-> ')) machine.write(path, text);
    }
    t.ok(existsSync(join(machine.root, loadFile(machine))));
    t.ok(readManifest(machine.root));
    await machine.uninstall();
    t.same(
      Object.values(machine.contents()).filter((text) => text !== 'directory'),
      [],
    );
  });
});

t.test('a manifest that is broken is told', async (t) => {
  const machine = new Machine(t);
  t.equal(readManifest(machine.root), null);
  machine.write(manifestPath, '{');
  t.throws(() => readManifest(machine.root), { message: /installed\.json: not what this version/ });
});
