// SPDX-License-Identifier: Apache-2.0
// Node in a process of its own, with files as its output: a pipe would be in the snapshot.
import { spawn } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface NodeEnded {
  /** Null: by a signal. */
  status: number | null;
  signal: NodeJS.Signals | null;
  isLate: boolean;
  out: string;
  err: string;
}

export interface RunNodeOptions {
  /** Of the output, until it was read. Default: one of its own. */
  directory?: string;
  timeoutMs: number;
  env?: Readonly<Record<string, string>>;
  signal?: AbortSignal | undefined;
}

/** Without NODE_OPTIONS. @throws what spawn gives when it cannot be started */
export async function runNode(words: string[], options: RunNodeOptions): Promise<NodeEnded> {
  options.signal?.throwIfAborted();
  const directory = options.directory ?? mkdtempSync(join(tmpdir(), 'usher-snapshot-'));
  const [out, err] = [`${directory}/out`, `${directory}/err`];
  const env = { ...process.env, ...options.env, NODE_OPTIONS: '' };
  try {
    const files = [openSync(out, 'w'), openSync(err, 'w')];
    let isLate = false;
    const ended = await new Promise<Pick<NodeEnded, 'status' | 'signal'>>((resolve, reject) => {
      const child = spawn(process.execPath, words, { stdio: ['ignore', ...files], env });
      const kill = (): void => {
        child.kill('SIGKILL');
      };
      const deadline = setTimeout(() => {
        isLate = true;
        kill();
      }, options.timeoutMs);
      options.signal?.addEventListener('abort', kill);
      const forget = (): void => {
        clearTimeout(deadline);
        options.signal?.removeEventListener('abort', kill);
      };
      child.once('error', (error) => {
        forget();
        reject(error);
      });
      child.once('exit', (status, signal) => {
        forget();
        resolve({ status, signal });
      });
    }).finally(() => {
      for (const file of files) closeSync(file);
    });
    return { ...ended, isLate, out: readFileSync(out, 'utf8'), err: readFileSync(err, 'utf8') };
  } finally {
    if (options.directory === undefined) rmSync(directory, { recursive: true, force: true });
  }
}
