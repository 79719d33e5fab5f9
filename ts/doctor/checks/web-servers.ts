// SPDX-License-Identifier: Apache-2.0
// Do the web servers load Usher's module, once, the one that was built for them, and say with it what
// makes sense?
import { resolve } from 'node:path';
import { type Check, count, failure, ok, orOk, skipped, some, warning } from '../check.ts';
import { type ConfigurationFacts, usesUsher } from '../configuration-facts.ts';
import { type Configuration, findProgram, serverNames } from '../configurations.ts';
import { attempt, type Host } from '../host.ts';
import type { FoundOut } from '../report.ts';
import { runtimeDirOf, type Scene } from '../scene.ts';

const modules = { nginx: 'ngx_http_usher_module.so', apache: 'mod_usher.so' } as const;
const kinds = ['nginx', 'apache'] as const;

/** Those of the configurations that say something of Usher, with what they say. */
export function usherConfigurations(
  scene: Pick<Scene, 'configurations'>,
): (Configuration & { facts: ConfigurationFacts })[] {
  return scene.configurations.flatMap((one) =>
    one.facts !== null && mentions(one.facts) ? [{ ...one, facts: one.facts }] : [],
  );
}

function mentions(facts: ConfigurationFacts): boolean {
  return usesUsher(facts) || facts.commented.length > 0;
}

const servers: Check = {
  id: 'servers',
  group: 'Web servers',
  looksAt: 'which web servers are installed, and which configurations of theirs use Usher',
  worst: 'warning',
  remedy:
    'load the module; name a configuration at another place by `--nginx FILE`, `--apache FILE`',
  async run(scene) {
    const { host, configurations, processes } = scene;
    const installed = kinds.flatMap((kind) => {
      const program = findProgram(host, kind);
      return program === null ? [] : [{ kind, program }];
    });
    const found = await Promise.all(
      installed.map(async ({ kind, program }) => {
        const { output } = await host.run(program, ['-v'], { timeoutMs: 3000 });
        const version = /(?:nginx|Apache)\/[\d.]+/.exec(output)?.[0] ?? serverNames[kind];
        return ok(version, { where: program });
      }),
    );
    const using = usherConfigurations(scene);
    if (using.length > 0 || processes.some(({ kind }) => kind === 'launcher')) return found;
    const looked = configurations.map(({ path }) => path);
    const what =
      looked.length === 0
        ? 'no configuration of nginx or Apache httpd was found'
        : `none of these uses Usher: ${some(looked)}`;
    const fix =
      'load its module and name a program (README.md); a configuration elsewhere: --nginx FILE, --apache FILE';
    return [...found, warning(what, fix)];
  },
};

const moduleFits: Check = {
  id: 'module-fits',
  group: 'Web servers',
  looksAt: 'whether each installed server can load the module: was it built for this version?',
  worst: 'error',
  remedy: '`npm run build:native`, with the headers of the installed version',
  async run({ host, installation: { root }, configurations }) {
    const found = kinds.map(async (kind): Promise<FoundOut[]> => {
      const program = findProgram(host, kind);
      if (program === null) return [];
      const path = `${root}/build/${modules[kind]}`;
      if (attempt(() => host.stat(path)) === null) {
        const fix = `install its headers (apt install ${kind === 'nginx' ? 'nginx-dev' : 'apache2-dev'}) and build again: npm run build:native`;
        const isUsed = usherConfigurations({ configurations }).some((one) => one.kind === kind);
        return [
          isUsed
            ? failure(`no module was built for ${serverNames[kind]}`, fix, { where: path })
            : skipped(`no module was built for ${serverNames[kind]}`, { where: path, why: fix }),
        ];
      }
      const mpm = configurations.find(({ facts }) => facts?.mpm)?.facts;
      const said = await tryToLoad(host, { kind, program, path, mpm: mpmLine(mpm ?? null) });
      if (said === null) return [ok(`${serverNames[kind]} can load its module`, { where: path })];
      const fix = `build it again for this server: npm run build:native (in ${root})`;
      return [
        failure(`${serverNames[kind]} cannot load ${modules[kind]}`, fix, {
          where: path,
          why: said,
        }),
      ];
    });
    return (await Promise.all(found)).flat();
  },
};

