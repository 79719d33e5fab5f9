// SPDX-License-Identifier: Apache-2.0
// The one call of a program: the protocol by how it was started, the model by its options.
import { checkOptions } from './check-options.ts';
import { type Handlers, readinessOfAll, servletFor } from './handlers/servlets.ts';
import { serveCgi } from './masters/cgi-master.ts';
import { Master } from './masters/master.ts';
import { startWorkerSide, workerKind } from './models/worker-side.ts';
import type { Served, ServeOptions, ServeSettings } from './options.ts';
import { atStart } from './snapshot/snapshot.ts';
import { startedAs } from './started-as.ts';

let hasServed = false;

/**
 * Serves requests by a handler, or by several servlets with names or paths. Resolves when requests can come;
 * never in a worker, and for CGI, where the process ends with its request.
 * @throws TypeError, RangeError for options; Error when it cannot listen, or no worker starts
 */
export async function serve(handlers: Handlers, options: ServeOptions = {}): Promise<Served> {
  if (hasServed) {
    throw new Error('serve: it was called before; name several handlers, and several addresses');
  }
  hasServed = true;
  const settings = withReadiness(checkOptions(options), handlers);
  const servlet = servletFor(handlers, settings.style);
  await new Promise<void>((resolve) => atStart(resolve));
  if (workerKind() !== null) {
    startWorkerSide(servlet, settings, settings);
    return new Promise<never>(() => undefined);
  }
  const started =
    settings.listen === null
      ? startedAs()
      : { kind: 'listen' as const, listen: settings.listen, isDevelopment: false };
  if (started.kind === 'cgi') return serveCgi(servlet, settings);
  return Master.start(servlet, settings, started);
}

/** Plugins of Fastify are loaded before a worker counts as ready. */
function withReadiness(settings: ServeSettings, handlers: Handlers): ServeSettings {
  const { onWorkerStart } = settings;
  return {
    ...settings,
    async onWorkerStart() {
      await readinessOfAll(handlers);
      await onWorkerStart?.();
    },
  };
}
