// SPDX-License-Identifier: Apache-2.0
// usher install: all checks, then the manifest, the package, the service, and what the web servers read.
import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate as letOthersRun } from 'node:timers/promises';
import { type Decision, decide, entryOf, isUntouched, type Wanted } from './decide.ts';
import type { Host } from './host.ts';
import { Journal } from './journal.ts';
import {
  type Entry,
  type ManagerMode,
  type Manifest,
  manifestPath,
  type Part,
  readManifest,
  type ServerKind,
  type Tree,
} from './manifest.ts';
import { ensureModule } from './modules.ts';
import { digests, idOf, modules, type PackageFile, packageFiles } from './package-files.ts';
import { findServer } from './servers/index.ts';
import type { WebServer } from './servers/server.ts';
import { InstallError, type Report, type Tell } from './steps.ts';
import { changedFiles, removeTree, runningFrom, writeTree } from './trees.ts';
import { findNode } from './trust.ts';

export const defaultPrefix = '/usr/local/lib/usher';

export interface InstallOptions {
  servers: ServerKind[];
  /** Default: that of the last time, else /usr/local/lib/usher. */
  prefix: string | null;
  /** "/", or the directory below which everything is. */
  root: string;
  /** Only files are made, below the root: nothing of this host is changed or looked at. */
  isStaged: boolean;
  /** Default: that of the last time, else external where systemd runs. */
  manager: ManagerMode | null;
  /** Default: one that other users can run. */
  node: string | null;
  isDryRun: boolean;
  signal: AbortSignal;
  tell: Tell;
}

interface Placed {
  part: Part;
  path: string;
  wanted: Wanted;
  what: string;
  mode?: number;
}

/**
 * Installs, or upgrades what is installed. What fails undoes all that was done.
 * @throws InstallError
 */
export async function install(options: InstallOptions, host: Host): Promise<Report> {
  return new Installer(options, host).run();
}

class Installer {
  private readonly options: InstallOptions;
  private readonly host: Host;
  private readonly journal: Journal;
  private readonly former: Manifest | null;
  private readonly prefix: string;
  private readonly manager: ManagerMode;
  private readonly isThisHost: boolean;
  private readonly report: Report;
  private entries: Entry[];
  private trees: Tree[];

  constructor(options: InstallOptions, host: Host) {
    this.options = options;
    this.host = host;
    this.journal = new Journal(options.root);
    this.former = readManifest(options.root);
    this.isThisHost = !options.isStaged;
    this.prefix = options.prefix ?? this.former?.prefix ?? defaultPrefix;
    this.manager =
      options.manager ?? this.former?.manager ?? (host.hasSystemd ? 'external' : 'embedded');
    this.entries = [...(this.former?.entries ?? [])];
    this.trees = [...(this.former?.trees ?? [])];
    const { isDryRun } = options;
    this.report = {
      version: versionOf(host.source),
      prefix: this.prefix,
      isDryRun,
      steps: [],
      next: [],
    };
  }

  async run(): Promise<Report> {
    const { servers, node } = await this.check();
    const files = packageFiles(this.host.source, { prefix: this.prefix, node });
    const byPath = digests(files);
    const path = `${this.prefix}-${this.report.version}-${idOf(files, byPath)}`;
    const tree = { path, version: this.report.version, files: byPath };
    const placed = this.placements(servers, node, tree);
    try {
      await this.perform(servers, node, tree, files, placed);
    } catch (error) {
      throw await this.undone(error as Error);
    }
    if (!this.options.isDryRun) this.removeFormerTrees(tree, node);
    this.sayWhatIsNext(servers, tree);
    return this.report;
  }

  // ---- before anything is changed

