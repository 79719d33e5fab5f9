// SPDX-License-Identifier: Apache-2.0
// What `usher snapshot` starts: makes one snapshot. One argument, Order as JSON; prints Built as JSON.
import { type BuildOptions, buildSnapshot, whyNotUsable } from './build.ts';

/** isCheck: only looks; prints { reason }. */
type Order = BuildOptions & { isCheck?: boolean };

const order = JSON.parse(process.argv[2] ?? '{}') as Order;
const aborted = new AbortController();
let signalled: NodeJS.Signals | null = null;
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
  process.once(signal, () => {
    signalled = signal;
    aborted.abort();
  });
}

try {
  const answer =
    order.isCheck === true
      ? { reason: await whyNotUsable(order.program) }
      : await buildSnapshot(order, aborted.signal);
  process.stdout.write(`${JSON.stringify(answer)}\n`);
} catch (error) {
  if (signalled !== null) process.kill(process.pid, signalled);
  else {
    process.stderr.write(`usher: ${(error as Error).message}\n`);
    process.exitCode = 1;
  }
}
