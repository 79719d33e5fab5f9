// SPDX-License-Identifier: Apache-2.0
// `usherd --layout`: prints the version of the channel's layout that this installation speaks, so that
// `usher upgrade` can ask the running manager before anything is replaced.
import { native } from '../native/native.ts';

process.stdout.write(`${native.limits.layoutVersion}\n`);