  private async check(): Promise<{ servers: WebServer[]; node: string }> {
    const { former, host, options, prefix } = this;
    if (this.isThisHost && host.uid !== 0 && !options.isDryRun) {
      throw new InstallError(
        'only root can install: sudo usher install … (--dry-run says what it would do)',
      );
    }
    if (former && former.prefix !== prefix) {
      throw new InstallError(
        `Usher is installed at ${former.prefix}: usher uninstall --all, then install at ${prefix}`,
      );
    }
    const there = this.journal.find(prefix);
    if (there !== null && !(former && typeof there === 'object' && 'target' in there)) {
      const what =
        typeof there === 'object' && 'target' in there
          ? `a link to ${there.target}`
          : 'there already';
      throw new InstallError(
        `${prefix} is ${what}, and not by "usher install": take it away, or choose --prefix DIR`,
      );
    }
    const fault = this.isThisHost ? host.faultOfFolder(dirname(prefix)) : null;
    if (fault !== null) {
      throw new InstallError(
        `${prefix}: root will run what is there, as will other users, but ${fault}`,
      );
    }
    const node = options.node ?? (await findNode(host).catch(asInstallError));
    const servers = await this.serversAndModules();
    await this.checkService();
    return { servers, node };
  }

  private async serversAndModules(): Promise<WebServer[]> {
    const { host, options } = this;
    const kinds = new Set([...options.servers, ...(this.former?.servers ?? [])]);
    const servers: WebServer[] = [];
    for (const kind of kinds) {
      const isAsked = options.servers.includes(kind);
      const server = await findServer(kind, host).catch((error: Error) => {
        if (isAsked) throw new InstallError(error.message);
        return null; // one that was uninstalled since, and is not asked for
      });
      if (server === null) continue;
      if (isAsked) {
        await this.checkConfigurationBefore(server);
        await ensureModule(server, host, options.isDryRun, this.tell);
      }
      servers.push(server);
    }
    return servers;
  }

  /** A module that no longer fits after an upgrade of the server is what we are here for. */
  private async checkConfigurationBefore(server: WebServer): Promise<void> {
    if (!this.isThisHost) return;
    const fault = await server.checkConfiguration();
    if (fault === null || (this.former !== null && fault.includes(modules[server.kind]))) return;
    throw new InstallError(
      `the configuration of ${server.version} is broken as it is; put it right first:\n${fault}`,
    );
  }

  private async checkService(): Promise<void> {
    const isEnabled = this.entries.some(({ kind }) => kind === 'service');
    if (!isEnabled || this.manager === 'external' || !this.host.hasSystemd) return;
    const { status } = await this.host.run('systemctl', ['is-active', '--quiet', 'usher']);
    if (status === 0) {
      throw new InstallError('usher.service runs: systemctl stop usher, then --manager embedded');
    }
  }

  // ---- what is to be there

  private placements(servers: WebServer[], node: string, tree: Tree): Placed[] {
    const placed: Placed[] = [
      link('package', this.prefix, basename(tree.path), 'the package, by its name'),
      link('package', '/usr/local/bin/usher', `${this.prefix}/bin/usher`, 'the command line'),
      this.file('package', '/etc/logrotate.d/usher', 'logrotate/usher', 'begins logs anew', node),
    ];
    if (this.manager === 'external') {
      const unit = '/etc/systemd/system/usher.service';
      placed.push(
        this.file(
          'package',
          '/etc/sysusers.d/usher.conf',
          'systemd/usher.sysusers',
          'the user usher',
          node,
        ),
        this.file('package', unit, 'systemd/usher.service', 'the service', node),
      );
    }
    for (const { kind, placements } of servers) {
      for (const one of placements) {
        const what = `${kind}: ${one.what}`;
        placed.push(
          one.kind === 'link'
            ? link(kind, one.path, one.target, what)
            : this.file(kind, one.path, one.source, what, node),
        );
      }
    }
    return placed;
  }

  /** A file of packaging/ with the places and the manager of this installation. */
  private file(part: Part, path: string, source: string, what: string, node: string): Placed {
    const text = readFileSync(join(this.host.source, 'packaging', source), 'utf8')
      .replaceAll(defaultPrefix, this.prefix)
      .replaceAll('--node node ', `--node ${node} `)
      .replace(/^(usher_manager|UsherManager) \w+/m, `$1 ${this.manager}`);
    return { part, path, wanted: { bytes: Buffer.from(text) }, what };
  }

