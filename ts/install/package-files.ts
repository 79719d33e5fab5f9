// SPDX-License-Identifier: Apache-2.0
// Which files of a checkout, or of an installation, are what runs: the same list for the same files.
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Installation, installationFile } from './installation.ts';

export type PackageFile =
  | { path: string; mode: 0o644 | 0o755; bytes: () => Buffer }
  /** A symbolic link. */
  | { path: string; target: string };

const folders = ['bin', 'dist', 'docs', 'packaging'];
const single = ['package.json', 'LICENSE', 'README.md', 'CHANGELOG.md', 'SECURITY.md'];
const built = ['addon.node', 'usher-launcher', 'usher-forker'];
export const modules = { nginx: 'ngx_http_usher_module.so', apache: 'mod_usher.so' } as const;

/** Dependencies that only building takes; the page's charts are copied into dist/. */
const forBuilding = new Set(['cmake-js', 'node-addon-api', 'uplot']);
const leftOut = /(^|\/)(\.tsbuildinfo|\.bin|\.package-lock\.json)$/;

/**
 * All files of the package whose folder is `source`, sorted by path. What is `#!/usr/bin/env node` names
 * Node's path, and there is a link to Node for the modules.
 * @throws Error when something that everything needs is not there.
 */
export function packageFiles(source: string, installation: Installation): PackageFile[] {
  for (const path of ['dist/cli/main.js', ...built.map((name) => `build/${name}`)]) {
    if (!existsSync(join(source, path))) {
      throw new Error(`${join(source, path)} is missing: run "npm run setup" in ${source}`);
    }
  }
  const paths = [
    ...folders.flatMap((folder) => filesBelow(source, folder)),
    ...single.filter((name) => existsSync(join(source, name))),
    ...[...built, ...Object.values(modules)]
      .map((name) => `build/${name}`)
      .filter((path) => existsSync(join(source, path))),
    ...productionModules(source).flatMap((folder) => filesBelow(source, folder)),
  ];
  const files = [...new Set(paths)].map((path) => packageFile(source, path, installation.node));
  const text = `${JSON.stringify(installation, null, 2)}\n`;
  files.push({ path: installationFile, mode: 0o644, bytes: () => Buffer.from(text) });
  files.push({ path: 'build/node', target: installation.node });
  return files.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function packageFile(source: string, path: string, node: string): PackageFile {
  const full = join(source, path);
  const mode = (statSync(full).mode & 0o100) === 0 ? 0o644 : 0o755;
  return { path, mode, bytes: () => withNode(path, readFileSync(full), node) };
}

function withNode(path: string, bytes: Buffer, node: string): Buffer {
  if (dirname(path) !== 'bin') return bytes;
  return Buffer.from(bytes.toString('utf8').replace(/^#!.*/, `#!${node}`));
}

/** Not those of packages within a package: they are asked for by themselves. */
function filesBelow(source: string, folder: string): string[] {
  const isModule = folder.startsWith('node_modules/');
  return readdirSync(join(source, folder), { withFileTypes: true }).flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    if (leftOut.test(path) || (isModule && entry.name === 'node_modules')) return [];
    if (statSync(join(source, path)).isDirectory()) return filesBelow(source, path);
    return [path];
  });
}

interface PackageJson {
  dependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
}

/** The folders of all packages that running takes, found as Node finds them. */
function productionModules(source: string): string[] {
  const found = new Set<string>();
  const visit = (folder: string): void => {
    const { dependencies, optionalDependencies } = packageJson(join(source, folder));
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies })) {
      if (folder === '' && forBuilding.has(name)) continue;
      const where = resolved(source, folder, name);
      if (where === null) {
        if (optionalDependencies && name in optionalDependencies) continue; // another system's
        throw new Error(
          `${name} is missing in ${join(source, 'node_modules')}: run "npm run setup"`,
        );
      }
      if (found.has(where)) continue;
      found.add(where);
      visit(where);
    }
  };
  visit('');
  return [...found];
}

function resolved(source: string, folder: string, name: string): string | null {
  for (let at = folder; ; at = at.includes('/') ? dirname(at) : '') {
    const where = at === '' ? `node_modules/${name}` : `${at}/node_modules/${name}`;
    if (existsSync(join(source, where, 'package.json'))) return where;
    if (at === '') return null;
  }
}

function packageJson(folder: string): PackageJson {
  return JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as PackageJson;
}

/** What a manifest says of each file. */
export function digests(files: PackageFile[]): Record<string, string> {
  return Object.fromEntries(
    files.map((file) => [file.path, 'target' in file ? `-> ${file.target}` : digest(file.bytes())]),
  );
}

/** Eight hexadecimal digits, the same for the same files. */
export function idOf(files: PackageFile[], byPath: Record<string, string>): string {
  const lines = files.map((file) => {
    const mode = 'mode' in file ? file.mode.toString(8) : 'link';
    return `${file.path}\0${mode}\0${byPath[file.path]}\n`;
  });
  return digest(Buffer.from(lines.join(''))).slice(0, 8);
}

export function digest(bytes: Buffer | string): string {
  return createHash('sha256').update(bytes).digest('hex');
}
