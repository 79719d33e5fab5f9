// SPDX-License-Identifier: Apache-2.0
// Is what was installed whole, of one version, and safe to be run by root?
import { createHash } from 'node:crypto';
import { dirname } from 'node:path';
import { type Manifest, manifestPath, type Tree } from '../../install/manifest.ts';
import { accountOf, directoriesOf, isAllowed, octal } from '../accounts.ts';
import { type Check, failure, ok, orOk, skipped, some, warning } from '../check.ts';
import { attempt, type FileFacts, type Host, isDenied, textOf } from '../host.ts';
import type { FoundOut } from '../report.ts';

const built = ['addon.node', 'usher-launcher', 'usher-forker'];

const node: Check = {
  id: 'node',
  group: 'Installation',
  looksAt:
    'the version of Node that runs `usher`, and the Node that each launcher starts its manager with',
  worst: 'error',
  remedy: 'install a newer Node; start the manager again where its Node has gone',
  run({ host, installation, processes }) {
    const found: FoundOut[] = [];
    const { engines } = installation;
    if (!isNewEnough(process.versions.node, engines)) {
      const what = `Node ${process.versions.node} is too old: ${engines} is needed`;
      found.push(failure(what, 'install a newer Node', { where: process.execPath }));
    }
    for (const { kind, words, pid } of processes) {
      const program = kind === 'launcher' ? (words[words.indexOf('--node') + 1] ?? '') : '';
      const isGone = program.startsWith('/') && attempt(() => host.stat(program)) === null;
      if (!isGone || !words.includes('--node')) continue;
      const fix = 'put it back, or build Usher with the Node that is there and restart the manager';
      const why = 'a manager that dies is not started again';
      found.push(
        failure(`the launcher's Node is not there: ${program}`, fix, { where: `pid ${pid}`, why }),
      );
    }
    return orOk(found, `Node ${process.versions.node}`, { where: process.execPath });
  },
};

/** @param range ">=20.17.0". */
export function isNewEnough(version: string, range: string): boolean {
  const parts = (text: string): number[] => text.replace(/^\D*/, '').split('.').map(Number);
  const [have, need] = [parts(version), parts(range)];
  for (const [i, wanted] of need.entries()) {
    if ((have[i] ?? 0) !== wanted) return (have[i] ?? 0) > wanted;
  }
  return true;
}

const addon: Check = {
  id: 'addon',
  group: 'Installation',
  looksAt: 'whether `build/addon.node` can be loaded by this Node',
  worst: 'error',
  remedy: 'build it again: `npm run build:native`',
  async run({ classes, installation: { root } }) {
    const where = `${root}/build/addon.node`;
    const outcome = await classes;
    if (outcome.failure === null) {
      return [ok(`the addon loads (layout ${outcome.layoutVersion} of the channel)`, { where })];
    }
    const why = `${outcome.failure}; no manager can start, and classes are not checked`;
    const fix = `build it for this Node: npm run build:native (in ${root})`;
    return [failure('the addon cannot be loaded', fix, { where, why })];
  },
};

const build: Check = {
  id: 'build',
  group: 'Installation',
  looksAt:
    'whether everything that was built is there, from one version, and not older than its sources',
  worst: 'error',
  remedy: '`npm run build`, or install again',
  async run({ host, installation: { root, version } }) {
    const missing = built.filter(
      (name) => attempt(() => host.stat(`${root}/build/${name}`)) === null,
    );
    const fix = `build again: npm run build (in ${root}), or install again`;
    if (missing.length > 0) {
      return [failure(`not there: ${missing.join(', ')}`, fix, { where: `${root}/build` })];
    }
    const launcher = `${root}/build/usher-launcher`;
    const { output } = await host.run(launcher, ['--version'], { timeoutMs: 3000 });
    const its = /^usher-launcher (\S+)$/m.exec(output)?.[1];
    if (its !== version) {
      const what = `usher-launcher is of version ${its ?? 'unknown'}, the rest of ${version}`;
      const why = its === undefined ? output.trim().slice(0, 300) : 'they refuse each other';
      return [failure(what, fix, { where: launcher, why })];
    }
    return orOk(staleParts(host, root, fix), `complete, version ${version}`, { where: root });
  },
};

const nativeFolders = [
  ...['os', 'channel', 'options', 'registration', 'launcher', 'forker', 'fastcgi', 'addon'].map(
    (name) => `native/${name}`,
  ),
  ...['nginx', 'apache'],
];

