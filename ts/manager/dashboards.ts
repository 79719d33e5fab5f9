// SPDX-License-Identifier: Apache-2.0
// The dashboard where UsherDashboard says so: a process of its own for each address, which may only ask
// what it shows. One that ends is started again.
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { type Answered, answerReader, type Begun } from '../control/reader.ts';
import type { Log } from './log.ts';

const program = fileURLToPath(new URL('../dashboard/main.js', import.meta.url));
/** It could not listen, or ended. */
const TRY_AGAIN_MS = 5_000;

interface Dashboard {
  child: ChildProcess | null;
  /** When to start it again; Infinity while it runs. */
  startAtMs: number;
  /** Why it does not run, as the log was told; '' = it does. */
  trouble: string;
}

export class Dashboards {
  #log: Log;
  #answer: (url: string) => Promise<Omit<Answered, 'id'>>;
  #dashboards = new Map<string, Dashboard>();

  constructor(log: Log, answer: (url: string) => Promise<Omit<Answered, 'id'>>) {
    this.#log = log;
    this.#answer = answer;
  }

  /** @param addresses Where it is to be from now on. */
  configure(addresses: ReadonlySet<string>): void {
    for (const [address, { child }] of this.#dashboards) {
      if (addresses.has(address)) continue;
      this.#dashboards.delete(address);
      child?.kill();
    }
    for (const address of addresses) {
      if (this.#dashboards.has(address)) continue;
      this.#dashboards.set(address, { child: null, startAtMs: 0, trouble: '' });
    }
  }

  pass(nowMs: number): void {
    for (const [address, dashboard] of this.#dashboards) {
      if (nowMs < dashboard.startAtMs) continue;
      dashboard.startAtMs = Number.POSITIVE_INFINITY;
      dashboard.child = this.#start(address, dashboard, nowMs);
    }
  }

  #start(address: string, dashboard: Dashboard, nowMs: number): ChildProcess {
    const child = fork(program, [address], {
      cwd: '/',
      env: { PATH: process.env.PATH ?? '' },
      execArgv: [],
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    child.channel?.unref();
    child.once('error', ({ message }) => this.#ended(address, dashboard, nowMs, message));
    child.once('exit', (status, signal) => {
      this.#ended(address, dashboard, nowMs, `it ended (${signal ?? status})`);
    });
    answerReader(child, this.#answer, (begun) => this.#begun(address, dashboard, begun));
    return child;
  }

  #begun(address: string, dashboard: Dashboard, begun: Begun): void {
    if ('failed' in begun) {
      this.#tell(address, dashboard, begun.failed);
      return;
    }
    dashboard.trouble = '';
    this.#log('info', 'dashboard.listening', { text: `at ${begun.listening}` });
  }

  #ended(address: string, dashboard: Dashboard, startedMs: number, why: string): void {
    dashboard.child = null;
    dashboard.startAtMs = startedMs + TRY_AGAIN_MS;
    if (this.#dashboards.get(address) !== dashboard) return; // it was told to
    if (dashboard.trouble === '') this.#tell(address, dashboard, why);
  }

  #tell(address: string, dashboard: Dashboard, why: string): void {
    if (dashboard.trouble === why) return;
    dashboard.trouble = why;
    const text = `no dashboard at ${address}: ${why}; it is tried again every ${TRY_AGAIN_MS / 1000} s`;
    this.#log('error', 'dashboard.not-listening', { text });
  }
}
