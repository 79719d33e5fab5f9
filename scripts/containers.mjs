// SPDX-License-Identifier: Apache-2.0
// `npm run test:containers [-- [--fresh] [--keep] [nginx] [apache] [FILE.test.ts...]]`: the
// integration tests on a fresh Debian 12, one container a web server, with podman or docker. Where
// neither can run a container the whole is skipped, with the reason.
//
// The base image is Debian's with Node from the registry. Where that is not reached, it is made of
// Debian's packages (mmdebstrap) and of the Node and npm that run this script.
//
// Kept in the engine's storage, so that the next run takes what has not changed:
// localhost/usher-base (only the one made here) and localhost/usher-packages. --fresh makes them
// anew. Images with the checkout in them go after the run; --keep leaves them, to look around in.

import './node-version.mjs';
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  cpSync,
  createWriteStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { createInterface } from 'node:readline';
import { root } from './run.mjs';
import { installPackages } from './setup.mjs';
import { Tally } from './tap.mjs';

const servers = ['nginx', 'apache'];
const registryBase = 'docker.io/library/node:20-bookworm-slim';
const ownBase = 'localhost/usher-base:latest';
const packages = 'localhost/usher-packages:latest';
const logs = `${root}/build/containers`;

const pullWithinMs = 300_000;
const buildWithinMs = 900_000;
const runWithinMs = 900_000;

/** What is missing on this machine for any container to run: a reason to skip, not to fail. */
class Unavailable extends Error {}

const commandOutput = (command, args) => {
  const { stdout, status } = spawnSync(command, args, { encoding: 'utf8' });
  return status === 0 ? stdout : '';
};

const lastLine = (text) => text.trimEnd().split('\n').at(-1) ?? '';

// ---- the engine

/** The ways to run a container here, the likelier first. */
function candidates() {
  // Without systemd, or on a file system that overlayfs does not take, podman's own choices fail.
  const plain = [
    '--storage-driver=vfs',
    '--cgroup-manager=cgroupfs',
    `--root=${logs}/storage`,
    `--runroot=${tmpdir()}/usher-podman-${process.getuid()}`,
  ];
  return [
    { name: 'podman', command: 'podman', flags: [] },
    { name: 'podman with vfs and cgroupfs', command: 'podman', flags: plain },
    { name: 'docker', command: 'docker', flags: [] },
  ];
}

/** Our own limits as flags: podman's defaults are higher than a restricted root may set. */
function limitFlags() {
  const text = readFileSync('/proc/self/limits', 'utf8');
  const hard = (name) => new RegExp(`^Max ${name} +\\S+ +(\\S+)`, 'm').exec(text)?.[1];
  const flag = (name, value, most) => {
    const number = value === 'unlimited' ? most : Math.min(Number(value), most);
    return `--ulimit=${name}=${number}:${number}`;
  };
  return [flag('nofile', hard('open files'), 20_000), flag('nproc', hard('processes'), 4096)];
}

function descendants(pid) {
  const threads = `/proc/${pid}/task`;
  if (!existsSync(threads)) return [];
  const children = readdirSync(threads).flatMap((thread) => {
    const file = `${threads}/${thread}/children`;
    return existsSync(file) ? readFileSync(file, 'utf8').trim().split(' ').filter(Boolean) : [];
  });
  return [...children, ...children.flatMap(descendants)];
}

/**
 * Ends `podman build` by ending its step, again and again: then it fails and tidies up. Ended
 * itself, it would leave the step running and its containers behind.
 */
function endSteps(child) {
  const timer = setInterval(() => {
    for (const pid of descendants(child.pid)) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it has ended since
      }
    }
  }, 100);
  child.on('close', () => clearInterval(timer));
}

/** What runs, each as a function that ends it. */
const running = new Set();
let isInterrupted = false;

/** Ctrl-C ends what runs; what follows fails at once, and the ways out tidy up as ever. */
function interrupt() {
  isInterrupted = true;
  for (const end of running) end();
}

class Engine {
  constructor({ name, command, flags }) {
    this.name = name;
    this.command = command;
    this.flags = flags;
  }

