// SPDX-License-Identifier: Apache-2.0
// Checks of the installation, on installations that are made up.
import { createHash } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { installationChecks, isNewEnough } from './checks/installation.ts';
import {
  type FakeMachine,
  fakeScene,
  launcherFiles,
  look,
  type Tree,
} from './testing/fake-host.ts';

const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

function installation(changes: Tree = {}): Tree {
  return {
    [`${root}/package.json`]:
      '{"version":"1.2.3","engines":{"node":">=20.17.0"},"dependencies":{"pino":""}}',
    [`${root}/build/addon.node`]: 'addon',
    [`${root}/build/usher-launcher`]: { text: '', mode: 0o755 },
    [`${root}/build/usher-forker`]: { text: '', mode: 0o755 },
    [`${root}/dist/cli/main.js`]: '',
    [`${root}/bin/usher`]: '',
    [`${root}/node_modules/pino/package.json`]: '',
    ...changes,
  };
}

const version: FakeMachine['run'] = (_program, args) =>
  args[0] === '--version' ? { output: 'usher-launcher 1.2.3\n' } : undefined;
const see = (id: string, files: Tree, machine: Partial<FakeMachine> = {}) =>
  look(installationChecks, id, fakeScene({ files: installation(files), run: version, ...machine }));

t.test('node', async (t) => {
  t.match(await see('node', {}), { statuses: 'ok' });
  t.match(await see('node', { [`${root}/package.json`]: '{"engines":{"node":">=999"}}' }), {
    statuses: 'error',
    text: /is too old: >=999 is needed/,
  });
  t.match(await see('node', launcherFiles(7, ['--node', '/opt/node/bin/node'])), {
    statuses: 'error',
    text: /launcher's Node is not there: \/opt\/node\/bin\/node \| pid 7/,
  });
  t.match(await see('node', launcherFiles(7, ['--node', 'node'])), { statuses: 'ok' });
  t.ok(isNewEnough('20.17.0', '>=20.17.0'));
  t.ok(isNewEnough('22.0.1', '>=20.17.0'));
  t.notOk(isNewEnough('20.9.9', '>=20.17.0'));
});

t.test('addon', async (t) => {
  t.match(await see('addon', {}), { statuses: 'ok', text: /layout 4/ });
  const broken = fakeScene({ files: installation(), run: version }, null);
  t.match(await look(installationChecks, 'addon', broken), {
    statuses: 'error',
    text: /cannot be loaded \| .*addon.node \| Error: .*invalid ELF header.* \| .*build:native/,
  });
});

t.test('build', async (t) => {
  t.match(await see('build', {}), { statuses: 'ok', text: /complete, version 1.2.3/ });
  const { [`${root}/build/usher-forker`]: _, ...without } = installation();
  t.match(await look(installationChecks, 'build', fakeScene({ files: without, run: version })), {
    statuses: 'error',
    text: /not there: usher-forker/,
  });
  const other: FakeMachine['run'] = () => ({ output: 'usher-launcher 1.0.0\n' });
  t.match(await see('build', {}, { run: other }), {
    statuses: 'error',
    text: /usher-launcher is of version 1.0.0, the rest of 1.2.3/,
  });
  t.match(await see('build', { [`${root}/native/launcher/main.c`]: { text: '', mtimeMs: 5 } }), {
    statuses: 'warning',
    text: /native\/launcher\/main.c is newer/,
  });
  t.match(await see('build', { [`${root}/ts/manager/main.ts`]: { text: '', mtimeMs: 5 } }), {
    statuses: 'warning',
    text: /ts\/manager\/main.ts is newer than all of dist/,
  });
  t.match(await see('build', { [`${root}/ts/manager/main.test.ts`]: { text: '', mtimeMs: 5 } }), {
    statuses: 'ok',
  });
});

t.test('ownership', async (t) => {
  t.match(await see('ownership', {}), { statuses: 'ok', text: /only root may write/ });
  t.match(await see('ownership', { [`${root}/dist/cli/main.js`]: { text: '', mode: 0o666 } }), {
    statuses: 'error',
    text: /may be written by others \(mode 0666\) \| .*dist\/cli\/main.js .* chmod go-w/,
  });
  const top = `/${root.split('/')[1]}`;
  t.match(await see('ownership', { [top]: { kind: 'directory', mode: 0o777 } }), {
    statuses: 'error',
    text: /may be written by others/,
  });
  t.match(
    await see('ownership', { [top]: { kind: 'directory', mode: 0o1777 } }),
    {
      statuses: 'ok',
    },
    'what is there cannot be replaced',
  );
  t.match(
    await see('ownership', {
      [`${root}/bin/usher`]: { text: '', uid: 1000 },
      '/etc/passwd': 'ann:x:1000:1000::/:',
    }),
    {
      statuses: 'error',
      text: /belongs to ann/,
    },
  );
  t.match(await see('ownership', { [`${root}/dist/cli/main.js`]: { text: '', mode: 0o640 } }), {
    statuses: 'error',
    text: /not everybody may read .*main.js/,
  });
  const own = { text: '', uid: 1000, mode: 0o600 };
  t.match(await see('ownership', { [`${root}/bin/usher`]: own }, { uid: 1000 }), {
    statuses: 'ok',
    text: /only you and root/,
  });
});

t.test('path', async (t) => {
  t.match(await see('path', {}), { statuses: 'skipped' });
  const env = { PATH: '/usr/bin:/bin' };
  t.match(await see('path', { '/bin/usher': { link: `${root}/bin/usher` } }, { env }), {
    statuses: 'ok',
  });
  t.match(await see('path', { '/usr/bin/usher': 'other' }, { env }), {
    statuses: 'warning',
    text: /another one: \/usr\/bin\/usher/,
  });
});

t.test('installed', async (t) => {
  const hash = createHash('sha256').update('code').digest('hex');
  const manifest = (changes: object = {}) =>
    JSON.stringify({
      ...{ schema: 1, prefix: '/usr/local/lib/usher', node: '', manager: 'embedded', servers: [] },
      trees: [
        { path: root, version: '1.2.3', files: { 'dist/x.js': hash, 'build/node': '-> /n' } },
      ],
      entries: [
        { part: 'package', kind: 'link', path: '/usr/local/bin/usher', target: '' },
        { part: 'package', kind: 'user', path: 'usher' },
      ],
      ...changes,
    });
  const whole: Tree = {
    '/var/lib/usher/installed.json': manifest(),
    '/usr/local/lib/usher': { link: root },
    '/usr/local/bin/usher': { link: `${root}/bin/usher` },
    [`${root}/dist/x.js`]: 'code',
    [`${root}/build/node`]: { link: '/n' },
    '/n': '',
  };
  t.match(await see('installed', {}), { statuses: 'skipped' });
  t.match(await see('installed', whole), {
    statuses: 'ok',
    text: /as usher install left it, version 1.2.3/,
  });
  t.match(await see('installed', { ...whole, [`${root}/dist/x.js`]: 'other' }), {
    statuses: 'error',
    text: /not as it was installed: dist\/x.js/,
  });
  const { '/usr/local/bin/usher': _, ...without } = whole;
  t.match(await see('installed', without), {
    statuses: 'warning',
    text: /no longer there: \/usr\/local\/bin\/usher/,
  });
  t.match(await see('installed', { ...whole, '/usr/local/lib/usher': { kind: 'directory' } }), {
    statuses: 'skipped',
    text: /another installation than this one/,
  });
  t.match(await see('installed', { '/var/lib/usher/installed.json': '{}' }), { statuses: 'error' });
});