/** Only a checkout has sources. */
function staleParts(host: Host, root: string, fix: string): FoundOut[] {
  const results = built.map((name) => `build/${name}`);
  const modules = ['build/mod_usher.so', 'build/ngx_http_usher_module.so'];
  const native = newest(host, root, nativeFolders, /\.(c|cc|h|def)$/);
  const newestBuilt = Math.max(
    ...[...results, ...modules].map((path) => timeOf(host, `${root}/${path}`)),
  );
  const found: FoundOut[] = [];
  if (native.mtimeMs > newestBuilt) {
    found.push(
      warning(`${native.path} is newer than all that was built from native code`, fix, {
        where: root,
      }),
    );
  }
  const source = newest(host, root, ['ts'], /(?<!\.test|\.property)\.ts$/);
  const dist = newest(host, root, ['dist'], /\.js$/);
  if (dist.path === '') {
    found.push(failure('dist/ is not there', fix, { where: root }));
  } else if (source.mtimeMs > dist.mtimeMs) {
    found.push(warning(`${source.path} is newer than all of dist/`, fix, { where: root }));
  }
  return found;
}

function timeOf(host: Host, path: string): number {
  return attempt(() => host.stat(path))?.mtimeMs ?? 0;
}

function newest(
  host: Host,
  root: string,
  folders: readonly string[],
  pattern: RegExp,
): { path: string; mtimeMs: number } {
  let found = { path: '', mtimeMs: 0 };
  for (const folder of folders) {
    for (const name of attempt(() => host.list(`${root}/${folder}`)) ?? []) {
      const path = `${folder}/${name}`;
      if (pattern.test(name)) {
        const mtimeMs = timeOf(host, `${root}/${path}`);
        if (mtimeMs > found.mtimeMs) found = { path, mtimeMs };
      } else if (!name.includes('.') && name !== 'testing') {
        const inside = newest(host, root, [path], pattern);
        if (inside.mtimeMs > found.mtimeMs) found = inside;
      }
    }
  }
  return found;
}

const ownership: Check = {
  id: 'ownership',
  group: 'Installation',
  looksAt:
    'whether somebody but root may write to the installation or a directory on the way to it, and whether all that runs from it may be read by everybody',
  worst: 'error',
  remedy: '`chown`, `chmod` as it says',
  run(scene) {
    const { host, installation, processes } = scene;
    const { root, dependencies } = installation;
    const ofRoot =
      host.uid === 0 || processes.some(({ kind, uid }) => kind === 'launcher' && uid === 0);
    const owners = ofRoot ? [0] : [0, host.uid];
    const packages = dependencies.map((name) => `${root}/node_modules/${name}`);
    const files = [
      `${root}/package.json`,
      ...below(host, `${root}/bin`),
      ...below(host, `${root}/dist`),
    ];
    const paths = [
      ...[...directoriesOf(root), root, `${root}/build`],
      ...['addon.node', 'usher-launcher', 'usher-forker'].map((name) => `${root}/build/${name}`),
      ...['mod_usher.so', 'ngx_http_usher_module.so'].map((name) => `${root}/build/${name}`),
      ...[`${root}/node_modules`, ...packages, ...files],
    ];
    return orOk(
      [...writable(host, paths, owners), ...unreadable(host, paths, ofRoot)],
      ofRoot
        ? 'only root may write to it, everybody may read it'
        : 'only you and root may write to it',
      { where: root },
    );
  },
};

function writable(host: Host, paths: readonly string[], owners: readonly number[]): FoundOut[] {
  const wrong = paths.flatMap((path) => {
    const facts = attempt(() => host.stat(path));
    return facts === null || isSafe(facts, owners) ? [] : [{ path, facts }];
  });
  const [first] = wrong;
  if (first === undefined) return [];
  const { path, facts } = first;
  const others = wrong.length > 1 ? ` and ${wrong.length - 1} more` : '';
  const isForeign = !owners.includes(facts.uid);
  const fix = isForeign ? `chown -R root: ${path}` : `chmod go-w ${path}`;
  const what = `${isForeign ? `belongs to ${accountOf(host, facts.uid).name}` : `may be written by others (mode ${octal(facts.mode)})`}${others}`;
  const why = 'who may write there can have the launcher, which may be root, run anything';
  return [failure(what, fix, { where: path, why })];
}

/** Where the sticky bit is set, others' files cannot be replaced. */
export function isSafe({ mode, uid, kind }: FileFacts, owners: readonly number[]): boolean {
  if (!owners.includes(uid)) return false;
  if ((mode & 0o022) === 0) return true;
  return kind === 'directory' && (mode & 0o1000) !== 0;
}