  /** Runs to the end; `withinMs` ends it earlier. Resolves with the status and what it printed. */
  async run(args, { withinMs = 60_000, onLine, log } = {}) {
    if (isInterrupted) throw new Error('interrupted');
    return new Promise((resolve) => {
      // Detached: Ctrl-C at a terminal is for us to pass on.
      const child = spawn(this.command, [...this.flags, ...args], {
        cwd: root,
        stdio: ['ignore', 'pipe', 'pipe'],
        detached: true,
      });
      const hasSteps = this.command === 'podman' && args[0] === 'build';
      const end = () => (hasSteps ? endSteps(child) : child.kill());
      running.add(end);
      const lines = [];
      const file = log === undefined ? undefined : createWriteStream(log);
      const heard = (line) => {
        lines.push(line);
        file?.write(`${line}\n`);
        onLine?.(line);
      };
      const timer = setTimeout(() => {
        heard(`stopped after ${withinMs / 1000} s`);
        end();
      }, withinMs);
      createInterface({ input: child.stdout }).on('line', heard);
      createInterface({ input: child.stderr }).on('line', heard);
      const ended = (status) => {
        clearTimeout(timer);
        running.delete(end);
        file?.end();
        resolve({ status, output: lines.join('\n') });
      };
      child.on('error', (error) => {
        heard(error.code === 'ENOENT' ? 'not installed' : error.message);
        ended(127);
      });
      child.on('close', (status, signal) => ended(status ?? signal));
    });
  }

  /** An image's id; undefined when there is no such image. */
  idOf(image) {
    const args = [...this.flags, 'image', 'inspect', '--format={{.Id}}', image];
    return commandOutput(this.command, args).trim() || undefined;
  }

  /** Removes something, also while interrupted: rmi IMAGE..., rm CONTAINER..., image prune. */
  remove(...args) {
    spawnSync(this.command, [...this.flags, ...args, '--force'], { stdio: 'ignore' });
  }
}

// ---- what this machine knows about reaching packages

/** apt's settings for the network (proxies and the like), as apt.conf has them. */
function aptSettings() {
  return commandOutput('apt-config', ['dump'])
    .split('\n')
    .filter((line) => /^Acquire::(https?|Check-|Retries|Force)/.test(line))
    .filter((line) => !/Auto-?Detect/i.test(line));
}

/** Debian 12's package sources of this machine; none when it is another system. */
function debianSources() {
  const system = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : '';
  if (!/^VERSION_CODENAME=bookworm$/m.test(system) || !/^ID=debian$/m.test(system)) return [];
  const format = '$(CREATED_BY)|$(ORIGIN)|deb $(REPO_URI) $(RELEASE) $(COMPONENT)';
  return commandOutput('apt-get', ['indextargets', '--format', format])
    .split('\n')
    .filter((line) => line.startsWith('Packages|Debian|'))
    .map((line) => line.split('|')[2]);
}

/** Fills the directory that the Containerfiles mount as /run/host. */
function writeHostSettings(directory) {
  const settings = aptSettings();
  const sources = debianSources();
  if (sources.length > 0) {
    writeFileSync(`${directory}/sources.list`, `${sources.join('\n')}\n`);
    settings.push('Dir::Etc::sourcelist "/run/host/sources.list";', 'Dir::Etc::sourceparts "-";');
  }

  const given = process.env.NODE_EXTRA_CA_CERTS;
  const files = new Set(['/etc/ssl/certs/ca-certificates.crt', ...(given ? [given] : [])]);
  const certificates = [...files].filter((file) => existsSync(file));
  if (certificates.length > 0) {
    settings.push('Acquire::https::CaInfo "/run/host/ca-certificates.crt";');
  }
  const bundle = certificates.map((file) => readFileSync(file, 'utf8')).join('\n');
  writeFileSync(`${directory}/ca-certificates.crt`, bundle);

  const npm = (name) => commandOutput('npm', ['config', 'get', name]).trim();
  const userConfig = npm('userconfig');
  const lines = existsSync(userConfig) ? readFileSync(userConfig, 'utf8').split('\n') : [];
  const npmrc = lines.filter(
    (line) => !/^\s*(cafile|prefix|cache|nodedir|registry)\s*=/.test(line),
  );
  const registry = npm('registry');
  if (registry !== '') npmrc.push(`registry=${registry}`);
  writeFileSync(`${directory}/npmrc`, `${npmrc.join('\n')}\n`, { mode: 0o600 });
  writeFileSync(`${directory}/apt.conf`, `${settings.join('\n')}\n`);
}

/** Variables that a build step must see, by name: their values do not get into the image. */
function proxyFlags() {
  const names = ['http_proxy', 'https_proxy', 'no_proxy'];
  return [...names, ...names.map((name) => name.toUpperCase())]
    .filter((name) => process.env[name])
    .map((name) => `--build-arg=${name}`);
}

// ---- the tools

/** Installs podman and mmdebstrap unless what is asked for works already; only as root. */
async function installTools(isThere) {
  if (isThere || process.getuid() !== 0) return;
  try {
    await installPackages('containers');
  } catch (error) {
    throw new Unavailable(error.message);
  }
}

const works = (command, ...args) => spawnSync(command, args, { stdio: 'ignore' }).status === 0;

// ---- the base image

function npmDirectory() {
  const npm = process.env.npm_execpath ?? commandOutput('sh', ['-c', 'command -v npm']).trim();
  const directory = npm === '' ? '' : dirname(dirname(realpathSync(npm)));
  if (!existsSync(`${directory}/bin/npm-cli.js`)) throw new Unavailable('npm is not found');
  return directory;
}

