// SPDX-License-Identifier: Apache-2.0
// A Debian with Usher for one page (private-root.sh), in which its commands are typed one after the other.

import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { root } from '../servers/checkout.ts';
import { patienceMs } from '../servers/eventually.ts';
import { type Outcome, run } from '../servers/usher.ts';
import type { Server } from './page.ts';

const namespaces = ['--mount', '--net', '--pid', '--fork', '--kill-child'];
const unshare = ['unshare', ...namespaces, '--propagation', 'private'];

/** Why there can be none here; '' when there can. */
export async function whyNoPrivateRoot(): Promise<string> {
  if (process.getuid?.() !== 0) return 'only root can make namespaces';
  const steps = 'mount -t tmpfs none /mnt && mkdir /mnt/p && mount -t proc none /mnt/p && ip link';
  const { status, output } = await run([...unshare, 'sh', '-c', steps]);
  return status === 0 ? '' : `no namespaces here: ${output.trim()}`;
}

/** What waits for ever ends its root. */
const stepMs = 3 * patienceMs;

export class PrivateRoot {
  readonly #dir: string;
  readonly #child: ChildProcess;
  /** What waits for the end of the current step. */
  #ended: ((status: number) => void) | undefined;
  #said = '';
  #steps = 0;

  constructor(t: { teardown(action: () => Promise<void>): unknown }, server: Server) {
    this.#dir = mkdtempSync('/tmp/usher-manual-');
    const words = [...unshare, `${root}/integration-tests/manual/private-root.sh`];
    const [program = '', ...args] = [...words, this.#dir, root, server];
    this.#child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] });
    const exited = new Promise<void>((resolve) => {
      this.#child.once('close', () => {
        this.#ended?.(-1);
        this.#ended = undefined;
        resolve();
      });
    });
    this.#child.stderr?.on('data', (data) => {
      this.#said += String(data);
    });
    this.#child.stdin?.on('error', () => {});
    if (this.#child.stdout) {
      createInterface({ input: this.#child.stdout }).on('line', (line) => {
        this.#ended?.(Number(line.split(' ')[1]));
        this.#ended = undefined;
      });
    }
    t.teardown(async () => {
      this.#child.kill('SIGKILL');
      await exited;
      rmSync(this.#dir, { recursive: true, force: true });
    });
  }

  /** Types commands into the shell; status -1: that was the end of it. */
  async type(commands: string): Promise<Outcome> {
    this.#steps += 1;
    const file = `${this.#dir}/${this.#steps}`;
    writeFileSync(`${file}.sh`, `${commands}\n`);
    const late = setTimeout(() => this.#child.kill('SIGKILL'), stepMs);
    const status = await new Promise<number>((resolve) => {
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) resolve(-1);
      this.#ended = resolve;
      this.#child.stdin?.write(`${this.#steps}\n`);
    }).finally(() => clearTimeout(late));
    const output = existsSync(`${file}.out`) ? readFileSync(`${file}.out`, 'utf8') : '';
    return { status, output: status === -1 ? output + this.#said : output };
  }

  /** As an editor would: the directory must be there. */
  async write(path: string, text: string): Promise<Outcome> {
    writeFileSync(`${this.#dir}/file`, `${text}\n`);
    return this.type(`cat /manual/file >${path}`);
  }
}