/** The manager of a launcher that is root is nobody. */
function unreadable(host: Host, paths: readonly string[], ofRoot: boolean): FoundOut[] {
  if (!ofRoot) return [];
  const stranger = { uid: -1, gids: [] };
  const barred = paths.filter((path) => {
    const facts = attempt(() => host.stat(path));
    const right = facts?.kind === 'directory' ? 'execute' : 'read';
    return facts !== null && !isAllowed(facts, stranger, right);
  });
  if (barred.length === 0) return [];
  const why =
    'the manager runs as a user without rights (usher, else nobody), and must read what it runs';
  return [
    failure(`not everybody may read ${some(barred)}`, `chmod -R a+rX ${barred[0]}`, {
      where: dirname(barred[0] ?? '/'),
      why,
    }),
  ];
}

function below(host: Host, directory: string): string[] {
  const names = attempt(() => host.list(directory)) ?? [];
  return [
    directory,
    ...names.flatMap((name) => {
      const path = `${directory}/${name}`;
      return name.includes('.') || directory.endsWith('/bin') ? [path] : below(host, path);
    }),
  ];
}

const path: Check = {
  id: 'path',
  group: 'Installation',
  looksAt: 'whether `usher` on your PATH is this one',
  worst: 'warning',
  remedy: 'remove the other one, or change PATH',
  run({ host, installation: { root } }) {
    const folders = (host.env.PATH ?? '').split(':').filter((folder) => folder.startsWith('/'));
    const first = folders
      .map((folder) => `${folder}/usher`)
      .find((one) => attempt(() => host.stat(one)) !== null);
    if (first === undefined)
      return [skipped('there is no usher on PATH', { where: `${root}/bin/usher` })];
    const real = attempt(() => host.realpath(first)) ?? first;
    const own = attempt(() => host.realpath(`${root}/bin/usher`));
    if (real === own) return [ok('usher on PATH is this one', { where: first })];
    const why = 'commands that you type reach another version than this one';
    return [
      warning(
        `usher on PATH is another one: ${real}`,
        `link it to ${root}/bin/usher, or change PATH`,
        { where: first, why },
      ),
    ];
  },
};

const installed: Check = {
  id: 'installed',
  group: 'Installation',
  looksAt:
    'what `usher install` has put on this host (its manifest): is every file there and unchanged, and is it this installation?',
  worst: 'error',
  remedy: '`usher install` again',
  run({ host, installation: { root } }) {
    const text = textOf(host, manifestPath);
    if (text === null) return [skipped('usher install was not used here', { where: manifestPath })];
    const manifest = parsed(text);
    const fix = 'run usher install again, with the servers that it is for';
    if (manifest === null) {
      const why = 'upgrades and usher uninstall go by it';
      return [failure('the manifest cannot be read', fix, { where: manifestPath, why })];
    }
    const { prefix, trees, entries } = manifest;
    const missing = entries
      .filter(
        ({ kind, path }) => ['file', 'link', 'directory'].includes(kind) && isGone(host, path),
      )
      .map(({ path }) => path);
    const tree = trees.at(-1);
    const changed = tree === undefined ? [] : changedFiles(host, tree);
    const found: FoundOut[] = [];
    if (changed.length > 0) {
      const what = `not as it was installed: ${some(changed)}`;
      found.push(failure(what, fix, { where: tree?.path ?? prefix }));
    }
    if (missing.length > 0) {
      found.push(warning(`no longer there: ${some(missing)}`, fix, { where: manifestPath }));
    }
    const isThis = attempt(() => host.realpath(prefix)) === attempt(() => host.realpath(root));
    if (!isThis) {
      const why = 'what is checked here is this one';
      found.push(skipped(`another installation than this one: ${prefix}`, { where: root, why }));
    }
    return orOk(found, `as usher install left it, version ${tree?.version ?? ''}`, {
      where: prefix,
    });
  },
};

function parsed(text: string): Manifest | null {
  try {
    const { schema, prefix, trees, entries } = JSON.parse(text) as Manifest;
    const isKnown = schema === 1 && typeof prefix === 'string';
    return isKnown && Array.isArray(trees) && Array.isArray(entries) ? JSON.parse(text) : null;
  } catch {
    return null;
  }
}

function isGone(host: Host, path: string): boolean {
  try {
    host.lstat(path);
    return false;
  } catch (error) {
    return !isDenied(error);
  }
}

/** By their hashes; not those that are not ours to read. */
function changedFiles(host: Host, { path, files }: Tree): string[] {
  return Object.entries(files).flatMap(([name, wanted]) => {
    const file = `${path}/${name}`;
    try {
      const found = wanted.startsWith('-> ')
        ? `-> ${host.readlink(file)}`
        : createHash('sha256')
            .update(host.bytes(file, 0, mostBytes))
            .digest('hex');
      return found === wanted ? [] : [name];
    } catch (error) {
      return isDenied(error) ? [] : [name];
    }
  });
}

const mostBytes = 256 * 1024 * 1024;

export const installationChecks: readonly Check[] = [
  ...[node, addon, build, ownership, installed, path],
];
