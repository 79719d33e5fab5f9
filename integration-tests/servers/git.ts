// SPDX-License-Identifier: Apache-2.0
// The command git, as a user has it who has configured little but a name, and a repository that takes
// its time on the way.

import { randomFillSync } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { isRoot } from './site.ts';
import { type Outcome, run } from './usher.ts';

/** As many words before each command. */
const settings = Object.entries({
  'user.name': 'A U Thor',
  'user.email': 'author@example.org',
  'init.defaultBranch': 'main',
  'safe.directory': '*',
  'gc.auto': '0',
  // What these tests make cannot be compressed, nor told by its differences.
  'core.compression': '0',
  'core.bigFileThreshold': '1m',
}).flatMap(([name, value]) => ['-c', `${name}=${value}`]);

/** On a machine that is slow and busy a large repository takes its time. */
const withinMs = 240_000;

export function tryGit(...words: string[]): Promise<Outcome> {
  return run(['git', ...settings, ...words], { withinMs });
}

/** What it printed; throws with that when it fails. */
export async function git(...words: string[]): Promise<string> {
  const { status, output } = await tryGit(...words);
  if (status !== 0) throw new Error(`git ${words.join(' ')}: ${status}: ${output}`);
  return output.trim();
}

/** Lets programs under this user read and write what root has made. */
export async function giveTo(uid: number, path: string): Promise<void> {
  if (!isRoot) return;
  const { status, output } = await run(['chown', '-R', `${uid}`, path]);
  if (status !== 0) throw new Error(output);
}

const fileBytes = 10 << 20;

export class LargeRepository {
  readonly dir: string;
  /** The commit that its branch main is at. */
  readonly head: string;
  readonly bytes: number;

  private constructor(dir: string, head: string, bytes: number) {
    this.dir = dir;
    this.head = head;
    this.bytes = bytes;
  }

  /** One commit with files of random bytes, and a small one after it; goes with the test. */
  static async make(t: Pick<Test, 'teardown'>, bytes: number): Promise<LargeRepository> {
    const dir = mkdtempSync('/tmp/usher-git-');
    t.teardown(() => rmSync(dir, { recursive: true }));
    chmodSync(dir, 0o755);
    const work = `${dir}/work`;
    mkdirSync(work);
    await git('init', '-q', work);
    const piece = Buffer.allocUnsafe(fileBytes);
    for (let at = 0; at < bytes; at += fileBytes) {
      writeFileSync(`${work}/${at}`, randomFillSync(piece).subarray(0, bytes - at));
    }
    const commit = async (message: string): Promise<void> => {
      await git('-C', work, 'add', '.');
      await git('-C', work, 'commit', '-qm', message);
    };
    await commit('large');
    writeFileSync(`${work}/README`, 'small\n');
    await commit('small');
    await git('clone', '-q', '--bare', '--no-hardlinks', work, `${dir}/large.git`);
    await git('-C', `${dir}/large.git`, 'repack', '-adq');
    rmSync(work, { recursive: true });
    const head = await git('-C', `${dir}/large.git`, 'rev-parse', 'HEAD');
    return new LargeRepository(dir, head, bytes);
  }

  get path(): string {
    return `${this.dir}/large.git`;
  }
}
