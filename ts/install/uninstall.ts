// SPDX-License-Identifier: Apache-2.0
// usher uninstall: takes away what the manifest says, where it still is what was put there.
import { isUntouched } from './decide.ts';
import type { Host } from './host.ts';
import { Journal } from './journal.ts';
import {
  type Entry,
  type Manifest,
  manifestPath,
  readManifest,
  type ServerKind,
} from './manifest.ts';
import { findServer } from './servers/index.ts';
import type { Use, WebServer } from './servers/server.ts';
import { InstallError, type Report, type Tell } from './steps.ts';
import { removeTree, runningFrom } from './trees.ts';

export interface UninstallOptions {
  /** null = all, and what is left of the package. */
  servers: ServerKind[] | null;
  root: string;
  /** Only files are made, below the root: nothing of this host is changed or looked at. */
  isStaged: boolean;
  isDryRun: boolean;
  /** Ends the managers that run from the package, with everything they run. */
  stops: boolean;
  /** Goes on where a web server would not start afterwards, or a manager runs. */
  isForced: boolean;
  tell: Tell;
}

/** @returns null = there is nothing installed. */
export async function uninstall(options: UninstallOptions, host: Host): Promise<Report | null> {
  const manifest = readManifest(options.root);
  return manifest && new Uninstaller(options, host, manifest).run();
}

class Uninstaller {
  private readonly options: UninstallOptions;
  private readonly host: Host;
  private readonly manifest: Manifest;
  private readonly journal: Journal;
  private readonly isThisHost: boolean;
  private readonly leaving: ServerKind[];
  private readonly staying: ServerKind[];
  /** Those whose configuration can be used today. */
  private readonly sound: WebServer[] = [];
  private readonly report: Report;
  private hasStopped = false;

  constructor(options: UninstallOptions, host: Host, manifest: Manifest) {
    this.options = options;
    this.host = host;
    this.manifest = manifest;
    this.journal = new Journal(options.root);
    this.isThisHost = !options.isStaged;
    const { servers } = options;
    this.leaving = manifest.servers.filter((kind) => servers === null || servers.includes(kind));
    this.staying = manifest.servers.filter((kind) => !this.leaving.includes(kind));
    this.report = {
      version: manifest.trees.at(-1)?.version ?? '',
      prefix: manifest.prefix,
      isDryRun: options.isDryRun,
      steps: [],
      next: [],
    };
  }

  private get isLast(): boolean {
    return this.staying.length === 0;
  }

  async run(): Promise<Report> {
    const { manifest, options } = this;
    for (const kind of options.servers ?? []) {
      if (manifest.servers.includes(kind)) continue;
      this.tell({ action: 'already', what: 'is not installed', subject: kind });
    }
    if (this.leaving.length === 0 && !(this.isLast || options.servers === null)) return this.report;
    await this.check();
    try {
      await this.takeAway((entry) => entry.part !== 'package' && this.leaving.includes(entry.part));
      await this.checkConfigurations();
      if (this.isLast) {
        await this.stopManagers();
        await this.disableService();
        await this.takeAway(({ part }) => part === 'package');
        await this.forgetUnit();
      }
    } catch (error) {
      const failures = await this.journal.undo();
      const end =
        failures.length === 0
          ? 'nothing was changed'
          : `what could not be undone:\n  ${failures.join('\n  ')}`;
      const stopped = this.hasStopped ? ', but the manager has been stopped' : '';
      throw new InstallError(`${(error as Error).message}\n${end}${stopped}`, { cause: error });
    }
    if (this.isLast) this.removePackage();
    else this.writeManifest();
    return this.report;
  }

  private readonly tell: Tell = (step) => {
    this.report.steps.push(step);
    this.options.tell(step);
  };

  // ---- before anything is changed

  private async check(): Promise<void> {
    const { host, options } = this;
    if (!this.isThisHost) return;
    if (host.uid !== 0 && !options.isDryRun)
      throw new InstallError('only root can uninstall: sudo usher uninstall …');
    const faults: string[] = [];
    for (const kind of this.leaving) {
      const server = await findServer(kind, host).catch(() => null);
      if (server === null) continue; // it has gone before us
      const fault = await this.faultOfUses(server);
      if (fault === null) this.sound.push(server);
      else faults.push(fault);
      this.report.next.push(`${server.reload}    # a running one has the module until then`);
    }
    const running = this.isLast ? this.running() : [];
    if (running.length > 0 && !options.stops) {
      faults.push(
        `a manager runs from ${this.manifest.prefix} (pid ${running.join(', ')}): --stop ends it and all its programs`,
      );
    }
    if (faults.length > 0 && !options.isForced) {
      throw new InstallError(
        `${faults.join('\n')}\nNothing was changed; --force goes on all the same`,
      );
    }
  }

  /** Pids of launchers and what else executes our files. */
  private running(): number[] {
    return this.isThisHost
      ? this.manifest.trees.flatMap((tree) => runningFrom(tree, this.host))
      : [];
  }

  private async faultOfUses(server: WebServer): Promise<string | null> {
    const uses = await server.uses(this.goingFiles());
    if (uses === null) {
      return `the configuration of ${server.version} is broken, so what it uses of Usher cannot be told:\n${await server.checkConfiguration()}`;
    }
    if (uses.length === 0) return null;
    const lines = uses.map(({ file, line, text }: Use) => `  ${file}:${line}: ${text}`);
    return `${server.version} would not start any more: its configuration uses Usher at\n${lines.join('\n')}`;
  }

  /** Files and links that will be gone. */
  private goingFiles(): Set<string> {
    return new Set(
      this.manifest.entries
        .filter((entry) => this.isGoing(entry) && this.isOurs(entry))
        .map(({ path }) => path),
    );
  }

