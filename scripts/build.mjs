// SPDX-License-Identifier: Apache-2.0
// Builds what changed: `node scripts/build.mjs [native|ts|asan|tsan|fuzz]`, without a word native
// and ts. Needs node_modules (scripts/setup.mjs sees to that).

import './node-version.mjs';
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { isMain, npmProgram, root, run } from './run.mjs';

/**
 * Whether a build directory has to be configured (again): CMake keeps "not found" for ever, a cache
 * made by plain cmake has no addon in it, and one of another checkout is of no use.
 */
function needsConfigure(directory, { withAddon }) {
  const cache = `${root}/${directory}/CMakeCache.txt`;
  if (!existsSync(cache)) return true;
  const text = readFileSync(cache, 'utf8');
  if (!text.includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)) {
    rmSync(`${root}/${directory}`, { recursive: true });
    return true;
  }
  if (withAddon && !text.includes('CMAKE_JS_VERSION')) return true;
  return /^USHER_\w+:FILEPATH=.*-NOTFOUND$/m.test(text);
}

function compile(directory) {
  run('cmake', ['--build', directory, '--parallel', String(availableParallelism())]);
}

/** Everything native, the Node addon included; `defines` are CMake's, as NAME=VALUE. */
export function buildNative(directory = 'build/cmake', defines = []) {
  if (needsConfigure(directory, { withAddon: true })) {
    run(process.execPath, [
      npmProgram('cmake-js/bin/cmake-js'),
      'configure',
      `--out=${directory}`,
      '--config=RelWithDebInfo',
      '--log-level=warn',
      ...defines.map((define) => `--CD${define}`),
    ]);
  }
  compile(directory);
}

const sanitizers = { asan: 'address', tsan: 'thread', fuzz: 'fuzz' };

/** What else CMake is told, by the name of the build. */
const sanitizedDefines = {
  asan: [`-DUSHER_NGINX_TREES=${root}/build/cmake`],
  tsan: [],
  fuzz: ['-DCMAKE_C_COMPILER=clang', '-DCMAKE_CXX_COMPILER=clang++'],
};

/**
 * The libraries, the launcher and their tests in build-NAME/, under a sanitizer, without Node; asan:
 * the server modules as well; fuzz: the fuzz targets instead of the tests.
 */
export function buildSanitized(name) {
  const directory = `build-${name}`;
  if (needsConfigure(directory, { withAddon: false })) {
    run('cmake', [
      ...['-S', '.', '-B', directory, `-DUSHER_SANITIZE=${sanitizers[name]}`],
      ...sanitizedDefines[name],
    ]);
  }
  compile(directory);
}

/** ts/ into dist/. */
export function buildTypeScript() {
  const hasSources = readdirSync(`${root}/ts`, { recursive: true }).some(
    (name) => name.endsWith('.ts') && !name.endsWith('.test.ts'),
  );
  if (!hasSources) return;
  run(process.execPath, [npmProgram('typescript/bin/tsc'), '-p', 'tsconfig.build.json']);
  bundleRuntime();
  bundleCommandLine();
  buildPage();
}

/** The dashboard's page: its scripts, and what is only copied. */
function buildPage() {
  run(process.execPath, [npmProgram('typescript/bin/tsc'), '-p', 'tsconfig.page.json']);
  const from = `${root}/ts/dashboard/page`;
  const to = `${root}/dist/dashboard/page`;
  mkdirSync(`${to}/vendor`, { recursive: true });
  for (const file of ['index.html', 'style.css', 'icon.svg']) {
    copyFileSync(`${from}/${file}`, `${to}/${file}`);
  }
  for (const file of ['uPlot.iife.min.js', 'uPlot.min.css']) {
    copyFileSync(`${root}/node_modules/uplot/dist/${file}`, `${to}/vendor/${file}`);
  }
}

/** What starts often, in few files: a hundred modules take 50 ms. */
function bundle(name, options) {
  const { buildSync } = createRequire(import.meta.url)('esbuild'); // not there before setup
  const { banner = '', ...more } = options ?? {};
  buildSync({
    entryPoints: [`${root}/ts/${name}.ts`],
    outdir: `${root}/dist/${dirname(name)}`,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    sourcemap: true,
    banner: { js: `// SPDX-License-Identifier: Apache-2.0\n${banner}` },
    logLevel: 'warning',
    ...more,
  });
}

/**
 * What programs import: CGI programs and forked processes start with it. Nobody else may import those modules
 * then, as both would have their own state.
 */
function bundleRuntime() {
  bundle('runtime/index');
}

/** `usher`: what all commands need, and a file for each; what is not said is not parsed. */
function bundleCommandLine() {
  const directory = `${root}/dist/cli`;
  for (const name of readdirSync(directory).filter((file) => /-[A-Z0-9]{8}\.js/.test(file))) {
    rmSync(`${directory}/${name}`);
  }
  bundle('cli/main', {
    splitting: true, // beside main.js: they find what is installed from where they are
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'none',
    banner: `import { createRequire as makeRequire } from 'node:module';
const require = makeRequire(import.meta.url); // commander asks for Node's modules that way`,
  });
}

export function build(what) {
  if (what === undefined || what === 'native') buildNative();
  if (what === undefined || what === 'ts') buildTypeScript();
  if (what !== undefined && what in sanitizers) buildSanitized(what);
}

if (isMain(import.meta.url)) {
  try {
    const what = process.argv[2];
    if (what !== undefined && !['native', 'ts', ...Object.keys(sanitizers)].includes(what)) {
      throw new Error(`unknown: ${what}; expected native, ts, asan, tsan, fuzz or nothing`);
    }
    build(what);
  } catch (error) {
    console.error(`build: ${error.message}`);
    process.exitCode = 1;
  }
}
