// SPDX-License-Identifier: Apache-2.0
// What happens to servlet engines: they end without notice, and come back.

import { eventually } from '../servers/eventually.ts';
import type { Scenario } from './scenario.ts';
import { kept, saturating } from './server-scenarios.ts';
import { patienceMs, type Tortured } from './tortured.ts';

/** One after the other; there is always one that serves. */
async function endEngines(
  tortured: Tortured,
  count: number,
  signal: NodeJS.Signals,
): Promise<void> {
  const { engines, load } = tortured;
  const allServe = (): Promise<unknown> =>
    eventually(
      'all engines serve',
      async () => (await tortured.classStatus())?.backends.every(({ state }) => state === 'up'),
      patienceMs,
    );
  for (; tortured.events < count; tortured.events += 1) {
    await allServe();
    const { answered } = load;
    await eventually('requests go there', () => load.answered >= answered + 200, patienceMs);
    const engine = engines[tortured.events % engines.length]!;
    await engine.stop(signal);
    await engine.start();
  }
}

export const engineScenarios: readonly Scenario[] = [
  {
    name: 'stop-engine',
    title:
      'A servlet engine gets TERM without notice; what its connections lose may be asked again.',
    programs: ['tomcat'],
    options: () => ({ ...kept(), 'recover-time': 1 }),
    clients: saturating,
    methods: 'GET',
    sleepMs: 5,
    full: 50,
    short: 2,
    run: (tortured, count) => endEngines(tortured, count, 'SIGTERM'),
  },
];
