// SPDX-License-Identifier: Apache-2.0
import { MessageChannel } from 'node:worker_threads';
import t from 'tap';
import { sampleMetadata } from '../handlers/testing/memory-exchange.ts';
import { threadMasterLink, threadWorkerLink } from '../link/thread-link.ts';
import { runWorker } from './worker-side.ts';

t.test('a worker whose master is gone aborts, runs its hook and ends', async (t) => {
  const { port1, port2 } = new MessageChannel();
  const told: string[] = [];
  const master = threadMasterLink(port1);
  master.onMessage = ({ type }) => {
    told.push(type);
    if (type !== 'ready') return;
    const head = { method: 'GET', url: '/', httpVersion: '1.1', fields: [], bodyBytes: 0 };
    master.send({ type: 'request', id: 1, head: { ...head, metadata: sampleMetadata() } });
  };
  master.onClose = () => undefined;
  const status = await new Promise<number>((exit) => {
    runWorker({
      link: threadWorkerLink(port2),
      servlet: (exchange) => {
        exchange.open({
          onBody: () => undefined,
          onBodyEnd: () => undefined,
          onAbort: (reason) => told.push(`onAbort: ${reason.message}`),
          onDrain: () => undefined,
        });
        master.close();
      },
      hooks: { onWorkerStop: () => void told.push('onWorkerStop') },
      maxMemoryMb: 0,
      stopMs: 60_000,
      usedBytes: () => 0,
      exit,
    });
  });
  t.equal(status, 0);
  t.same(told, ['ready', 'onAbort: the master has ended', 'onWorkerStop']);
});
