// SPDX-License-Identifier: Apache-2.0
// Nothing is lost, whatever happens to server, manager and instances: the scenarios of torture/, each
// a few times. `npm run torture` has them in full.

import type { Test } from 'tap';
import type { WebServer } from '../servers/web-server.ts';
import { torture } from '../torture/driver.ts';
import { type ProgramName, programs } from '../torture/programs.ts';
import { scenarios } from '../torture/scenarios.ts';

/** With which programs each scenario is tried here; the others are left to the full form. */
const tried: Readonly<Record<string, readonly ProgramName[]>> = {
  reload: ['c'],
  upgrade: ['c'],
  'kill-manager': ['c'],
  'rolling-restart': ['c', 'node'],
  'idle-stop': ['c'],
  'max-requests': ['perl'],
  'replace-binary': ['c'],
  'php-ends-itself': ['php'],
  'php-ends-unwanted': ['php'],
  'php-children-end': ['php-children'],
  'kill-get': ['c'],
  'kill-post': ['node'],
  crowd: ['c'],
  leave: ['c'],
  'slow-clients': ['c'],
  saturation: ['c'],
};

export async function losses(t: Test, server: WebServer): Promise<void> {
  for (const scenario of scenarios) {
    if (scenario.kind !== undefined && scenario.kind !== server.kind) continue;
    for (const name of tried[scenario.name] ?? []) {
      await t.test(`${scenario.name}, ${name}`, async (t) => {
        const result = await torture(t, scenario, server, programs[name], scenario.short);
        t.same(result.problems, [], scenario.title);
        const told = JSON.stringify(result.losses.slice(0, 10), null, 2);
        t.ok(result.lost <= result.mayLose, `${result.lost} requests were lost: ${told}`);
      });
    }
  }
}
