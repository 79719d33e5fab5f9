// SPDX-License-Identifier: Apache-2.0
// `npm start`: from a fresh machine to a running demonstration, until Ctrl-C.

import { setup } from './setup.mjs';

try {
  await setup('start');
  const { demonstrate } = await import('../demo/demo.mjs');
  await demonstrate();
} catch (error) {
  console.error(`start: ${error.message}`);
  process.exitCode = 1;
}