/** Debian 12 with this script's own Node, without any image from elsewhere. */
async function makeBase(engine, directory) {
  await installTools(works('mmdebstrap', '--version'));
  const archive = `${directory}/base.tar`;
  const modules = '/usr/local/lib/node_modules';
  const links = ['npm', 'npx']
    .map((name) => `ln -s ../lib/node_modules/npm/bin/${name}-cli.js "$1/usr/local/bin/${name}"`)
    .join(' && ');
  const sources = debianSources();
  const maker = new Engine({ command: 'mmdebstrap', flags: [] });
  writeFileSync(`${directory}/debian.list`, `${sources.join('\n')}\n`);
  const { status, output } = await maker.run(
    [
      '--variant=minbase',
      ...aptSettings().map((line) => `--aptopt=${line.replace(/;$/, '')}`),
      `--customize-hook=upload '${process.execPath}' /usr/local/bin/node`,
      `--customize-hook=mkdir -p "$1${modules}"`,
      `--customize-hook=copy-in '${npmDirectory()}' ${modules}`,
      `--customize-hook=chmod 755 "$1/usr/local/bin/node" && ${links}`,
      'bookworm',
      archive,
      ...(sources.length > 0 ? [`${directory}/debian.list`] : []),
    ],
    { withinMs: buildWithinMs, log: `${logs}/base.log` },
  );
  if (status !== 0) throw new Unavailable(`mmdebstrap: ${lastLine(output)}`);
  const imported = await engine.run(['import', archive, ownBase], { withinMs: pullWithinMs });
  rmSync(archive);
  if (imported.status !== 0) throw new Unavailable(`import: ${lastLine(imported.output)}`);
}

/** The image to build on: one that is there, else the registry's, else one made here. */
async function findBase(engine, directory, isFresh) {
  if (isFresh) {
    engine.remove('rmi', packages, ownBase);
  } else {
    const there = [registryBase, ownBase].find((image) => engine.idOf(image));
    if (there) return there;
  }
  const pulled = await engine.run(['pull', registryBase], { withinMs: pullWithinMs });
  if (pulled.status === 0) return registryBase;
  if (engine.idOf(registryBase)) return registryBase;
  console.log(`  no image from a registry (${lastLine(pulled.output)}):`);
  const startedMs = performance.now();
  await makeBase(engine, directory);
  console.log(`  base image made of Debian packages and this Node (${seconds(startedMs)} s)`);
  return ownBase;
}

const seconds = (startedMs) => ((performance.now() - startedMs) / 1000).toFixed(0);

/** The first candidate that really runs a container, with its base image. */
async function findEngine(directory, isFresh) {
  const refusals = [];
  for (const candidate of candidates()) {
    const engine = new Engine(candidate);
    try {
      const info = await engine.run(['info']);
      if (info.status !== 0) throw new Unavailable(lastLine(info.output));
      const base = await findBase(engine, directory, isFresh);
      const run = ['run', '--rm', '--network=none', ...limitFlags(), base, 'node', '--version'];
      const tried = await engine.run(run);
      if (tried.status !== 0) throw new Unavailable(lastLine(tried.output));
      console.log(`  ${engine.name}, ${base}, Node ${lastLine(tried.output)}`);
      return { engine, base };
    } catch (error) {
      if (!(error instanceof Unavailable)) throw error;
      refusals.push(`${engine.name}: ${error.message}`);
    }
  }
  throw new Unavailable(refusals.join('; '));
}

// ---- the tests

/** The checkout as git knows it, changed and new files included, with its times: they are cached. */
function copyCheckout(directory) {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const listed = execFileSync('git', args, { cwd: root, encoding: 'utf8' }).split('\0');
  for (const file of listed.filter((name) => name !== '' && existsSync(`${root}/${name}`))) {
    cpSync(`${root}/${file}`, `${directory}/${file}`, {
      preserveTimestamps: true,
      verbatimSymlinks: true,
    });
  }
}

async function buildImage({ engine, base, directory }, server, { tag, target, isFresh }) {
  const flags = [
    '--network=host',
    ...(engine.command === 'podman' ? limitFlags() : ['--progress=plain']),
    ...proxyFlags(),
    `--build-arg=BASE=${base}`,
    `--build-context=host=${directory}/host`,
    ...(target === undefined ? [] : [`--target=${target}`]),
    ...(isFresh ? ['--no-cache'] : []),
  ];
  const file = `integration-tests/containers/${server}.Containerfile`;
  const startedMs = performance.now();
  const { status, output } = await engine.run(
    ['build', ...flags, `--tag=${tag}`, `--file=${root}/${file}`, `${directory}/checkout`],
    { withinMs: buildWithinMs, log: `${logs}/${target ?? server}-build.log` },
  );
  if (status !== 0) {
    throw new Error(`${file} ended with ${status}:\n${output.split('\n').slice(-60).join('\n')}`);
  }
  console.log(`  ${target ?? server} image: built (${seconds(startedMs)} s)`);
}