function mpmLine(facts: ConfigurationFacts | null): string {
  if (facts?.mpm === null || facts === null) return '';
  const [name = '', path = ''] = facts.mpm.split(' ');
  return `LoadModule ${name} "${resolve(facts.serverRoot, path)}"`;
}

interface Trial {
  kind: 'nginx' | 'apache';
  program: string;
  path: string;
  /** The line that loads a process model; '' = it is built in, or not known. */
  mpm: string;
}

/** Resolves with what it said, or null: with a configuration of one line, so that nothing else matters. */
async function tryToLoad(host: Host, { kind, program, path, mpm }: Trial): Promise<string | null> {
  return host.inDirectory(async (directory, write) => {
    const text =
      kind === 'nginx'
        ? `load_module "${path}";\nerror_log stderr;\npid ${directory}/pid;\nevents { }\n`
        : `ServerRoot "${directory}"\nDefaultRuntimeDir "${directory}"\nPidFile "${directory}/pid"\nErrorLog "${directory}/log"\nServerName 127.0.0.1\n${mpm}\nLoadModule usher_module "${path}"\n`;
    const file = write('server.conf', text);
    const args = kind === 'nginx' ? ['-t', '-q', '-p', directory, '-c', file] : ['-t', '-f', file];
    const { exitCode, output } = await host.run(program, args);
    if (exitCode === 0) return null;
    // Without a process model httpd ends too, but after it has loaded what it was told to.
    const isAboutModule = output.includes(path) || output.includes(modules[kind]);
    return isAboutModule ? oneLine(output) : null;
  });
}

const configuration: Check = {
  id: 'configuration',
  group: 'Web servers',
  looksAt: 'what `nginx -t` and `httpd -t` say of each configuration that uses Usher',
  worst: 'error',
  remedy:
    'correct the line; the server goes on with its former configuration until it is restarted',
  async run(scene) {
    const unread = scene.configurations.filter(({ unreadable }) => unreadable !== null);
    const found = unread.map(({ path, unreadable, isDenied, isGone, master }) => {
      if (isDenied) return skipped(`${path} cannot be read`, { why: 'be root' });
      if (isGone)
        return skipped(`the file of a server that runs is not there (pid ${master?.pid})`, {
          where: path,
        });
      const details = { where: path, why: unreadable ?? '' };
      return failure('the configuration cannot be read', 'correct it', details);
    });
    const tested = await Promise.all(
      usherConfigurations(scene).map((one) => testConfiguration(scene.host, one)),
    );
    return [...found, ...tested];
  },
};

async function testConfiguration(
  host: Host,
  { kind, path, test }: Configuration,
): Promise<FoundOut> {
  if (test === null) return skipped(`${serverNames[kind]} is not installed`, { where: path });
  const { exitCode, output } = await host.run(test.program, test.args, { env: test.env });
  if (exitCode === 0) return ok(`${serverNames[kind]} accepts it`, { where: path });
  const isOurs = host.uid === 0 || !/permission denied|\(13\)/i.test(output);
  if (!isOurs) return skipped(`${path} cannot be tested`, { why: 'be root' });
  const what = exitCode === null ? 'its test did not end' : `${serverNames[kind]} refuses it`;
  const fix = 'correct that line; until then neither a reload nor a restart will do';
  return failure(what, fix, { where: placeIn(output) ?? path, why: oneLine(output) });
}

/** "… in /etc/nginx/nginx.conf:7", "Syntax error on line 7 of /etc/apache2/apache2.conf". */
export function placeIn(output: string): string | null {
  const [, file, line] = / in (\/\S+):(\d+)$/m.exec(output) ?? [];
  if (file !== undefined) return `${file}:${line}`;
  const [, number, path] = /error on line (\d+) of (\S+?):?$/m.exec(output) ?? [];
  return path === undefined ? null : `${path}:${number}`;
}

