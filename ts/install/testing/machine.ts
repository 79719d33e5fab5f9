// SPDX-License-Identifier: Apache-2.0
// A machine in a temporary directory: a small package, web servers that say what they are told to, and
// programs that only note that they were called.
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { Host, Outcome } from '../host.ts';
import { type InstallOptions, install } from '../install.ts';
import type { Report, Step } from '../steps.ts';
import { type UninstallOptions, uninstall } from '../uninstall.ts';

const checkout = fileURLToPath(new URL('../../..', import.meta.url));
const done: Outcome = { status: 0, output: '' };

export class Machine {
  readonly folder = mkdtempSync(join(tmpdir(), 'usher-install-test-'));
  readonly root = join(this.folder, 'root');
  readonly source = join(this.folder, 'source');
  /** Where its servers have their configuration: real on this host, and again below `root`. */
  readonly etc = join(this.folder, 'etc');
  /** Command lines that change something. */
  readonly ran: string[] = [];
  readonly running: { pid: number; path: string }[] = [];
  hasSystemd = false;
  hasUser = false;
  uid = 0;
  folderFault: string | null = null;
  /** What a program answers, by the begin of its command line; the last that fits. */
  readonly answers: [begin: string, answer: () => Outcome][] = [];

  constructor(t: Test) {
    t.teardown(() => rmSync(this.folder, { recursive: true }));
    mkdirSync(this.root);
    for (const path of ['nginx/modules-enabled', 'apache2/mods-enabled']) {
      mkdirSync(join(this.etc, path), { recursive: true });
    }
    this.release('1.0.0');
  }

  /** Another version of the package. */
  release(version: string): void {
    const { dependencies } = { dependencies: { some: '1' } };
    const files: Record<string, string> = {
      'package.json': JSON.stringify({ version, dependencies }),
      'bin/usher': '#!/usr/bin/env node\n',
      'dist/cli/main.js': `// ${version}\n`,
      'dist/.tsbuildinfo': '',
      'docs/a.md': '',
      'build/addon.node': '',
      'build/usher-launcher': '',
      'build/usher-forker': '',
      'build/mod_usher.so': '',
      'build/ngx_http_usher_module.so': '',
      'node_modules/some/package.json': '{"dependencies":{"deep":"1"}}',
      'node_modules/some/node_modules/deep/package.json': '{}',
      'node_modules/deep/package.json': '{}',
      'node_modules/other/package.json': '{}',
    };
    for (const [path, text] of Object.entries(files)) this.put(join(this.source, path), text);
    const packaging = readdirSync(join(checkout, 'packaging'), {
      recursive: true,
      withFileTypes: true,
    });
    for (const entry of packaging.filter((one) => one.isFile())) {
      const path = join(entry.parentPath, entry.name);
      const to = join(this.source, path.slice(checkout.length));
      this.put(to, readFileSync(path, 'utf8'));
    }
  }

  put(path: string, text: string): void {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  /** A file of the machine. */
  read(path: string): string {
    return readFileSync(join(this.root, path), 'utf8');
  }

  write(path: string, text: string): void {
    this.put(join(this.root, path), text);
  }

  /** Everything below its root, with contents; files of the package only by their number. */
  contents(): Record<string, string> {
    const found: Record<string, string> = {};
    const visit = (folder: string): void => {
      for (const entry of readdirSync(join(this.root, folder), { withFileTypes: true })) {
        const path = join(folder, entry.name);
        if (entry.isDirectory()) {
          found[path] = 'directory';
          visit(path);
        } else if (entry.isSymbolicLink())
          found[path] = `-> ${readlinkSync(join(this.root, path))}`;
        else found[path] = readFileSync(join(this.root, path), 'utf8');
      }
    };
    visit('/');
    return found;
  }

  answer(begin: string, answer: Outcome | (() => Outcome)): void {
    this.answers.push([begin, typeof answer === 'function' ? answer : () => answer]);
  }

  install(changes: Partial<InstallOptions> = {}): Promise<Report> {
    const options: InstallOptions = {
      servers: ['nginx'],
      prefix: null,
      root: this.root,
      isStaged: false,
      manager: null,
      node: '/usr/bin/node',
      isDryRun: false,
      signal: new AbortController().signal,
      tell: () => undefined,
      ...changes,
    };
    return install(options, this.host());
  }

  uninstall(changes: Partial<UninstallOptions> = {}): Promise<Report | null> {
    const options: UninstallOptions = {
      servers: null,
      root: this.root,
      isStaged: false,
      isDryRun: false,
      stops: false,
      isForced: false,
      tell: () => undefined,
      ...changes,
    };
    return uninstall(options, this.host());
  }

  private host(): Host {
    return {
      uid: this.uid,
      hasSystemd: this.hasSystemd,
      node: process.execPath,
      source: this.source,
      faultOfFolder: () => this.folderFault,
      run: async (program, args) => this.run([program, ...args].join(' ')),
      executables: () => this.running,
      runtimeDirs: () => ['/run/usher'],
    };
  }

  private run(line: string): Outcome {
    const [, answer] = this.answers.findLast(([begin]) => line.startsWith(begin)) ?? [];
    if (answer !== undefined) return answer();
    if (line === 'nginx -V') {
      return {
        status: 0,
        output: `nginx version: nginx/1.2.3\n--conf-path=${this.etc}/nginx/nginx.conf`,
      };
    }
    if (line === 'apache2ctl -V')
      return { status: 0, output: `-D HTTPD_ROOT="${this.etc}/apache2"` };
    if (line === 'apache2 -v')
      return { status: 0, output: 'Server version: Apache/2.3.4 (Debian)' };
    if (/^(nginx|apache2|apache2ctl) /.test(line)) return done;
    if (line === 'getent passwd usher') return this.hasUser ? done : { status: 2, output: '' };
    if (line.startsWith('systemctl is-')) return { status: 1, output: '' };
    if (line.startsWith('useradd')) this.hasUser = true;
    if (line.startsWith('userdel')) this.hasUser = false;
    this.ran.push(line);
    return done;
  }
}

/** `action subject` of each, without the temporary directory. */
export function told(steps: Step[], machine: Machine): string[] {
  return steps.map(({ action, subject }) => `${action} ${subject.replaceAll(machine.folder, '')}`);
}
