// SPDX-License-Identifier: Apache-2.0
// Waiting for a server that reads its configuration again.

import { readFileSync } from 'node:fs';
import { eventually } from './eventually.ts';
import type { Site } from './site.ts';
import { files } from './web-server.ts';

const patienceMs = 60_000;

/** How often Apache's master has been ready: between two times a signal would end it. */
function timesReady(site: Site): number {
  const log = readFileSync(files.errorLog(site), 'utf8');
  return log.match(/resuming normal operations/g)?.length ?? 0;
}

/** Has the configuration read again by `act`, and waits until that is done and could be done again. */
export async function readAgain(site: Site, act: () => unknown): Promise<void> {
  const { workers } = site;
  const times = timesReady(site);
  act();
  await eventually(
    'workers of the new configuration',
    () =>
      site.server.kind === 'apache'
        ? timesReady(site) > times
        : site.workers.some((pid) => !workers.includes(pid)),
    patienceMs,
  );
}