  // ---- doing it

  private readonly tell: Tell = (step) => {
    this.report.steps.push(step);
    this.options.tell(step);
  };

  private async perform(
    servers: WebServer[],
    node: string,
    tree: Tree,
    files: PackageFile[],
    placed: Placed[],
  ): Promise<void> {
    const isKnown = this.trees.some(({ path }) => path === tree.path);
    if (!isKnown) this.trees = [...this.trees, tree];
    this.makeFolder('package', dirname(manifestPath));
    // First, so that whatever happens from here on, "usher uninstall" knows of all that may be there.
    this.writeManifest(node, [
      ...this.entries,
      ...placed
        .filter(({ path }) => this.recorded(path) === null && this.journal.find(path) === null)
        .map(({ part, path, wanted }) => entryOf(part, path, wanted)),
    ]);
    await this.placeTree(tree, files);
    await this.makeUser();
    for (const one of placed) {
      await letOthersRun();
      this.options.signal.throwIfAborted();
      this.place(one);
    }
    await this.takeAwayObsolete(placed);
    await this.enableService();
    await this.checkConfigurations(servers);
    this.writeManifest(node, this.entries);
  }

  private writeManifest(node: string, entries: Entry[]): void {
    if (this.options.isDryRun) return;
    const servers = [...new Set([...(this.former?.servers ?? []), ...this.options.servers])].sort();
    const { manager, prefix, trees } = this;
    const manifest: Manifest = { schema: 1, prefix, trees, node, manager, servers, entries };
    const text = `${JSON.stringify(manifest, null, 1)}\n`;
    const found = this.journal.find(manifestPath);
    if (
      found !== null &&
      found !== 'other' &&
      'bytes' in found &&
      found.bytes.equals(Buffer.from(text))
    )
      return;
    this.journal.writeFile(manifestPath, text);
  }

  private recorded(path: string): Extract<Entry, { kind: 'file' | 'link' }> | null {
    for (const entry of this.entries) {
      if (entry.path === path && (entry.kind === 'file' || entry.kind === 'link')) return entry;
    }
    return null;
  }

  private record(entry: Entry): void {
    const others = this.entries.filter(
      ({ kind, path }) => kind !== entry.kind || path !== entry.path,
    );
    const isNew = others.length === this.entries.length;
    this.entries = isNew
      ? [...this.entries, entry]
      : this.entries.map((one) =>
          one.kind === entry.kind && one.path === entry.path ? entry : one,
        );
  }

  private makeFolder(part: Part, path: string): void {
    if (this.options.isDryRun) return;
    for (const made of this.journal.makeDirectory(path)) {
      this.record({ part, kind: 'directory', path: made });
    }
  }

  private async placeTree(tree: Tree, files: PackageFile[]): Promise<void> {
    const what = `the package, version ${tree.version}, ${files.length} files`;
    const changed = changedFiles(tree, this.journal);
    if (changed !== null) {
      this.tell({ action: 'already', what, subject: tree.path });
      for (const name of changed) {
        this.tell({
          action: 'keep',
          what: 'changed since it was installed',
          subject: `${tree.path}/${name}`,
        });
      }
      return;
    }
    if (!this.options.isDryRun) {
      this.makeFolder('package', dirname(tree.path));
      await writeTree(tree.path, files, this.journal, this.options.signal);
    }
    this.tell({ action: 'create', what, subject: tree.path });
  }

  private place({ part, path, wanted, what, mode }: Placed): void {
    const decision = decide(wanted, this.journal.find(path), this.recorded(path));
    if (decision === 'create' || decision === 'replace') {
      if (!this.options.isDryRun) {
        this.makeFolder(part, dirname(path));
        if ('target' in wanted) this.journal.writeLink(path, wanted.target);
        else this.journal.writeFile(path, wanted.bytes, mode);
      }
      this.record(entryOf(part, path, wanted));
    }
    this.tell({ ...told(decision, what), subject: path });
  }