  private isGoing({ part }: Entry): boolean {
    return part === 'package' ? this.isLast : this.leaving.includes(part);
  }

  private isOurs(entry: Entry): boolean {
    if (entry.kind !== 'file' && entry.kind !== 'link') return false;
    return isUntouched(entry, this.journal.find(entry.path));
  }

  // ---- doing it

  private async stopManagers(): Promise<void> {
    const pids = this.isLast && this.options.stops ? this.running() : [];
    if (pids.length === 0 || this.options.isDryRun) return;
    this.hasStopped = true;
    if (this.host.hasSystemd) await this.host.run('systemctl', ['stop', 'usher']);
    const { prefix, node } = this.manifest;
    for (const runtimeDir of this.host.runtimeDirs(pids)) {
      const args = [`${prefix}/bin/usher`, 'stop', '--runtime-dir', runtimeDir];
      const { status, output } = await this.host.run(node, args);
      if (status !== 0 && this.running().length > 0)
        throw new InstallError(`usher stop: ${output.trim()}`);
    }
    this.tell({
      action: 'run',
      what: `the manager and its programs (pid ${pids.join(', ')})`,
      subject: 'usher stop',
    });
  }

  /** In reverse order, links before what they lead to. */
  private async takeAway(isMeant: (entry: Entry) => boolean): Promise<void> {
    for (const entry of this.manifest.entries.filter(isMeant).reverse()) {
      if (entry.kind === 'directory') {
        if (entry.part !== 'package') this.removeDirectory(entry.path); // those with the manifest, at the end
      } else if (entry.kind === 'user') await this.removeUser(entry.path);
      else if (entry.kind !== 'service') this.removeEntry(entry);
    }
  }

  private removeEntry(entry: Extract<Entry, { kind: 'file' | 'link' }>): void {
    const found = this.journal.find(entry.path);
    if (found === null) {
      this.tell({ action: 'already', what: 'is gone', subject: entry.path });
      return;
    }
    if (!isUntouched(entry, found)) {
      this.tell({ action: 'keep', what: 'changed since it was installed', subject: entry.path });
      return;
    }
    if (!this.options.isDryRun) this.journal.remove(entry.path);
    this.tell({ action: 'remove', what: entry.part, subject: entry.path });
  }

  private removeDirectory(path: string): void {
    if (this.options.isDryRun) return;
    if (!this.journal.removeDirectory(path)) {
      this.tell({ action: 'keep', what: 'not empty', subject: path });
    }
  }

  private async removeUser(name: string): Promise<void> {
    if (!this.isThisHost) return;
    const subject = `userdel ${name}`;
    if (!this.options.isDryRun) {
      const { status, output } = await this.host.run('userdel', [name]);
      if (status !== 0) {
        this.tell({ action: 'keep', what: output.trim(), subject: `user ${name}` });
        return;
      }
    }
    this.tell({ action: 'run', what: 'the user that the manager ran as', subject });
  }

  private get hasService(): boolean {
    const isEnabled = this.manifest.entries.some(({ kind }) => kind === 'service');
    return isEnabled && this.isThisHost && this.host.hasSystemd;
  }

  private async disableService(): Promise<void> {
    if (!this.hasService) return;
    if (!this.options.isDryRun) {
      const { status, output } = await this.host.run('systemctl', ['disable', 'usher']);
      if (status !== 0 && !this.options.isForced) {
        throw new InstallError(`systemctl disable usher: ${output.trim()}`);
      }
      this.journal.did(async () => void (await this.host.run('systemctl', ['enable', 'usher'])));
    }
    this.tell({ action: 'run', what: 'the service', subject: 'systemctl disable usher' });
  }

  private async forgetUnit(): Promise<void> {
    if (!this.hasService) return;
    if (!this.options.isDryRun) await this.host.run('systemctl', ['daemon-reload']);
    this.tell({ action: 'run', what: 'forgets the unit', subject: 'systemctl daemon-reload' });
  }

  /** What our search did not find, the server itself does. */
  private async checkConfigurations(): Promise<void> {
    if (this.options.isDryRun) return;
    for (const server of this.sound) {
      const fault = await server.checkConfiguration();
      if (fault === null) {
        this.tell({ action: 'check', what: 'takes its configuration', subject: server.version });
      } else if (!this.options.isForced) {
        throw new InstallError(
          `${server.version} would not start any more (--force: all the same):\n${fault}`,
        );
      }
    }
  }

  // ---- what cannot be undone, at the end

  private removePackage(): void {
    const { manifest, options } = this;
    for (const tree of manifest.trees) {
      const kept = options.isDryRun ? [] : removeTree(tree, this.journal);
      this.tell({
        action: 'remove',
        what: `the package, version ${tree.version}`,
        subject: tree.path,
      });
      for (const path of kept) {
        this.tell({ action: 'keep', what: 'changed, or not by us', subject: path });
      }
    }
    if (options.isDryRun) return;
    this.journal.remove(manifestPath);
    for (const { part, kind, path } of [...manifest.entries].reverse()) {
      if (part === 'package' && kind === 'directory') this.removeDirectory(path);
    }
  }

  private writeManifest(): void {
    if (this.options.isDryRun) return;
    const { manifest } = this;
    const entries = manifest.entries.flatMap((entry): Entry[] => {
      if (!this.isGoing(entry)) return [entry];
      const isNeeded = entry.kind === 'directory' && this.journal.find(entry.path) !== null;
      return isNeeded ? [{ ...entry, part: 'package' }] : []; // others have come to use it
    });
    const rest: Manifest = { ...manifest, servers: this.staying, entries };
    this.journal.writeFile(manifestPath, `${JSON.stringify(rest, null, 1)}\n`);
  }
}