/** What servers say, in short: without times and pids, of several lines those that are errors. */
function oneLine(output: string): string {
  const lines = output.split('\n').map((line) =>
    line
      .replace(/^\d{4}\/\S+ \S+ /, '')
      .replace(/^nginx: /, '')
      .replace(/^\[emerg\] (?:\d+#\d+: )?/, '')
      .replace(/^AH\d+: (?=Syntax)/, ''),
  );
  const said = lines.filter(
    (line) => line !== '' && !/^\[(warn|notice)\]|test failed|AH00558/.test(line),
  );
  return said.join('; ').slice(0, 500) || 'it said nothing';
}

const moduleLoaded: Check = {
  id: 'module-loaded',
  group: 'Web servers',
  looksAt:
    'whether a configuration with Usher’s directives loads the module: once, not in a comment, and this installation’s',
  worst: 'error',
  remedy: 'one `load_module` or `LoadModule` line',
  run(scene) {
    return usherConfigurations(scene).flatMap((one) => loadOf(scene, one));
  },
};

function loadOf(
  { host, installation: { root } }: Scene,
  { kind, path, facts }: Configuration & { facts: ConfigurationFacts },
): FoundOut[] {
  const own = `${root}/build/${modules[kind]}`;
  const line = kind === 'nginx' ? `load_module ${own};` : `LoadModule usher_module ${own}`;
  const [first, second] = facts.loads;
  const [comment] = facts.commented;
  if (first === undefined) {
    if (facts.directives.length === 0)
      return [skipped('its module is in a comment', { where: comment?.place ?? path })];
    const [use] = facts.directives;
    const why = `${use?.name} at ${use?.place} is unknown to ${serverNames[kind]} without it`;
    if (comment === undefined)
      return [failure('the module is not loaded', `add: ${line}`, { where: path, why })];
    return [
      failure('the line that loads the module is a comment', 'take the # away', {
        where: comment.place,
        why,
      }),
    ];
  }
  if (second !== undefined) {
    const why = `first at ${first.place}; ${kind === 'nginx' ? 'nginx refuses that' : 'the first one counts'}`;
    return [
      failure('the module is loaded twice', 'remove one of the two lines', {
        where: second.place,
        why,
      }),
    ];
  }
  return [loadedFrom(host, first, own, facts)];
}

function loadedFrom(
  host: Host,
  { path, place }: { path: string; place: string },
  own: string,
  { serverRoot, kind }: ConfigurationFacts,
): FoundOut {
  const absolute = resolve(serverRoot || '/usr/share/nginx', path);
  const real = attempt(() => host.realpath(absolute));
  if (real === null && (path.startsWith('/') || kind === 'apache')) {
    const fix = `correct the path: ${own}`;
    return failure(`the module is not there: ${absolute}`, fix, { where: place });
  }
  if (real === null || real === attempt(() => host.realpath(own)) || sameBytes(host, real, own)) {
    return ok('its module is loaded', { where: place });
  }
  const why = 'module, launcher and manager of different builds may refuse each other';
  return warning(
    `another installation’s module: ${real}`,
    `load ${own}, or use the usher that belongs to it`,
    { where: place, why },
  );
}

function sameBytes(host: Host, one: string, other: string): boolean {
  const bytes = [one, other].map((path) => attempt(() => host.bytes(path)));
  return bytes[0]?.equals(bytes[1] ?? Buffer.alloc(0)) === true;
}

const directives: Check = {
  id: 'directives',
  group: 'Web servers',
  looksAt:
    'whether classes are named and used: each class name of `usher_pass`, `UsherPass` is defined somewhere',
  worst: 'warning',
  remedy: 'define the class, or correct the name',
  async run(scene) {
    const all = usherConfigurations(scene).filter(({ facts }) => facts.loads.length > 0);
    const known = new Set(all.flatMap(({ facts }) => facts.classes.map(({ name }) => name)));
    for (const { path } of scene.runtimeDirs) {
      const view = await scene.manager(path);
      const classes = view.state === 'alive' ? (view.status?.classes ?? []) : [];
      for (const { name } of classes) known.add(name.replace(/@[^@/]*$/, ''));
    }
    return all.flatMap(({ path, facts }) => used(path, facts, known));
  },
};

function used(path: string, facts: ConfigurationFacts, known: ReadonlySet<string>): FoundOut[] {
  const named = facts.passes.filter(({ target }) => /^[\w.-]+$/.test(target) && !isHandler(target));
  const unknown = named.filter(({ target }) => !known.has(target));
  const found = unknown.map(({ target, place }) => {
    const fix = `define it (usher_app ${target} …; AppClass ${target} …), or correct the name`;
    return warning(`no directive defines the class ${target}`, fix, {
      where: place,
      why: 'requests get 404 or 503',
    });
  });
  if (facts.directives.length === 0 && facts.passes.length === 0) {
    const fix =
      'name a program and where it is used (docs/configuration.md), or load the module no longer';
    return [warning('the module is loaded and nothing uses it', fix, { where: path })];
  }
  const text = `${count(facts.classes.filter(({ name }) => name !== '').length, 'class', 'classes')}, used at ${count(facts.passes.length, 'place')}`;
  const [first] = facts.directives;
  return orOk(found, text, { where: first?.place ?? path });
}

function isHandler(target: string): boolean {
  return /^(fastcgi-script|fcgid-script|usher-cgi)$/.test(target);
}

const rivals: Check = {
  id: 'rivals',
  group: 'Web servers',
  looksAt:
    'mod_fastcgi or mod_fcgid loaded beside Usher, whose directives and handlers have the same names',
  worst: 'warning',
  remedy: 'load one of them',
  run(scene) {
    return usherConfigurations(scene).flatMap(({ facts }) => {
      if (facts.loads.length === 0) return [];
      return facts.rivals.map(({ name, place }) => {
        const why =
          name === 'mod_fcgid'
            ? 'the handler fcgid-script and the Fcgid… directives are left to it'
            : 'both know FastCgiServer and the handler fastcgi-script; which of them serves depends on their order';
        return warning(
          `${name} is loaded beside Usher`,
          `remove that line (docs/from-${name}.md), or keep their programs apart`,
          { where: place, why },
        );
      });
    });
  },
};

const runtimeDirs: Check = {
  id: 'one-manager',
  group: 'Web servers',
  looksAt: 'whether all servers name the same runtime directory, and so have one manager',
  worst: 'warning',
  remedy: 'the same `usher_runtime_dir`, `UsherRuntimeDir` in both',
  run(scene) {
    const { host, wanted } = scene;
    const all = usherConfigurations(scene).flatMap((one) => {
      const dir = one.facts.loads.length === 0 ? null : runtimeDirOf(host, one);
      return dir === null ? [] : [{ dir, where: one.facts.runtimeDir?.place ?? one.path }];
    });
    const meant = wanted.runtimeDir ?? all[0]?.dir;
    const others = all.filter(({ dir }) => dir !== meant);
    if (meant === undefined || all.length === 0) return [];
    const whose =
      wanted.runtimeDir === null ? `${all[0]?.where} says ${meant}` : `--runtime-dir is ${meant}`;
    const why = `${whose}: each directory has a manager and programs of its own`;
    const fix = `say ${meant} in both, unless two managers are meant`;
    return orOk(
      others.map(({ dir, where }) =>
        warning(`another runtime directory: ${dir}`, fix, { where, why }),
      ),
      `the runtime directory is ${meant}`,
      { where: all[0]?.where ?? '' },
    );
  },
};

export const webServerChecks: readonly Check[] = [
  ...[servers, moduleFits, configuration, moduleLoaded, directives, rivals, runtimeDirs],
];
