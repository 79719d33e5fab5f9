// SPDX-License-Identifier: Apache-2.0
// From a machine with Node and npm to a built checkout: system packages, npm packages, build.
// `node scripts/setup.mjs [--for=start|test|bench|containers] [--no-build]`; does only what is missing.
// Uses no npm package: it runs before there are any.

import './node-version.mjs';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { build } from './build.mjs';
import { isMain, root, run } from './run.mjs';

/** Debian packages: what building and serving needs, and what each kind of run adds to it. */
const base = [
  'build-essential',
  'cmake',
  'python3',
  'pkg-config',
  'apache2-bin',
  'apache2-dev',
  'nginx',
  'nginx-dev',
];
const programs = [
  'libfcgi-dev',
  'libfcgi-perl',
  'libcgi-fast-perl',
  'php-cgi',
  'git',
  'gitweb',
  'cgi-mapserver',
  'curl',
];
const groups = {
  start: [...base, ...programs],
  test: [
    ...base,
    ...programs,
    'apache2',
    'spawn-fcgi',
    'libfcgi-bin',
    'fcgiwrap',
    'cgit',
    'uwsgi-core',
    'uwsgi-plugin-python3',
    'python3-flask',
    'jq',
    'lighttpd',
    'libapache2-mod-fcgid',
    'clang',
    'clang-format',
    'libclang-rt-14-dev',
    'apache2-utils',
    'systemd',
    'procps',
    'iproute2',
    'tomcat10',
    'libapache2-mod-jk',
    'openssl',
    'postgresql',
    'chromium-headless-shell',
    'fonts-dejavu-core',
  ],
  bench: [
    ...base,
    ...programs,
    'php-fpm',
    'spawn-fcgi',
    'fcgiwrap',
    'libapache2-mod-fcgid',
    'tomcat10-common',
    'libapache2-mod-jk',
    'wrk',
  ],
  containers: ['podman', 'runc', 'mmdebstrap'],
};

function missingPackages(wanted) {
  const { stdout, error } = spawnSync(
    'dpkg-query',
    ['--show', '--showformat=${Package} ${db:Status-Status}\n', ...wanted],
    { encoding: 'utf8' },
  );
  if (error) {
    console.error(
      `setup: no dpkg-query here, so not Debian; please see to the equivalents of\n` +
        `  ${wanted.join(' ')}`,
    );
    return [];
  }
  const installed = new Set(
    stdout
      .split('\n')
      .filter((line) => line.endsWith(' installed'))
      .map((line) => line.split(' ')[0]),
  );
  return wanted.filter((name) => !installed.has(name));
}

/**
 * Runs apt-get with its output in a file and its progress in one line; throws with the end of that
 * file when it fails.
 */
async function aptGet(title, args) {
  const directory = mkdtempSync(`${tmpdir()}/usher-setup-`);
  const log = openSync(`${directory}/apt.log`, 'w');
  const child = spawn('apt-get', ['-q', '-y', '-o', 'APT::Status-Fd=3', ...args], {
    stdio: ['ignore', log, log, 'pipe'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive', NEEDRESTART_MODE: 'a' },
  });
  const ended = new Promise((resolve) => {
    child.on('error', (error) => resolve(error.message));
    child.on('close', (status, signal) => resolve(status ?? signal));
  });

  const isTerminal = process.stderr.isTTY;
  let shown = '';
  const phases = { dlstatus: 'downloading', pmstatus: 'installing' };
  for await (const line of createInterface({ input: child.stdio[3] })) {
    const [kind, , percent] = line.split(':');
    const phase = phases[kind];
    if (phase === undefined) continue;
    const step = isTerminal ? Math.floor(Number(percent)) : Math.floor(Number(percent) / 25) * 25;
    const text = `setup: ${title}: ${phase} ${step} %`;
    if (text === shown) continue;
    shown = text;
    process.stderr.write(isTerminal ? `\r${text}\u001b[K` : `${text}\n`);
  }
  const status = await ended;
  if (isTerminal && shown !== '') process.stderr.write('\n');
  closeSync(log);

  const output = readFileSync(`${directory}/apt.log`, 'utf8');
  rmSync(directory, { recursive: true });
  if (status !== 0) {
    const end = output.trimEnd().split('\n').slice(-30).join('\n');
    throw new Error(`apt-get ${args[0]} ended with ${status}:\n${end}`);
  }
}

/**
 * What Debian does by itself with a server that it installs, and a checkout should not bring, is switched
 * off by files: a second web server on port 80, a cluster of databases that nobody has asked for.
 */
const mark = '# Placed by the setup of Usher while apt-get runs; may be removed.\n';
const switches = [
  { path: '/usr/sbin/policy-rc.d', mode: 0o755, text: `#!/bin/sh\n${mark}exit 101\n` },
  {
    path: '/etc/postgresql-common/createcluster.d/usher.conf',
    mode: 0o644,
    text: `${mark}create_main_cluster = false\n`,
  },
];

/** A file that exists and is none of ours is left alone. @returns how to remove it again */
function placeSwitch({ path, mode, text }) {
  if (existsSync(path) && readFileSync(path, 'utf8') !== text) return () => undefined;
  const firstMade = mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { mode });
  return () => {
    rmSync(path, { force: true });
    if (firstMade !== undefined) removeEmpty(dirname(path), firstMade);
  };
}