  /** Whom the manager runs as: nobody else's, and without rights. */
  private async makeUser(): Promise<void> {
    if (!this.isThisHost) return;
    if ((await this.host.run('getent', ['passwd', 'usher'])).status === 0) {
      this.tell({ action: 'already', what: 'the user that the manager runs as', subject: 'usher' });
      return;
    }
    await this.runChange(
      ['useradd', '--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent'],
      [
        '--shell',
        '/usr/sbin/nologin',
        '--comment',
        'Usher, process manager of FastCGI programs',
        'usher',
      ],
      'the user that the manager runs as',
      ['userdel', 'usher'],
    );
    this.record({ part: 'package', kind: 'user', path: 'usher' });
  }

  private async runChange(
    [program = '', ...args]: string[],
    more: string[],
    what: string,
    undo: string[],
  ): Promise<void> {
    const subject = [program, ...args, ...more].join(' ');
    if (!this.options.isDryRun) {
      const { status, output } = await this.host.run(program, [...args, ...more]);
      if (status !== 0)
        throw new InstallError(`${subject}: ${output.trim() || `status ${status}`}`);
      this.journal.did(async () => {
        const [program = '', ...args] = undo;
        const { status, output } = await this.host.run(program, args);
        if (status !== 0) throw new Error(`${undo.join(' ')}: ${output.trim()}`);
      });
    }
    this.tell({ action: 'run', what, subject });
  }

  /** What an installation of another kind or version had, and this one has not. */
  private async takeAwayObsolete(placed: Placed[]): Promise<void> {
    const wanted = new Set(placed.map(({ path }) => path));
    const parts = new Set(placed.map(({ part }) => part));
    if (this.manager === 'embedded') await this.disableService();
    for (const entry of this.entries) {
      if (entry.kind !== 'file' && entry.kind !== 'link') continue;
      if (wanted.has(entry.path) || !parts.has(entry.part)) continue;
      const found = this.journal.find(entry.path);
      if (found === null || isUntouched(entry, found)) {
        if (!this.options.isDryRun) this.journal.remove(entry.path);
        this.tell({ action: 'remove', what: 'no longer wanted', subject: entry.path });
      } else this.tell({ ...told('changed', ''), subject: entry.path });
      this.entries = this.entries.filter((one) => one !== entry);
    }
  }

  private async disableService(): Promise<void> {
    if (!this.entries.some(({ kind }) => kind === 'service')) return;
    await this.runChange(['systemctl', 'disable', 'usher'], [], 'the service', [
      ...['systemctl', 'enable', 'usher'],
    ]);
    this.entries = this.entries.filter(({ kind }) => kind !== 'service');
  }

  private async enableService(): Promise<void> {
    if (this.manager !== 'external' || !this.isThisHost || !this.host.hasSystemd) return;
    const { status } = await this.host.run('systemctl', ['is-enabled', '--quiet', 'usher']);
    const isEnabled = status === 0 && this.entries.some(({ kind }) => kind === 'service');
    const unit = this.report.steps.find(({ subject }) => subject.endsWith('/usher.service'));
    if (unit?.action !== 'already') {
      await this.runChange(['systemctl', 'daemon-reload'], [], 'reads the unit', [
        ...['systemctl', 'daemon-reload'],
      ]);
    }
    if (isEnabled) {
      this.tell({ action: 'already', what: 'the service is enabled', subject: 'usher.service' });
      return;
    }
    await this.runChange(
      ['systemctl', 'enable', '--now', 'usher'],
      [],
      'starts the service, also at boot',
      [...['systemctl', 'disable', '--now', 'usher']],
    );
    this.record({ part: 'package', kind: 'service', path: 'usher.service' });
  }

