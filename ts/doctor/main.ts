// SPDX-License-Identifier: Apache-2.0
// A program: `main.js WANTED`, WANTED as JSON. Prints what it finds as lines of JSON, each as soon as it is
// known, so that who started it may end it at any time. Started by `usher doctor`.

import { checks } from './checks.ts';
import { thisHost } from './host.ts';
import type { Told, Wanted } from './report.ts';
import { runChecks } from './run.ts';
import { makeScene } from './scene.ts';

const wanted = JSON.parse(process.argv[2] ?? '') as Wanted;
const chosen = checks.filter(({ id }) => wanted.only.length === 0 || wanted.only.includes(id));

const unknown = wanted.only.filter((id) => !checks.some((check) => check.id === id));
if (unknown.length > 0) {
  const known = checks.map(({ id }) => id).join(', ');
  process.stderr.write(`no check is called ${unknown.join(', ')}; there are ${known}\n`);
  process.exit(2);
}

function tell(told: Told): void {
  process.stdout.write(`${JSON.stringify(told)}\n`);
}

const scene = makeScene(thisHost, wanted);
tell({
  type: 'begun',
  version: scene.installation.version,
  runtimeDirs: scene.runtimeDirs.map(({ path }) => path),
  checks: chosen.map(({ id }) => id),
});
await runChecks(chosen, scene, ({ id }, found) => {
  for (const one of found) tell({ type: 'found', finding: { check: id, ...one } });
  tell({ type: 'done', check: id });
});
process.stdout.write('', () => process.exit()); // whatever is still asked
