// SPDX-License-Identifier: Apache-2.0
// bin/usher-jvm, of the sources.
import { run } from '../main.ts';

await run(process.argv.slice(2));