  private async checkConfigurations(servers: WebServer[]): Promise<void> {
    if (!this.isThisHost || this.options.isDryRun) return;
    for (const server of servers) {
      const fault = await server.checkConfiguration();
      if (fault !== null && this.options.servers.includes(server.kind)) {
        throw new InstallError(
          `${server.version} does not take its configuration with Usher in it:\n${fault}`,
        );
      }
      if (fault !== null)
        this.report.next.push(`${server.version} cannot load its configuration: ${fault}`);
      else this.tell({ action: 'check', what: 'takes its configuration', subject: server.version });
    }
  }

  private async undone(error: Error): Promise<Error> {
    const failures = await this.journal.undo();
    const end =
      failures.length === 0
        ? 'nothing was changed'
        : `what could not be undone:\n  ${failures.join('\n  ')}`;
    return new InstallError(`${error.message}\n${end}`, { cause: error });
  }

  // ---- after it

  /** A former version stays for as long as something runs from it. */
  private removeFormerTrees(tree: Tree, node: string): void {
    const stays = this.trees.filter((one) => {
      if (one.path === tree.path) return true;
      const pids = this.isThisHost ? runningFrom(one, this.host) : [];
      if (pids.length > 0) {
        const what = `version ${one.version} still runs (pid ${pids.join(', ')}); the next install removes it`;
        this.tell({ action: 'keep', what, subject: one.path });
        return true;
      }
      const kept = removeTree(one, this.journal);
      for (const path of kept) {
        this.tell({ action: 'keep', what: 'changed, or not by us', subject: path });
      }
      this.tell({ action: 'remove', what: `version ${one.version}`, subject: one.path });
      return false;
    });
    if (stays.length === this.trees.length) return;
    this.trees = stays;
    this.writeManifest(node, this.entries);
  }

  private sayWhatIsNext(servers: WebServer[], tree: Tree): void {
    const { next, steps } = this.report;
    const created = steps.some(
      ({ action, subject }) => action === 'create' && subject === tree.path,
    );
    const formerTrees = this.former?.trees ?? [];
    if (
      this.isThisHost &&
      formerTrees.some((one) => one.path !== tree.path && runningFrom(one, this.host).length > 0)
    ) {
      next.push(
        this.manager === 'external' && this.host.hasSystemd
          ? 'systemctl reload usher    # the new version takes over; programs and requests go on'
          : 'usher upgrade    # the new version takes over; programs and requests go on',
      );
    }
    for (const server of servers) {
      if (!this.options.servers.includes(server.kind)) continue;
      if (server.byHand !== null) next.push(server.byHand.replaceAll('PREFIX', this.prefix));
      const changed = steps.some(
        ({ action, what }) =>
          what.startsWith(`${server.kind}:`) && (action === 'create' || action === 'replace'),
      );
      if (!changed && !created) continue;
      if (changed) next.push(`edit ${server.configuration}    # which programs it serves`);
      next.push(`${server.reload}    # takes the module over`);
    }
    if (this.manager === 'external' && !(this.isThisHost && this.host.hasSystemd)) {
      next.push(
        'systemctl enable --now usher    # where systemd runs: the servers are told not to start a manager',
      );
    }
  }
}

function link(part: Part, path: string, target: string, what: string): Placed {
  return { part, path, wanted: { target }, what };
}

function told(
  decision: Decision,
  what: string,
): { action: 'create' | 'replace' | 'already' | 'keep'; what: string } {
  switch (decision) {
    case 'create':
    case 'replace':
    case 'already':
      return { action: decision, what };
    case 'foreign-same':
      return { action: 'already', what: `${what} (was there before Usher was installed)` };
    case 'changed':
      return { action: 'keep', what: 'changed since it was installed' };
    case 'foreign':
      return { action: 'keep', what: `not by "usher install": ${what} is left to you` };
  }
}

function asInstallError(error: Error): never {
  throw new InstallError(error.message);
}

function versionOf(source: string): string {
  const path = join(source, 'package.json');
  if (!existsSync(path)) throw new InstallError(`${path} is missing`);
  return (JSON.parse(readFileSync(path, 'utf8')) as { version: string }).version;
}
