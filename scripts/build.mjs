// SPDX-License-Identifier: Apache-2.0
// Builds what changed: `node scripts/build.mjs [native|ts]`, without a word both.
// Runs without any npm dependency of its own; needs node_modules (scripts/setup.mjs sees to that).

import { spawnSync } from 'node:child_process'
import { existsSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const root = resolve(import.meta.dirname, '..')

/** Runs a command with its output shown; throws when it fails. */
function run(command, args, options = {}) {
  const { status, error, signal } = spawnSync(command, args, {
    cwd: root,
    stdio: 'inherit',
    ...options,
  })
  if (error) throw new Error(`${command} did not start: ${error.message}`)
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ended with ${signal ?? status}`)
}

/** The cache keeps "not found" for ever, and one made by plain cmake has no addon in it. */
function needsConfigure() {
  const cache = join(root, 'build/cmake/CMakeCache.txt')
  if (!existsSync(cache)) return true
  const text = readFileSync(cache, 'utf8')
  if (!text.includes(`CMAKE_HOME_DIRECTORY:INTERNAL=${root}\n`)) {
    rmSync(join(root, 'build/cmake'), { recursive: true })
    return true
  }
  return !text.includes('CMAKE_JS_VERSION') || /^USHER_\w+:FILEPATH=.*-NOTFOUND$/m.test(text)
}

export function buildNative() {
  if (needsConfigure()) {
    const cmakeJs = join(root, 'node_modules/cmake-js/bin/cmake-js')
    run(process.execPath, [
      cmakeJs,
      'configure',
      '--out=build/cmake',
      '--config=RelWithDebInfo',
      '--log-level=warn',
    ])
  }
  run('cmake', ['--build', 'build/cmake', '--parallel', String(availableParallelism())])
}

/** Configures (first time) and builds build-NAME/, a build of libraries and tests without Node. */
export function buildSanitized(name) {
  const sanitizer = { asan: 'address', tsan: 'thread', fuzz: 'fuzz' }[name]
  const directory = `build-${name}`
  if (!existsSync(join(root, directory, 'CMakeCache.txt'))) {
    const compiler = name === 'fuzz' ? ['-DCMAKE_C_COMPILER=clang', '-DCMAKE_CXX_COMPILER=clang++'] : []
    run('cmake', ['-S', '.', '-B', directory, `-DUSHER_SANITIZE=${sanitizer}`, ...compiler])
  }
  run('cmake', ['--build', directory, '--parallel', String(availableParallelism())])
}

export function buildTypeScript() {
  const tsc = join(root, 'node_modules/typescript/bin/tsc')
  run(process.execPath, [tsc, '-p', 'tsconfig.build.json'])
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const what = process.argv[2]
  try {
    if (what === undefined || what === 'native') buildNative()
    if (what === undefined || what === 'ts') buildTypeScript()
    if (what === 'asan' || what === 'tsan' || what === 'fuzz') buildSanitized(what)
  } catch (error) {
    console.error(`build: ${error.message}`)
    process.exitCode = 1
  }
}
