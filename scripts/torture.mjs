// SPDX-License-Identifier: Apache-2.0
// `npm run torture [-- NAME… --option value …]`: what must not lose a request, again and again; the
// words are those of integration-tests/torture/main.ts.

import './node-version.mjs';
import { spawn } from 'node:child_process';
import { root } from './run.mjs';
import { setup } from './setup.mjs';

await setup('test');
const child = spawn(
  process.execPath,
  ['--import', 'tsx', 'integration-tests/torture/main.ts', ...process.argv.slice(2)],
  { cwd: root, stdio: 'inherit' },
);
// Ctrl-C reaches the child by itself; whoever ends only us means it as well.
process.on('SIGINT', () => {});
process.on('SIGTERM', () => child.kill('SIGTERM'));
child.once('exit', (status) => {
  process.exitCode = status ?? 1;
});
