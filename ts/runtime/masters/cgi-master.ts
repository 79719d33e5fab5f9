// SPDX-License-Identifier: Apache-2.0
// One request, in the process that a web server has started for it.
import { runCgi } from '../connections/cgi-process.ts';
import type { Servlet } from '../exchange.ts';
import { LocalModel } from '../models/local.ts';
import type { ServeSettings } from '../options.ts';
import { LocalWorker } from './local-worker.ts';

/** Ends the process. Status 0: answered, be it with an error. */
export async function serveCgi(servlet: Servlet, settings: ServeSettings): Promise<never> {
  const { deadlineMs, stopMs } = settings;
  const limits = { atATime: 1, backlog: 0, deadlineMs, maxRequests: 0, maxMemoryMb: 0 };
  const model = new LocalModel(servlet, limits, { onWorn: () => undefined });
  const worker = new LocalWorker(model, settings);
  await settings.onMasterStart?.();
  await worker.start();
  await runCgi((exchange) => worker.run(exchange));
  await worker.stop(stopMs);
  await settings.onMasterStop?.();
  process.exit(0);
}
