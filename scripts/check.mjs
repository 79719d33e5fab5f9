// SPDX-License-Identifier: Apache-2.0
// What can be said without running anything: format, lint, import rules, types, compiler warnings.
// `node scripts/check.mjs` reports, with --fix it formats first. Part of `npm test`.

import './node-version.mjs';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { extname } from 'node:path';
import { capture, isMain, npmProgram, root } from './run.mjs';

/** Files of this checkout, the untracked ones that git does not ignore included. */
function sourceFiles() {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const listed = execFileSync('git', args, { cwd: root, encoding: 'utf8' });
  return listed.split('\0').filter((file) => file !== '' && existsSync(`${root}/${file}`));
}

const read = (file) => readFileSync(`${root}/${file}`, 'utf8');

/** Our C and C++; nginx/ keeps its host's columns, which clang-format cannot. */
function isFormattedC(file) {
  return /^(native|apache|integration-tests|bench)\/.*\.(c|cc|h)$/.test(file);
}

const biome = (...args) => capture(npmProgram('.bin/biome'), args);
const ok = { status: 0, output: '' };
const problems = (lines) => ({ status: lines.length === 0 ? 0 : 1, output: lines.join('\n') });

function checkLicenceLines(files) {
  const kinds = new Set(
    '.c .cc .h .def .ts .mjs .js .cmake .gyp .sh .py .pl .map .jsonc'.split(' '),
  );
  const named = new Set(['CMakeLists.txt', '.clang-format', 'nginx/config', '.ci/run']);
  const expected = files.filter((file) => kinds.has(extname(file)) || named.has(file));
  return problems(
    expected
      .filter((file) => !read(file).slice(0, 400).includes('SPDX-License-Identifier: Apache-2.0'))
      .map((file) => `${file}: no line "SPDX-License-Identifier: Apache-2.0" at its head`),
  );
}

/** CMake gives a folder's sources only the include paths they may use; "../" would step around. */
function checkIncludes(files) {
  return problems(
    files
      .filter((file) => /^(native|nginx|apache)\/.*\.(c|cc|h)$/.test(file))
      .filter((file) => /^\s*#\s*include\s+"(\.\.?\/|native\/)/m.test(read(file)))
      .map((file) => `${file}: includes go by "FOLDER/name.h", so that CMake can refuse them`),
  );
}

function checkLockFile() {
  const foreign = Object.entries(JSON.parse(read('package-lock.json')).packages).filter(
    ([, entry]) =>
      !(entry.resolved ?? 'https://registry.npmjs.org/').startsWith('https://registry.npmjs.org/'),
  );
  return problems(foreign.map(([name, entry]) => `${name}: comes from ${entry.resolved}`));
}

/** SECURITY.md names a test for what it claims: in rows "| claim | `file` | test |". */
function checkSecurityTable() {
  const rows = [...read('SECURITY.md').matchAll(/^\| [^|]+ \| `([^`|]+)` \| ([^|]+) \|$/gm)];
  if (rows.length === 0) return problems(['SECURITY.md: no row names a test']);
  return problems(
    rows
      .filter(([, file, test]) => !existsSync(`${root}/${file}`) || !read(file).includes(test))
      .map(([, file, test]) => `SECURITY.md: ${file} has no test "${test}"`),
  );
}

async function checkWarnings() {
  const script = `import { buildNative } from './scripts/build.mjs';
    buildNative('build-check', ['USHER_WERROR=ON']);`;
  return capture(process.execPath, ['--input-type=module', '--eval', script]);
}

const checks = {
  'biome: format, lint, who imports whom': () =>
    biome('ci', '--colors=off', '--max-diagnostics=50'),
  'tsc: types': () =>
    capture(process.execPath, [
      npmProgram('typescript/bin/tsc'),
      '--noEmit',
      '-p',
      'tsconfig.json',
    ]),
  'tsc: types of the page': () =>
    capture(process.execPath, [
      npmProgram('typescript/bin/tsc'),
      '--noEmit',
      '-p',
      'tsconfig.page.json',
    ]),
  'clang-format: native, apache': (files) => {
    const ours = files.filter(isFormattedC);
    return ours.length === 0 ? ok : capture('clang-format', ['--dry-run', '--Werror', ...ours]);
  },
  'compiler: no warnings': checkWarnings,
  'includes by folder': checkIncludes,
  'licence lines': checkLicenceLines,
  'lock file: registry.npmjs.org only': checkLockFile,
  'SECURITY.md: its tests exist': checkSecurityTable,
};

/** Runs every check; one result each: name, whether it passed, what it printed. */
export async function check() {
  const files = sourceFiles();
  return Promise.all(
    Object.entries(checks).map(async ([name, action]) => {
      const { status, output } = await action(files);
      return { name, passed: status === 0, output };
    }),
  );
}

async function fix() {
  const ours = sourceFiles().filter(isFormattedC);
  const results = [await biome('check', '--write', '--colors=off')];
  if (ours.length > 0) results.push(await capture('clang-format', ['-i', ...ours]));
  for (const { output } of results) process.stdout.write(output);
}

if (isMain(import.meta.url)) {
  if (process.argv.includes('--fix')) await fix();
  for (const { name, passed, output } of await check()) {
    console.log(`${passed ? 'ok' : 'not ok'} - ${name}`);
    if (!passed) {
      console.log(output.trimEnd().replace(/^/gm, '    '));
      process.exitCode = 1;
    }
  }
}