/** Adds up what scripts/test.mjs printed inside a container. */
function read(server, status, output) {
  const tally = new Tally();
  const lines = output.split('\n');
  const counts = lines.map((line) => /^(\d+) passed, (\d+) failed\b/.exec(line)).findLast(Boolean);
  for (const line of lines) {
    const [, skipped] = /^skipped: (.*)/.exec(line) ?? [];
    const [, failed] = /^FAILED: (.*)/.exec(line) ?? [];
    if (skipped !== undefined) tally.skipped.push(`${server}: ${skipped}`);
    else if (failed !== undefined) tally.fail(`${server}: ${failed}`);
    else if (line.startsWith('    ')) tally.failures.at(-1)?.details.push(line.slice(4));
  }
  const [passed, failed] = counts?.slice(1).map(Number) ?? [0, 0];
  tally.passed = passed;
  const isCounted = counts && tally.failed === failed && (status === 0) === (failed === 0);
  if (!isCounted || passed + failed === 0) {
    tally.fail(`${server}: the container ended with ${status}`, lines.slice(-60));
  }
  return tally;
}

async function runTests(engine, server, tag, files) {
  const name = `usher-test-${server}-${process.pid}`;
  const command = files.length === 0 ? [] : ['node', 'scripts/test.mjs', 'integration', ...files];
  const startedMs = performance.now();
  const flags = [
    '--rm',
    `--name=${name}`,
    // Loopback is all they need, and a network of their own has no port of anybody else's.
    '--network=none',
    // With it root may see in which system call another user's program sleeps, as on a host. Without
    // it the launcher takes a program that hangs before its first accept() for one that waits in it.
    '--cap-add=SYS_PTRACE',
    ...limitFlags(),
  ];
  const { status, output } = await engine.run(['run', ...flags, tag, ...command], {
    withinMs: runWithinMs,
    log: `${logs}/${server}.log`,
    onLine: (line) => {
      if (/^ {2}\S/.test(line)) console.log(`  ${server}${line.slice(1)}`);
    },
  });
  engine.remove('rm', name);
  const tally = read(server, status, output);
  const failed = tally.failed > 0 ? `, ${tally.failed} FAILED` : '';
  console.log(`  ${server}: ${tally.passed} passed${failed} (${seconds(startedMs)} s)`);
  return tally;
}

function parse(words) {
  const known = ['--fresh', '--keep', ...servers];
  const unknown = words.find((word) => !known.includes(word) && !word.endsWith('.test.ts'));
  if (unknown) throw new Error(`${unknown}: expected ${known.join(', ')} or a test file`);
  const named = servers.filter((server) => words.includes(server));
  return {
    isFresh: words.includes('--fresh'),
    isKept: words.includes('--keep'),
    chosen: named.length > 0 ? named : servers,
    files: words.filter((word) => word.endsWith('.test.ts')),
  };
}

async function testWith(found, { chosen, files, isFresh, isKept }) {
  const { engine } = found;
  const tally = new Tally();
  const tags = new Map(
    chosen.map((server) => [
      server,
      `localhost/usher-test-${server}:${isKept ? 'kept' : process.pid}`,
    ]),
  );
  try {
    await buildImage(found, chosen[0], { tag: packages, target: 'packages', isFresh });
    for (const [server, tag] of tags) await buildImage(found, server, { tag });
    for (const [server, tag] of tags) tally.add(await runTests(engine, server, tag, files));
  } finally {
    if (!isKept) engine.remove('rmi', ...tags.values());
    engine.remove('image', 'prune', '--filter=label=usher=integration-tests');
  }
  return tally;
}

/** Runs the integration tests in containers; resolves with a tally, with one skip where none runs. */
export async function testInContainers(words) {
  const options = parse(words);
  const directory = mkdtempSync(`${tmpdir()}/usher-containers-`);
  mkdirSync(logs, { recursive: true });
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, interrupt);
  try {
    await installTools(candidates().some(({ command }) => works(command, 'info')));
    const found = await findEngine(directory, options.isFresh);
    mkdirSync(`${directory}/host`);
    mkdirSync(`${directory}/checkout`);
    writeHostSettings(`${directory}/host`);
    copyCheckout(`${directory}/checkout`);
    return await testWith({ ...found, directory }, options);
  } catch (error) {
    if (!(error instanceof Unavailable)) throw error;
    const tally = new Tally();
    tally.skipped.push(`containers: no engine works here (${error.message})`);
    return tally;
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM']) process.off(signal, interrupt);
    rmSync(directory, { recursive: true, force: true });
  }
}
