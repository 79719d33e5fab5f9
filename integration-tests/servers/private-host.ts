// SPDX-License-Identifier: Apache-2.0
// This machine once more, for tests that install: what is written there nobody else sees, and it goes with
// the test. Mounts, processes and network are its own; files elsewhere than in `folders` are ours.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { createInterface } from 'node:readline';
import type { Test } from 'tap';
import { root } from './checkout.ts';
import { childrenOf } from './processes.ts';
import { type Outcome, run } from './usher.ts';

/** What installing writes to, and servers need. */
const folders = ['/etc', '/usr/local/bin', '/usr/local/lib', '/var/lib', '/var/log'];

/** Layers where the kernel has them, else copies. The first process collects whatever is left to it. */
const setUp = `set -e
mkdir "$1/layers"
mount -t tmpfs usher-test "$1/layers"
for folder in ${folders.join(' ')}; do
    own="$1/layers/$(echo $folder | tr / _)"
    mkdir -p "$own/upper" "$own/work"
    mount -t overlay usher-test -o "lowerdir=$folder,upperdir=$own/upper,workdir=$own/work" $folder ||
        { cp -a $folder/. "$own/upper" && mount --bind "$own/upper" $folder; }
done
mount -t tmpfs -o mode=755 usher-test /run
mkdir -m 1777 /run/lock
mount -t tmpfs -o mode=755 usher-test /srv
mkdir -p /var/www
mount -t tmpfs -o mode=755 usher-test /var/www
ip link set lo up
for node in /usr/local/bin/node /usr/bin/node; do
    setpriv --reuid=65534 --regid=65534 --clear-groups $node --version && break
done >/dev/null 2>&1 || install -m 755 "$2" /usr/local/bin/node
echo ready
sleep infinity & wait`;

export class PrivateHost {
  private readonly holder: ChildProcess;
  /** A directory that both hosts see. */
  readonly scratch: string;

  private constructor(holder: ChildProcess, scratch: string) {
    this.holder = holder;
    this.scratch = scratch;
  }

  /** Goes with the test. null = this machine does not let us. */
  static async create(t: Pick<Test, 'teardown'>): Promise<PrivateHost | null> {
    const scratch = mkdtempSync('/var/tmp/usher-host-');
    chmodSync(scratch, 0o755);
    const namespaces = ['--mount', '--net', '--pid', '--fork', '--kill-child', '--mount-proc'];
    const holder = spawn(
      'unshare',
      [...namespaces, '/bin/sh', '-c', setUp, 'sh', scratch, process.execPath],
      {
        stdio: ['ignore', 'pipe', 'pipe'],
      },
    );
    const host = new PrivateHost(holder, scratch);
    t.teardown(() => host.remove());
    let said = '';
    holder.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    for await (const line of createInterface({ input: holder.stdout })) {
      if (line === 'ready') return host;
    }
    if (/not permitted|permission denied/i.test(said)) return null;
    throw new Error(`no private host: ${said}`);
  }

  /** Runs a command line of the shell there, with nothing of our environment. */
  sh(line: string): Promise<Outcome> {
    const [first] = childrenOf(this.holder.pid ?? 0);
    const enter = ['nsenter', `--target=${first}`, '--mount', '--net', '--pid', '--wd=/'];
    const path = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
    const environment = ['/usr/bin/env', '-i', `PATH=${path}`, 'LANG=C.UTF-8'];
    return run([...enter, ...environment, '/bin/sh', '-c', line]);
  }

  /** The output of what must not fail. */
  async do(line: string): Promise<string> {
    const { status, output } = await this.sh(line);
    if (status !== 0) throw new Error(`${line} ended with ${status}: ${output}`);
    return output;
  }

  /**
   * Every file where installing may write, with kind, mode, owner, and a link's target or a checksum. Not
   * what passwd keeps beside its files, nor what is below directories of other packages in /var/lib.
   */
  async listing(): Promise<string[]> {
    const what = "-printf '%y %m %U %p\\t%l\\n'";
    const places =
      '/etc /usr/local/bin /usr/local/lib /var/lib/usher /var/lib/nginx /var/lib/apache2';
    const backups = "'(' -path '/etc/*-' -type f ')'";
    const { output } = await this.sh(
      `find ${places} ! ${backups} ${what} 2>/dev/null; find /var/lib -maxdepth 1 ${what}
       find /etc ! ${backups} -type f -exec sha256sum {} +`,
    );
    return output.split('\n').sort();
  }

  /** Whether this checkout is to be seen there: what is installed must do without it. */
  async showCheckout(isShown: boolean): Promise<void> {
    await this.do(isShown ? `umount ${root}` : `mount -t tmpfs usher-test ${root}`);
  }

  private async remove(): Promise<void> {
    if (this.holder.exitCode === null && this.holder.signalCode === null) {
      const ended = once(this.holder, 'exit');
      this.holder.kill('SIGKILL'); // and with it all that runs there
      await ended;
    }
    rmSync(this.scratch, { recursive: true, force: true });
  }
}