/** `directory` and those above it, up to `highest`, as far as nobody has put anything there. */
function removeEmpty(directory, highest) {
  try {
    rmdirSync(directory);
    if (directory !== highest) removeEmpty(dirname(directory), highest);
  } catch (error) {
    if (error.code !== 'ENOTEMPTY') throw error;
  }
}

async function withServersSwitchedOff(action) {
  const removers = switches.map(placeSwitch);
  const remove = () => removers.forEach((removeOne) => void removeOne());
  const interrupted = () => process.exit(130);
  process.on('exit', remove);
  process.on('SIGINT', interrupted);
  process.on('SIGTERM', interrupted);
  try {
    await action();
  } finally {
    remove();
    process.off('exit', remove);
    process.off('SIGINT', interrupted);
    process.off('SIGTERM', interrupted);
  }
}

/** The Debian packages of a kind of run, where they are missing. */
export async function installPackages(purpose) {
  const missing = missingPackages(groups[purpose]);
  if (missing.length === 0) return;

  const install = ['install', '--no-install-recommends', ...missing];
  if (process.getuid() !== 0) {
    throw new Error(
      `these Debian packages are missing; please run as root, then start again:\n` +
        `  apt-get update && apt-get ${install.join(' ')}`,
    );
  }
  console.error(`setup: installing ${missing.length} Debian packages: ${missing.join(' ')}`);
  await aptGet('package lists', ['update']);
  await withServersSwitchedOff(() => aptGet('Debian packages', install));

  const services = ['nginx', 'apache2', 'fcgiwrap', 'tomcat10'];
  const servers = missing.filter((name) => services.includes(name));
  if (servers.length > 0 && existsSync('/run/systemd/system')) {
    console.error(
      `setup: ${servers.join(', ')} not started; to keep from starting at boot:\n` +
        `  systemctl disable ${servers.join(' ')}`,
    );
  }
}

/** Under root the manager runs as this user, which needs to be nobody else's; without it as nobody. */
function createUser() {
  if (process.getuid() !== 0 || spawnSync('getent', ['passwd', 'usher']).status === 0) return;
  const options = ['--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin'];
  const { status, error, stderr } = spawnSync('useradd', [...options, 'usher'], {
    encoding: 'utf8',
  });
  if (status === 0) console.error('setup: created the system user usher, whom the manager runs as');
  else console.error(`setup: no system user usher: ${error?.message ?? stderr.trim()}`);
}

/** npm ci, when node_modules was not made from this package-lock.json. */
function installNodeModules() {
  const stamp = `${root}/node_modules/.usher-installed`;
  const lock = readFileSync(`${root}/package-lock.json`);
  const state = createHash('sha256').update(lock).digest('hex');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === state) return;

  console.error('setup: npm packages (npm ci)');
  // Without scripts: none of the packages needs its own, and ours is the build that follows.
  const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  const npm = process.env.npm_execpath;
  if (npm?.endsWith('.js')) run(process.execPath, [npm, ...args]);
  else run('npm', args);
  writeFileSync(stamp, state);
}

/** Makes the checkout ready for `npm start`, `npm test` or `npm run bench`. */
export async function setup(purpose, { builds = true } = {}) {
  await installPackages(purpose);
  if (purpose !== 'containers') createUser();
  installNodeModules();
  if (builds) build();
}

if (isMain(import.meta.url)) {
  const words = process.argv.slice(2);
  const builds = !words.includes('--no-build');
  const argument = words.find((word) => word !== '--no-build') ?? '--for=start';
  const purpose = argument.replace(/^--for=/, '');
  try {
    if (!Object.hasOwn(groups, purpose)) {
      throw new Error(`${argument}: expected --for= and one of ${Object.keys(groups).join(', ')}`);
    }
    const startedMs = performance.now();
    await setup(purpose, { builds });
    console.error(`setup: ready (${((performance.now() - startedMs) / 1000).toFixed(1)} s)`);
  } catch (error) {
    console.error(`setup: ${error.message}`);
    process.exitCode = 1;
  }
}
